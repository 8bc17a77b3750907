//! Upstreams behind a proxy: tunnels for TLS, passing on for plain HTTP, and whose fault it is.

use std::sync::Arc;

use bantam_backend::{BackendFault, ConnectFault};
use bantam_remote::{HttpVersion, Proxy, Upstream, UpstreamSettings, WireSettings};
use bantam_simulate::{Behaviour, completion_body};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::connections::tls_server;
use crate::http2::Http2Server;
use crate::support::{HI, call, fault_of, got, model, settings, start};

/// A proxy that opens tunnels and keeps the head of every request to it.
struct Tunnels {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

async fn tunnels(answer: &'static str) -> Tunnels {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    tokio::spawn({
        let heads = Arc::clone(&heads);
        async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(tunnel(socket, Arc::clone(&heads), answer));
            }
        }
    });
    Tunnels { url, heads }
}

async fn tunnel(mut socket: TcpStream, heads: Arc<Mutex<Vec<String>>>, answer: &str) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1)?.to_owned();
    heads.lock().push(head);
    socket.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await.ok()?;
    if answer.starts_with("200") {
        let mut to = TcpStream::connect(target).await.ok()?;
        tokio::io::copy_bidirectional(&mut socket, &mut to).await.ok()?;
    }
    Some(())
}

fn through(url: &str, login: Option<&str>) -> WireSettings {
    let proxy = Some(Proxy { url: url.to_owned(), login: login.map(str::to_owned) });
    WireSettings { proxy, ..WireSettings::default() }
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_and_the_proxy_sees_the_host_alone() {
    let server = tls_server("127.0.0.1", false, &["http/1.1"]);
    let proxy = tunnels("200 OK").await;
    let settings = UpstreamSettings {
        extra_roots_pem: Some(server.pem.into_bytes()),
        wire: through(&proxy.url, Some("us:er")),
        ..settings(&server.url)
    };
    assert_eq!(got(settings, false).await.fault, None);
    let heads = proxy.heads.lock();
    let [head] = &**heads else { panic!("{heads:?}") };
    let authority = server.url.strip_prefix("https://").unwrap().strip_suffix("/v1").unwrap();
    assert!(head.starts_with(&format!("CONNECT {authority} HTTP/1.1\r\n")), "{head}");
    // The login is the proxy's, and the key the upstream's.
    assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic dxm6zxi="), "{head}");
    assert!(!head.contains("key-of-the-upstream"), "{head}");
}

#[tokio::test]
async fn plain_http_is_passed_on_by_the_proxy() {
    let proxy = start(|_| Behaviour::ok(completion_body("m", "passed on", 1, 1))).await;
    let url = proxy.base_url();
    let url = url.strip_suffix("/v1").unwrap();
    let settings =
        UpstreamSettings { wire: through(url, Some("u:p")), ..settings("http://upstream.invalid/v1") };
    assert_eq!(got(settings, false).await.chunks, ["passed on"]);
    let head = proxy.received().remove(0).head;
    assert!(head.starts_with("POST http://upstream.invalid/v1/chat/completions HTTP/1.1\r\n"), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("\r\nhost: upstream.invalid\r\n"), "{head}");
    assert!(head.contains("\r\nproxy-authorization: basic dtpw\r\n"), "{head}");
}

#[tokio::test]
async fn plain_http2_goes_through_a_tunnel() {
    let server =
        Http2Server::plain(|_| crate::http2::Act::Answer(completion_body("m", "tunnelled", 1, 1))).await;
    let proxy = tunnels("200 OK").await;
    let wire = WireSettings { http: HttpVersion::Http2, ..through(&proxy.url, Some("u:p")) };
    let settings = UpstreamSettings { wire, ..settings(&server.url) };
    assert_eq!(got(settings, false).await.chunks, ["tunnelled"]);
    assert_eq!(proxy.heads.lock().len(), 1);
    let seen = server.heads();
    assert!(!seen[0].contains("proxy-authorization"), "the login is not the upstream's: {seen:?}");
}

#[tokio::test]
async fn a_proxy_that_gives_no_connection_is_named_and_nothing_was_sent() {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let refusing = tunnels("403 Forbidden").await;
    let asking = tunnels("407 Proxy Authentication Required").await;
    for (proxy, upstream) in [
        (format!("http://{closed}"), "https://upstream.invalid/v1"),
        (format!("http://{closed}"), "http://upstream.invalid/v1"),
        (refusing.url.clone(), "https://upstream.invalid/v1"),
        (asking.url.clone(), "https://upstream.invalid/v1"),
    ] {
        let settings = UpstreamSettings { wire: through(&proxy, None), ..settings(upstream) };
        let error = fault_of(call(&model(settings), HI, false).await);
        assert_eq!(error.fault, BackendFault::Connect(ConnectFault::Proxy), "{proxy}");
        assert!(error.fault.is_never_billed() && error.fault.hint().unwrap().contains("`proxy`"));
    }
}

#[test]
fn only_the_address_of_an_http_proxy_is_taken() {
    for url in ["", "proxy:3128", "https://proxy:3128", "socks5://proxy:1", "http://u:p@proxy:1", "http://"] {
        let settings = UpstreamSettings { wire: through(url, None), ..settings("https://a.example") };
        assert!(Upstream::new(settings).is_err(), "{url}");
    }
    let with_bad_login = through("http://proxy:3128", Some("u:\u{7f}"));
    assert!(
        Upstream::new(UpstreamSettings { wire: with_bad_login, ..settings("https://a.example") }).is_ok()
    );
    assert!(!format!("{:?}", through("http://proxy:1", Some("u:hunter2"))).contains("hunter2"));
}
