use crate::world::World;

const CANARY: &str = "sk-canary-4f9a1c";

#[track_caller]
fn check(world: &World, text: &str) -> String {
    let errors = world.load(text).unwrap_err();
    let shown = format!("{errors}\n{errors:?}");
    assert!(!shown.contains("canary"), "{shown}");
    errors.to_string()
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    let head = "[upstreams.u]\ndialect = 'openai'\n";
    let world = World::default();
    for line in [
        format!("base_url = 'https://x/v1'\napi_key = '{CANARY}'"),
        format!("base_url = 'https://x/v1'\ntoken = '{CANARY}'"),
        format!("base_url = 'https://x/v1'\napi_key_env = '{CANARY}'"),
        format!("base_url = 'https://x/v1'\napi_key_env = {CANARY}"),
        format!("base_url = 'https://x/v1'\napi_key = '''\n{CANARY}'''"),
        format!("base_url = 'https://x/v1'\napi_key = '{CANARY}'\napi_key = '{CANARY}'"),
        format!("base_url = 'https://me:{CANARY}@x/v1'"),
        format!("base_url = 'https://x/v1?key={CANARY}'"),
        format!("base_url = 'https://x/v1'\npath = '/chat?key={CANARY}'"),
        format!("base_url = 'https://x/v1'\nheaders = {{ x-goog-api-key = '{CANARY}' }}"),
    ] {
        check(&world, &format!("{head}{line}\n"));
    }
    check(&world, &format!("upstreams.u = {{ api_key = '{CANARY}', colour = 1, dialect = 'no' }}"));
    check(&world, &format!("[server]\napi_key_envs = ['{CANARY}']"));
    check(&world.clone().flag("upstreams.u.api_key", CANARY), "");
    check(&world.env("BANTAM_SERVER_API_KEY_ENVS", CANARY), "");
}

#[test]
fn an_inline_key_is_answered_with_the_way_to_do_it() {
    let text =
        format!("[upstreams.u]\ndialect = 'openai'\nbase_url = 'https://x/v1'\napi_key = '{CANARY}'\n");
    insta::assert_snapshot!(check(&World::default(), &text));
}

#[test]
fn the_value_of_a_named_variable_never_shows() {
    let text = "[server]\napi_key_envs = ['KEY']";
    for value in
        ["canary", "", "canary canary canary canary canary canary", "canary-canary-canary-canary-canary\n"]
    {
        check(&World::default().env("KEY", value), text);
    }
    let config = World::default().env("KEY", &"canary".repeat(6)).good(text);
    assert!(!format!("{config:?}{}", config.render(true)).contains("canary"));
}
