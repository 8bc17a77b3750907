use bantam_config::Origin;

use crate::world::World;

#[track_caller]
fn check(world: &World, text: &str, expected: (usize, Origin)) {
    let config = world.good(text);
    let origin = config.origin("server.threads").unwrap().clone();
    assert_eq!((config.server.threads, origin), expected);
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let text = "\n[server]\nthreads = 2";
    let env = World::default().env("BANTAM_SERVER_THREADS", "3");
    check(&World::default(), "", (0, Origin::Default));
    check(&World::default(), text, (2, Origin::File { line: 3 }));
    check(&env, text, (3, Origin::Env("BANTAM_SERVER_THREADS".to_owned())));
    check(&env.clone().flag("server.threads", "4"), text, (4, Origin::Flag));
    check(&env.flag("server.threads", "4").flag("server.threads", "5"), text, (5, Origin::Flag));
}

#[test]
fn text_from_outside_takes_the_type_its_setting_wants() {
    let world = World::default()
        .env("BANTAM_SERVER_BODY_BYTES_MAX", "1_048_576")
        .env("BANTAM_SERVER_ALLOWED_HOSTS", "a.lan, b.lan:80")
        .env("BANTAM_SERVER_ALLOWED_ORIGINS", r#"["https://a.lan"]"#)
        .flag("upstreams.u", r#"{ dialect = "openai", base_url = "http://localhost:1/v1" }"#)
        .flag("upstreams.u.trusted", "true")
        .flag("models.\"llama3.2:3b\"", r#"{ upstream = "u", tier = "local" }"#)
        .flag("models.\"llama3.2:3b\".context_tokens", "4096")
        .flag("routing.ladder", "llama3.2:3b");
    let config = world.good("");
    assert_eq!(config.server.body_bytes_max, 1_048_576);
    assert_eq!(config.server.allowed_hosts, ["a.lan", "b.lan:80"]);
    assert_eq!(config.server.allowed_origins, ["https://a.lan"]);
    assert!(config.upstreams["u"].trusted);
    assert_eq!(config.models["llama3.2:3b"].context_tokens, Some(4096));
    assert_eq!(config.routing.ladder, ["llama3.2:3b"]);
}

#[test]
fn mistakes_outside_the_file_name_the_variable_or_the_flag() {
    let world = World::default()
        .env("BANTAM_SERVER_THREADS", "many")
        .env("BANTAM_LEDGER_ACKNOWLEDGE", "powerloss")
        .env("BANTAM_SERVER_BNID", "127.0.0.1:1")
        .flag("server.threds", "1")
        .flag("server.bind.port", "1")
        .flag("server..bind", "1")
        .flag("server.json_depth_max", "100000");
    insta::assert_snapshot!(world.bad("[server]\nbind = '127.0.0.1:1'\n"));
}

#[test]
fn a_variable_that_the_file_names_as_a_key_is_known() {
    let world = World::default().env("BANTAM_KEY", &"k".repeat(32));
    let text = "[server]\napi_key_envs = ['BANTAM_KEY']";
    assert!(!world.warnings(text).contains("BANTAM_KEY"));
}
