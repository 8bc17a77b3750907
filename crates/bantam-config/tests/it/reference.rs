//! The table of settings against what the readers do: defaults, limits and words.

use bantam_config::reference::{ALL, DefaultValue, KnownSetting, ValueKind};
use bantam_config::{Config, Location, MistakeKind, Origin, complete_example};

use crate::world::World;

/// One upstream, one model of each sort and one task, with nothing but what is required.
const SPARSE: &str = "
[upstreams.u]
dialect = 'openai'
base_url = 'https://api.example.com/v1'
[models.m]
upstream = 'u'
tier = 'mid'
price = { input = 1, output = 2, as_of = '2026-11-01', rates = [{ above = 9, input = 1, output = 2 }] }
[models.f]
file = 'f.gguf'
[tasks.t]
kind = 'classify'
labels = ['a', 'b']
ladder = ['m']
[[privacy.dictionary]]
term = 'Project Falcon'
";

/// Returns whether `key` is an instance of `pattern`, in which `*` stands for one name.
fn is_instance(key: &str, pattern: &str) -> bool {
    // Names in the example and in `SPARSE` hold no dot outside quotes, but for one that is not looked for.
    let (key, pattern) = (key.split('.'), pattern.split('.'));
    key.clone().count() == pattern.clone().count()
        && key.zip(pattern).all(|(part, expected)| expected == "*" || part == expected)
}

/// Returns the first key of a loaded configuration that is an instance of a setting's.
fn instance(config: &Config, setting: &KnownSetting) -> Option<String> {
    let keys = config.settings().iter().map(|setting| &setting.key);
    keys.clone().find(|key| is_instance(key, setting.key)).cloned()
}

/// Returns whether the reader refuses the text `value` for `key` because of its type, range or form.
fn is_refused(key: &str, value: &str) -> bool {
    let at_flag = |location: &Location| matches!(location, Location::Flag(flag) if flag == key);
    let loaded = World::of_example().flag(key, value).load(&complete_example());
    loaded.err().is_some_and(|errors| {
        let mut mistakes = errors.diagnostics.iter();
        mistakes.any(|mistake| mistake.kind == MistakeKind::BadValue && at_flag(&mistake.location))
    })
}

#[track_caller]
fn check(setting: &KnownSetting, key: &str, accepted: &[String], refused: &[String]) {
    for value in accepted {
        assert!(!is_refused(key, value), "{} accepts {value}", setting.key);
    }
    for value in refused {
        assert!(is_refused(key, value), "{} refuses {value}", setting.key);
    }
}

#[test]
fn limits_and_words_are_those_of_the_readers() {
    let config = World::of_example().good(&complete_example());
    for setting in ALL {
        // Tables of a list cannot be overridden one by one.
        if setting.key.starts_with("privacy.dictionary.") || setting.key.contains(".price.rates.") {
            continue;
        }
        let key = instance(&config, setting).unwrap_or_else(|| panic!("{} is in the example", setting.key));
        let text = |number: u64| number.to_string();
        match setting.kind {
            ValueKind::Boolean => {
                check(setting, &key, &["true".into(), "false".into()], &["maybe".into(), "1".into()]);
            }
            ValueKind::Whole { min, max } => {
                let below = (min > 0).then(|| text(min - 1));
                let refused: Vec<String> = below.into_iter().chain([text(max + 1), "many".into()]).collect();
                check(setting, &key, &[text(min), text(max)], &refused);
            }
            ValueKind::Number { min, max } => {
                let inside = f64::midpoint(min, max);
                let refused = [(min - 0.01).to_string(), (max + 0.01).to_string(), "many".into()];
                check(setting, &key, &[inside.to_string(), max.to_string()], &refused);
            }
            ValueKind::OneOf(words) => {
                let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
                check(setting, &key, &words, &["no-such-word".into()]);
            }
            ValueKind::Text(_) | ValueKind::Texts(_) => {}
        }
    }
}

#[test]
fn defaults_are_those_of_the_readers() {
    let config = World::default().file("f.gguf").good(SPARSE);
    let by_default = config.settings().iter().filter(|setting| setting.origin == Origin::Default);
    for found in by_default.clone() {
        let listed = ALL.iter().find(|setting| is_instance(&found.key, setting.key));
        let listed = listed.unwrap_or_else(|| panic!("{} is listed", found.key));
        match listed.default {
            DefaultValue::Value(value) => assert_eq!(value, found.value, "{}", found.key),
            DefaultValue::Derived(_) => {}
            other => panic!("{} has the default {}, not {other:?}", found.key, found.value),
        }
    }
    for setting in ALL {
        if !matches!(setting.default, DefaultValue::Value(_)) || setting.key == "privacy.dictionary.label" {
            continue;
        }
        let is_shown = by_default.clone().any(|found| is_instance(&found.key, setting.key));
        assert!(is_shown, "{} has a default", setting.key);
    }
}

#[test]
fn what_is_required_is_missed() {
    for setting in ALL.iter().filter(|setting| setting.default == DefaultValue::Required) {
        let name = setting.key.rsplit('.').next().unwrap();
        let renamed = SPARSE.replace(&format!("{name} ="), &format!("{name}_ ="));
        assert_ne!(renamed, SPARSE, "{}", setting.key);
        let errors = World::default().file("f.gguf").load(&renamed).expect_err(setting.key);
        let is_missed = errors.diagnostics.iter().any(|mistake| mistake.kind == MistakeKind::Missing);
        assert!(is_missed, "{}: {errors}", setting.key);
    }
}
