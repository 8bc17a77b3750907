use crate::world::World;

const MODELS: &str = "
[upstreams.u]
dialect = 'openai'
base_url = 'https://api.example.com/v1'
[models.cheap]
upstream = 'u'
tier = 'frontier'
price = { input = 1, output = 2, as_of = '2026-11-01' }
[models.dear]
upstream = 'u'
tier = 'frontier'
price = { input = 2, output = 3, as_of = '2026-11-01' }
[models.unpriced]
upstream = 'u'
tier = 'frontier'
";

#[test]
fn the_baseline_is_the_dearest_frontier_model_unless_somebody_says() {
    let world = World::default();
    assert_eq!(world.good(MODELS).routing.baseline.as_deref(), Some("dear"));
    let said = world.good(&format!("{MODELS}[routing]\nbaseline = 'cheap'"));
    assert_eq!(said.routing.baseline.as_deref(), Some("cheap"));
    let unpriced = world.warnings(&format!("{MODELS}[routing]\nbaseline = 'unpriced'"));
    assert!(unpriced.contains("savings cannot be told"), "{unpriced}");
    let unknown = world.bad(&format!("{MODELS}[routing]\nbaseline = 'deer'"));
    assert!(unknown.contains("did you mean `dear`?"), "{unknown}");
}

#[test]
fn a_name_that_means_auto_may_mean_nothing_else() {
    let world = World::default();
    let with = |names: &str| format!("{MODELS}[routing]\nladder = ['cheap']\nauto_names = [{names}]");
    assert_eq!(world.good(&with("'gpt-5', 'gpt-4o'")).routing.auto_names, ["gpt-5", "gpt-4o"]);
    let taken = world.bad(&with("'dear'"));
    assert!(taken.contains("is also the name of a model"), "{taken}");
    for reserved in ["'auto'", "'task/t'"] {
        let refused = world.bad(&with(reserved));
        assert!(refused.contains("already has a meaning"), "{refused}");
    }
    assert!(world.bad(&with("''")).contains("routing.auto_names"));
}

#[test]
fn a_certificate_beside_the_student_is_found() {
    let text = format!(
        "{MODELS}[tasks.t]\nkind = 'classify'\nstudent = 'intent.student'\nladder = ['student', 'dear']"
    );
    let with = World::of_example().good(&text);
    let path = with.tasks.values().next().unwrap().certificate.clone().unwrap();
    assert_eq!(path.to_str(), Some("/etc/bantam/intent.certificate.json"));
    let without = World::default().file("intent.student").warnings(&text);
    assert!(without.contains("it never answers alone"), "{without}");
}

#[test]
fn a_student_comes_before_the_common_ladder() {
    let text = format!(
        "{MODELS}[routing]\nladder = ['dear']\n[tasks.t]\nkind = 'classify'\nstudent = 'intent.student'"
    );
    let config = World::of_example().good(&text);
    let rungs: Vec<_> =
        config.tasks.values().next().unwrap().ladder.iter().map(|rung| rung.as_str().to_owned()).collect();
    assert_eq!(rungs, ["student", "dear"]);
}

#[test]
fn a_bad_common_ladder_is_not_reported_again_for_every_task() {
    let shown = World::default().bad("[routing]\nladder = 'm'\n[tasks.t]\nkind = 'extract'");
    assert!(shown.ends_with("bantam.toml: 1 error, 1 warning") || shown.ends_with(": 1 error"), "{shown}");
}

#[test]
fn warns_of_what_is_legal_but_surprising() {
    let text = format!(
        "[privacy]\nmid = 'confidential'\n{MODELS}[upstreams.idle]\ndialect = 'openai'\nbase_url = 'http://idle.example'\n\
         allow_plain_http = true\napi_key_env = 'OPENAI_API_KEY'\n\
         [tasks.t]\nkind = 'classify'\nstudent = 'intent.student'\nladder = ['dear']\n\
         [tasks.u]\nkind = 'classify'\nstudent = 'intent.student'\nladder = ['student', 'dear']\nminimum_label = 'restricted'\n"
    );
    insta::assert_snapshot!(World::of_example().warnings(&text));
}

#[test]
fn a_listener_on_every_address_warns_that_no_host_is_allowed() {
    let world = World::default().env("KEY", &"k".repeat(32));
    let warnings = world.warnings("[server]\nbind = '0.0.0.0:1'\napi_key_envs = ['KEY']");
    assert!(warnings.contains("server.allowed_hosts"), "{warnings}");
}
