//! A configuration that is looked at needs no keys and no files.

use bantam_config::{MistakeKind, Purpose};

use crate::world::World;

const TEXT: &str = "
[server]
api_key_envs = ['DESK_KEY']
[upstreams.far]
dialect = 'openai'
base_url = 'https://api.example.com/v1'
api_key_env = 'FAR_KEY'
[models.large]
upstream = 'far'
tier = 'frontier'
price = { input = 1, output = 2, as_of = '2026-11-01' }
[tasks.intent]
kind = 'classify'
student = 'intent.student'
ladder = ['student', 'large']
";

#[test]
fn what_serving_needs_is_no_mistake_for_looking_things_up() {
    let world = World::default();
    let refused = world.bad(TEXT);
    for missing in ["DESK_KEY", "FAR_KEY", "intent.student"] {
        assert!(refused.contains(missing), "{refused}");
    }
    let config = world.load_to(Purpose::LookUp, TEXT).unwrap();
    let shown: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert!(!shown.iter().any(|warning| warning.contains("KEY")), "{shown:?}");
    let missing = config.warnings.iter().filter(|warning| warning.kind == MistakeKind::Unreachable);
    assert_eq!(missing.count(), 1, "{shown:?}");
    assert_eq!(config.upstreams["far"].api_key_env.as_deref(), Some("FAR_KEY"));
}

#[test]
fn other_mistakes_are_mistakes_for_every_purpose() {
    let wrong = TEXT.replace("kind = 'classify'", "kind = 'clasify'");
    assert!(World::default().load_to(Purpose::LookUp, &wrong).is_err());
}
