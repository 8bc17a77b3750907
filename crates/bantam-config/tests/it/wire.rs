//! How upstreams are spoken to: HTTP, headers, proxies, and what not all servers take.

use bantam_config::{Auto, Config, HeaderText, HttpVersion, OutputLimit, ProxyAddress, Upstream};

use crate::world::World;

fn upstream(base_url: &str, rest: &str) -> String {
    format!("[upstreams.u]\ndialect = 'openai'\nbase_url = '{base_url}'\n{rest}")
}

fn https(rest: &str) -> String {
    upstream("https://api.example.com/v1", rest)
}

fn read(world: &World, text: &str) -> Upstream {
    let Config { mut upstreams, .. } = world.good(text);
    upstreams.remove("u").unwrap()
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let told = World::default().bad(text);
    assert!(told.contains(expected), "{told}");
}

#[test]
fn nothing_is_passed_on_and_everything_is_learnt_by_default() {
    let wire = read(&World::default(), &https("")).wire;
    assert_eq!((wire.http, wire.proxy, wire.trace_context), (HttpVersion::Auto, None, false));
    assert!(wire.headers.is_empty() && wire.forward_headers.is_empty() && wire.fields.is_empty());
    assert_eq!((wire.stream_usage, wire.developer_role), (Auto(None), Auto(None)));
    assert_eq!(wire.output_limit, OutputLimit::Auto);
    assert!(
        read(&World::default(), &upstream("http://10.0.0.1/v1", "")).wire.trace_context,
        "a private host"
    );
}

#[test]
fn switches_are_words_or_booleans() {
    let rest = "http = '2'\nstream_usage = false\ndeveloper_role = 'auto'\noutput_limit = 'max_tokens'";
    let wire = read(&World::default(), &https(rest)).wire;
    assert_eq!(
        (wire.http, wire.stream_usage, wire.developer_role),
        (HttpVersion::Http2, Auto(Some(false)), Auto(None))
    );
    assert_eq!(wire.output_limit, OutputLimit::MaxTokens);
    check(&https("stream_usage = 'never'"), "write true, false or \"auto\"");
    check(&https("stream_usage = 1"), "must be `true`, `false` or \"auto\"");
    check(&https("http = '3'"), "`upstreams.u.http` cannot be `3`");
}

#[test]
fn headers_are_texts_or_variables() {
    let text = https("headers = { 'HTTP-Referer' = 'https://a.example', x-portal = { env = 'PORTAL' } }");
    let headers = read(&World::default().env("PORTAL", "p"), &text).wire.headers;
    let expected = [
        ("http-referer".to_owned(), HeaderText::Plain("https://a.example".to_owned())),
        ("x-portal".to_owned(), HeaderText::Variable("PORTAL".to_owned())),
    ];
    assert_eq!(headers, expected);
    check(&text, "names the environment variable PORTAL, which is not set");
}

#[test]
fn headers_of_the_key_the_body_and_the_connection_are_neither_set_nor_passed_on() {
    for name in [
        "Authorization",
        "api-key",
        "x-api-key",
        "cookie",
        "host",
        "connection",
        "te",
        "transfer-encoding",
        "upgrade",
        "proxy-authorization",
        "content-length",
        "Content-Type",
        "accept-encoding",
        "x-bantam-task",
        "x y",
        "",
    ] {
        check(&https(&format!("headers = {{ '{name}' = 'v' }}")), "`upstreams.u.headers` names");
        check(&https(&format!("forward_headers = ['{name}']")), "`upstreams.u.forward_headers` names");
    }
    check(&https("forward_headers = ['traceparent']"), "set trace_context = true");
    check(&https("forward_headers = ['x-a', 'X-A']"), "twice");
    check(&https("headers = { x-a = 'b', X-A = 'c' }"), "twice");
    check(&https("headers = { x-a = 7 }"), "must be a string");
    check(&https("headers = 'x-a: b'"), "must be a table");
    check(&https("headers = { x-a = { variable = 'X' } }"), "write x-a = { env = \"NAME\" }");
    check(&https("headers = { x-a = ' b' }"), "that a header cannot carry");
}

