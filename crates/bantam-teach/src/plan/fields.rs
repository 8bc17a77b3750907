//! Which fields of a request mean something to which way of training.

use bantam_types::TaskKind;

use super::PlanError;
use crate::request::{BaseTuning, StudentKind, TrainingRequest};

pub(super) const LINEAR: &str = "a linear student";
pub(super) const ENCODER: &str = "an encoder student";
pub(super) const FROZEN_ENCODER: &str = "an encoder student whose encoder is left as it is";
pub(super) const TUNED_ENCODER: &str = "an encoder student whose encoder is changed";
pub(super) const LINEAR_TAGGER: &str = "a tagger without a base";
pub(super) const ENCODER_TAGGER: &str = "a tagger over an encoder";
pub(super) const WHOLE_DECODER: &str = "a decoder without a base";
pub(super) const ADAPTED_DECODER: &str = "a decoder over a base";

/// A way of training as one bit of the sets below.
const LINEAR_BIT: u8 = 1;
const FROZEN: u8 = 1 << 1;
const TUNED: u8 = 1 << 2;
const WORDS: u8 = 1 << 3;
const TAGGER: u8 = 1 << 4;
const WHOLE: u8 = 1 << 5;
const ADAPTED: u8 = 1 << 6;
/// Over an encoder that is changed.
const CHANGED: u8 = TUNED | TAGGER;
const OVER_ENCODER: u8 = FROZEN | CHANGED;
const CLASSIFIERS: u8 = LINEAR_BIT | FROZEN | TUNED;
const DECODERS: u8 = WHOLE | ADAPTED;
/// What takes steps.
const STEPS: u8 = CHANGED | DECODERS;

/// Refuses the first field that the training would have to ignore.
pub(super) fn check_fields(request: &TrainingRequest) -> Result<(), PlanError> {
    let (way, student) = way_of(request);
    if request.kind == StudentKind::Linear && request.base.is_some() {
        return Err(PlanError::LinearOnBase);
    }
    if way & (TAGGER | DECODERS) != 0 && request.tune == Some(BaseTuning::None) {
        let student = if way == TAGGER { "the encoder of a tagger" } else { "a decoder" };
        return Err(PlanError::AlwaysTuned { student });
    }
    if let (StudentKind::Tagger, Some(task)) = (request.kind, &request.task)
        && task.kind != TaskKind::Extract
    {
        return Err(PlanError::OtherTask { kind: task.kind });
    }
    match given(request).into_iter().find(|(_, is_given, ways)| *is_given && ways & way == 0) {
        Some((field, _, _)) => Err(PlanError::Unused { field, student }),
        None => Ok(()),
    }
}

/// Returns the way of training that a request means, and what it trains in words.
fn way_of(request: &TrainingRequest) -> (u8, &'static str) {
    match (request.kind, request.base.is_some()) {
        (StudentKind::Linear, _) => (LINEAR_BIT, LINEAR),
        (StudentKind::Encoder, _) if request.tune == Some(BaseTuning::Lora) => (TUNED, TUNED_ENCODER),
        (StudentKind::Encoder, _) => (FROZEN, FROZEN_ENCODER),
        (StudentKind::Tagger, false) => (WORDS, LINEAR_TAGGER),
        (StudentKind::Tagger, true) => (TAGGER, ENCODER_TAGGER),
        (StudentKind::Decoder, false) => (WHOLE, WHOLE_DECODER),
        (StudentKind::Decoder, true) => (ADAPTED, ADAPTED_DECODER),
    }
}

/// Returns every field but the base, whether it is given, and the ways of training that it means something to.
fn given(request: &TrainingRequest) -> [(&'static str, bool, u8); 29] {
    let TrainingRequest { kind: _, out: _, task: _, base: _, resume, .. } = request;
    [
        ("features", request.features.is_some(), OVER_ENCODER),
        ("precision", request.precision.is_some(), OVER_ENCODER),
        ("out_of_scope_label", request.out_of_scope_label.is_some(), CLASSIFIERS),
        ("seed", request.seed.is_some(), u8::MAX),
        ("tune", request.tune.is_some(), OVER_ENCODER | ADAPTED),
        ("epochs", request.epochs.is_some(), STEPS | WORDS),
        ("batch_rows", request.batch_rows.is_some(), STEPS),
        ("rate", request.rate.is_some(), STEPS),
        ("head_rate", request.head_rate.is_some(), CHANGED),
        ("rank", request.rank.is_some(), CHANGED | ADAPTED),
        ("dropout", request.dropout.is_some(), CHANGED),
        ("resume", *resume, STEPS),
        ("checkpoint", request.checkpoint.is_some(), STEPS),
        ("checkpoint_every", request.checkpoint_every.is_some(), STEPS),
        ("log", request.log.is_some(), STEPS),
        ("curve", request.curve.is_some(), STEPS),
        ("tensorboard", request.tensorboard.is_some(), STEPS),
        ("peft", request.peft.is_some(), CHANGED),
        ("instructions", request.instructions.is_some(), DECODERS),
        ("schema", request.schema.is_some(), DECODERS),
        ("size", request.size.is_some(), WHOLE),
        ("merges", request.merges.is_some(), WHOLE),
        ("base_form", request.base_form.is_some(), ADAPTED),
        ("held_out", request.held_out.is_some(), DECODERS),
        ("patience", request.patience.is_some(), DECODERS),
        ("tokens_max", request.tokens_max.is_some(), DECODERS),
        ("samples", request.samples.is_some(), DECODERS),
        ("beta", request.beta.is_some(), ADAPTED),
        ("lanes", request.lanes.is_some(), DECODERS),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_field_of_a_request() {
        let json = serde_json::to_value(TrainingRequest::new(StudentKind::Linear, "x")).unwrap();
        let request = TrainingRequest::new(StudentKind::Linear, "x");
        let mut named: Vec<&str> = given(&request).iter().map(|(field, _, _)| *field).collect();
        named.extend(["kind", "out", "task", "base"]);
        let mut fields: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        named.sort_unstable();
        fields.sort_unstable();
        assert_eq!(named, fields);
    }
}
