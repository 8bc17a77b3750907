use std::time::Duration;

use bantam_config::{
    Config, EXAMPLE, KeepAlive, MessagesTraits, ModelSource, Rung, Thinking, complete_example,
};
use bantam_types::{Label, Tier};

use crate::world::World;

const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// Drops what has to differ when a configuration is read from its own output.
fn without_origins(mut config: Config) -> (Config, String) {
    let text = config.render(false);
    config.warnings.clear();
    let parts = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        config.server,
        config.ledger,
        config.routing,
        config.privacy,
        config.upstreams,
        config.models,
        config.tasks
    );
    (config, format!("{text}{parts}"))
}

#[test]
fn the_example_loads_as_it_is_where_nothing_is_there() {
    let config = World::default().good(EXAMPLE);
    assert_eq!(config.warnings, []);
    assert_eq!(config.routing.ladder, ["tiny"]);
}

#[test]
fn the_example_loads_without_a_warning() {
    let config = World::of_example().good(&complete_example());
    assert_eq!(config.warnings, []);
    assert_eq!(config.models["large"].tier, Tier::Frontier);
    let upstream = ModelSource::Upstream {
        upstream: "ollama".to_owned(),
        name: "llama3.2:3b".to_owned(),
        messages: None,
    };
    assert_eq!(config.models["tiny"].source, upstream);
    let upstream = ModelSource::Upstream {
        upstream: "anthropic".to_owned(),
        name: "claude-sonnet-4-5".to_owned(),
        messages: Some(MessagesTraits { output_tokens: 4_096, thinking: Thinking::Budget }),
    };
    assert_eq!(config.models["claude"].source, upstream);
    let ModelSource::File { kv_tokens, keep_alive, .. } = config.models["desk"].source else {
        panic!("a file")
    };
    assert_eq!(
        (kv_tokens, keep_alive, config.models["desk"].tier),
        (Some(16_384), KeepAlive::Always, Tier::Local)
    );
    let ModelSource::File { adapter, keep_alive, .. } = &config.models["support-tone"].source else {
        panic!("a file")
    };
    assert_eq!(adapter.as_deref(), Some("/etc/bantam/models/support-tone".as_ref()));
    assert_eq!(
        (*keep_alive, config.local.keep_alive),
        (config.local.keep_alive, KeepAlive::For(FIVE_MINUTES))
    );
    assert_eq!(config.local.memory_bytes, Some(8 << 30));
    assert_eq!(config.privacy.dictionary[0].label, Label::Restricted);
    let task = config.tasks.iter().find(|(name, _)| name.as_str() == "intent").unwrap().1;
    assert_eq!(task.ladder[0], Rung::Student);
    assert_eq!(task.uncertified_threshold, Some(0.95));
}

#[test]
fn what_is_shown_reads_back_as_the_same_configuration() {
    let world = World::of_example();
    for text in [
        &complete_example(),
        EXAMPLE,
        "",
        "[models.\"a.b\"]\nupstream = 'u'\ntier='mid'\n[upstreams.u]\ndialect='anthropic'\nbase_url='https://x'",
    ] {
        let (config, expected) = without_origins(world.good(text));
        for with_origin in [false, true] {
            let shown = config.render(with_origin);
            let (_, again) = without_origins(world.good(&shown));
            assert_eq!(again, expected);
        }
    }
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = World::default().good("");
    insta::assert_snapshot!(config.render(true));
}

#[test]
fn the_example_is_shown_with_the_origin_of_every_setting() {
    let world = World::of_example().env("BANTAM_SERVER_THREADS", "4").flag("models.large.tier", "mid");
    let world = world.flag("routing.baseline", "small");
    insta::assert_snapshot!(world.good(&complete_example()).render(true));
}