#[test]
fn a_secret_in_a_header_is_refused_and_not_shown() {
    for value in
        ["{ x-portal-token = 'hunter2' }", "{ x-a = { env = 'hunter2' } }", "{ x-a = \"hunter2\\n\" }"]
    {
        let told = World::default().bad(&https(&format!("headers = {value}")));
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn fields_are_names_of_parameters() {
    let wire = read(&World::default(), &https("fields = ['top_k', 'chat_template_kwargs']")).wire;
    assert_eq!(wire.fields, ["top_k", "chat_template_kwargs"]);
    for bad in ["", "top k", "a/b", "ü"] {
        check(&https(&format!("fields = ['{bad}']")), "is not the name of a parameter");
    }
}

const PROXY: &str = "[network]\nproxy = 'http://proxy.lan:3128'\n";

#[test]
fn the_proxy_of_the_network_is_for_upstreams_elsewhere_that_name_none() {
    let proxy =
        |text: &str| read(&World::default(), &format!("{PROXY}{text}")).wire.proxy.map(|proxy| proxy.address);
    let url = |url: &str| Some(ProxyAddress::Url(url.to_owned()));
    assert_eq!(proxy(&https("")), url("http://proxy.lan:3128"));
    assert_eq!(proxy(&https("proxy = 'none'")), None);
    assert_eq!(proxy(&https("proxy = 'http://other:1/'")), url("http://other:1"));
    for here in ["http://127.0.0.1:1/v1", "http://localhost:1/v1", "https://[::1]:1/v1"] {
        assert_eq!(proxy(&upstream(here, "")), None, "{here}");
    }
    check(
        &upstream("http://127.0.0.1:1/v1", "proxy = 'http://p:1'"),
        "does nothing, because `base_url` is this machine",
    );
}

#[test]
fn variables_of_the_environment_count_only_where_the_file_says_so() {
    let world = World::default()
        .env("HTTPS_PROXY", "http://user:hunter2@env:1")
        .env("https_proxy", "http://env:1")
        .env("ALL_PROXY", "http://env:1")
        .env("http_proxy", "http://env:1");
    let silent = read(&world, &https(""));
    assert_eq!((silent.wire.proxy, silent.is_proxied), (None, false));
    let obeying = read(&world, &https("proxy = 'env'"));
    assert_eq!((obeying.wire.proxy.unwrap().address, obeying.is_proxied), (ProxyAddress::Environment, true));
    let around = world.env("NO_PROXY", "example.com");
    assert!(!read(&around, &https("proxy = 'env'")).is_proxied);
    let odd = World::default().env("HTTPS_PROXY", "socks5://user:hunter2@env:1").bad(&https("proxy = 'env'"));
    assert!(
        odd.contains("HTTPS_PROXY names a proxy that is not http://HOST:PORT") && !odd.contains("hunter2"),
        "{odd}"
    );
}

#[test]
fn a_proxy_is_an_address_and_its_login_a_variable() {
    for bad in ["https://p:1", "p:3128", "socks5://p:1", "http://p:1/path", "", "http://"] {
        check(&https(&format!("proxy = '{bad}'")), "is not the address of a proxy");
    }
    let told = World::default().bad(&https("proxy = 'http://user:hunter2@p:1'"));
    assert!(told.contains("proxy_login_env") && !told.contains("hunter2"), "{told}");
    check(&https("proxy = 'http://p:1'\nproxy_login_env = 'LOGIN'"), "LOGIN, which is not set");
    let world = World::default().env("LOGIN", "user:hunter2");
    let proxy = read(&world, &https("proxy = 'http://p:1'\nproxy_login_env = 'LOGIN'")).wire.proxy.unwrap();
    assert_eq!(proxy.login_env.as_deref(), Some("LOGIN"));
    let told = world.bad(&https("proxy_login_env = 'LOGIN'"));
    assert!(told.contains("whose address is not here"), "{told}");
}

#[test]
fn no_local_model_runs_behind_a_proxy() {
    let model = "[models.m]\nupstream = 'u'\ntier = 'local'";
    let near = |rest: &str| format!("{PROXY}{}\n{model}", upstream("http://10.0.0.1/v1", rest));
    let expected = "is `local`, which sees every label, but its upstream is reached through a proxy";
    check(&near(""), expected);
    check(&near("trusted = true"), expected);
    World::default().good(&near("proxy = 'none'"));
    World::default().good(&format!("{PROXY}{}\n{model}", upstream("http://127.0.0.1:1/v1", "")));
    let env = format!("{}\n{model}", upstream("http://10.0.0.1/v1", "proxy = 'env'"));
    World::default().good(&env);
    let told = World::default().env("http_proxy", "http://p:1").bad(&env);
    assert!(told.contains(expected), "{told}");
}
