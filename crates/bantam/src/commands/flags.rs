//! From what libraries say, which name settings, to what the command line says, which names flags.

use std::error::Error;

use bantam_types::with_causes;

use crate::failure::{Failure, Outcome};

/// Settings of the libraries that flags set.
const SETTINGS: &str = "base base_form batch_rows beta checkpoint checkpoint_every curve data dropout epochs features \
                        form head_rate held_out instructions kind lanes log merges out out_of_scope_label patience peft \
                        precision rank rate resume samples schema seed size tensorboard tokens_max tune";

/// Returns a library's hint with flags in the place of its settings, which stand in backticks.
pub(crate) fn in_flags(text: &str) -> String {
    let flag = |setting: &str| match setting {
        "batch_rows" => "--batch".to_owned(),
        "form" => "--to".to_owned(),
        other => format!("--{}", other.replace('_', "-")),
    };
    SETTINGS
        .split(' ')
        .fold(text.to_owned(), |text, setting| text.replace(&format!("`{setting}`"), &flag(setting)))
}

/// Returns a failure whose hint names flags.
pub(crate) fn with_flags(failure: Failure) -> Failure {
    match failure.next_step().map(in_flags) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Returns the failure of an error that says itself what was attempted, with everything that caused it.
pub(crate) fn failure(outcome: Outcome, error: &dyn Error, hint: Option<String>) -> Failure {
    Failure::new(outcome, with_causes(error)).maybe_hint(hint.map(|hint| in_flags(&hint)))
}

#[cfg(test)]
mod tests {
    use bantam_teach::{StudentKind, TrainingRequest};

    use super::*;

    #[test]
    fn settings_become_flags_and_other_words_stay() {
        assert_eq!(in_flags("raise `tokens_max`, or set `labels`"), "raise --tokens-max, or set `labels`");
        assert_eq!(in_flags("leave `base_form` out"), "leave --base-form out");
        let failure = with_flags(Failure::new(Outcome::Usage, "a `base`").hint("give a `base`"));
        assert_eq!((failure.message(), failure.next_step()), ("a `base`", Some("give a --base")));
    }

    #[test]
    fn every_field_of_a_training_has_its_flag() {
        let request = serde_json::to_value(TrainingRequest::new(StudentKind::Linear, "x")).unwrap();
        for field in request.as_object().unwrap().keys().filter(|field| *field != "task") {
            assert!(in_flags(&format!("`{field}`")).starts_with("--"), "{field}");
        }
    }
}
