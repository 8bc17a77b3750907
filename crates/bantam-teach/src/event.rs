//! What happens while a student is trained.

use std::fmt;

use bantam_train::Phase;
use serde::{Deserialize, Serialize};

/// What happens while a student is trained. A training's log holds those of its steps, one JSON object a line.
///
/// The names of events and their fields are a wire contract: they do not change, and new ones may come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TrainingEvent {
    /// The base has read some of the texts.
    Embedding {
        /// Texts that are read.
        done: u64,
        /// Texts in all.
        texts: u64,
    },
    /// A pass of fitting a classifier ended.
    Fitting {
        /// The model, from 1.
        model: u64,
        /// Models in all: one for each fold, and the one that stays.
        models: u64,
        /// The pass, from 1.
        pass: u64,
        /// Passes at most.
        passes_max: u64,
        /// How far a row's probabilities moved, on average.
        moved: f64,
    },
    /// A pass of fitting a tagger ended.
    Pass {
        /// Passes done, over all models.
        done: u64,
        /// Passes in all.
        passes: u64,
    },
    /// A step was taken.
    Step(StepFigures),
    /// A pass over the rows ended and rows held out were judged.
    HeldOut(HeldOutFigures),
    /// An interrupted training was taken up again.
    Resumed {
        /// The run, where there are two.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<Phase>,
        /// Steps that it had taken.
        step: u64,
    },
    /// The student answers rows held out, as it will be served.
    Judging {
        /// Rows answered.
        done: u64,
        /// Rows in all.
        rows: u64,
    },
    /// Something worth knowing that is not an error.
    Notice(TrainingNotice),
    /// The training ended.
    End {
        /// How.
        outcome: TrainingEnd,
    },
}

/// A step of a training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepFigures {
    /// The run, where there are two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Phase>,
    /// The step, from 1.
    pub step: u64,
    /// Steps of the run.
    pub steps: u64,
    /// The pass over the rows, from 1.
    pub epoch: u32,
    /// Mean loss of the batch before the step.
    pub loss: f64,
    /// Learning rate.
    pub rate: f64,
    /// Length of the gradient before it was clipped.
    pub gradient: f64,
    /// Tokens of the batch.
    pub tokens: u64,
    /// Seconds since the training began.
    pub seconds: f64,
    /// Tokens a second since then.
    pub tokens_per_second: f64,
    /// Seconds until the last step of all runs, at this speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// Memory of the process, where the system tells.
    pub memory_mib: Option<u64>,
}

/// How rows held out were judged after a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldOutFigures {
    /// The run, where there are two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Phase>,
    /// Steps taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// The pass, from 1.
    pub epoch: u32,
    /// Mean loss; of decoders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Share of the rows (for taggers: of their words) that were right; of encoders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<f64>,
}

/// Something that should be known about a training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TrainingNotice {
    /// Recorded answers that a tagger cannot learn from: no JSON objects, or with a value that is not in the text.
    AnswersLeftOut {
        /// How many.
        left_out: u64,
        /// Of how many.
        answers: u64,
    },
    /// Recorded answers whose label came too rarely to be learnt.
    RareLabelsLeftOut {
        /// How many answers.
        left_out: u64,
        /// Of how many.
        answers: u64,
    },
    /// The log or the event files could not be written to their end; the training went on.
    RecordsIncomplete {
        /// What the system said.
        error: String,
    },
}

impl fmt::Display for TrainingNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnswersLeftOut { left_out, answers } => write!(
                f,
                "{left_out} of {answers} recorded answers are left out: they are not JSON objects, or hold a value that \
                 does not occur in its text"
            ),
            Self::RareLabelsLeftOut { left_out, answers } => {
                write!(f, "{left_out} of {answers} recorded answers are left out: their label came only once")
            }
            Self::RecordsIncomplete { error } => write!(f, "the log is incomplete: {error}"),
        }
    }
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingEnd {
    /// The student is in its place.
    Done,
    /// It was asked to stop.
    Stopped,
    /// It failed.
    Failed,
}

impl TrainingEnd {
    /// Returns the end's name as events have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

impl TrainingEvent {
    /// Returns whether the event belongs in a training's log: what can be followed, drawn and taken up again.
    pub(crate) const fn is_logged(&self) -> bool {
        matches!(self, Self::Step(_) | Self::HeldOut(_) | Self::Resumed { .. } | Self::End { .. })
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn events_keep_their_names_and_fields() {
        let step = StepFigures {
            run: None,
            step: 3,
            steps: 9,
            epoch: 1,
            loss: 0.5,
            rate: 0.001,
            gradient: 2.0,
            tokens: 64,
            seconds: 1.5,
            tokens_per_second: 128.0,
            seconds_left: Some(3.0),
            memory_mib: None,
        };
        let held_out = HeldOutFigures { run: None, step: Some(9), epoch: 1, loss: Some(0.25), right: None };
        let events = [
            TrainingEvent::Embedding { done: 1, texts: 2 },
            TrainingEvent::Fitting { model: 1, models: 6, pass: 2, passes_max: 100, moved: 0.5 },
            TrainingEvent::Pass { done: 1, passes: 30 },
            TrainingEvent::Step(step),
            TrainingEvent::Step(StepFigures { run: Some(Phase::Measure), memory_mib: Some(7), ..step }),
            TrainingEvent::HeldOut(held_out),
            TrainingEvent::HeldOut(HeldOutFigures {
                run: Some(Phase::Final),
                step: None,
                loss: None,
                right: Some(0.75),
                ..held_out
            }),
            TrainingEvent::Resumed { run: None, step: 4 },
            TrainingEvent::Judging { done: 8, rows: 24 },
            TrainingEvent::Notice(TrainingNotice::AnswersLeftOut { left_out: 1, answers: 2 }),
            TrainingEvent::Notice(TrainingNotice::RareLabelsLeftOut { left_out: 1, answers: 2 }),
            TrainingEvent::Notice(TrainingNotice::RecordsIncomplete { error: "no space".to_owned() }),
            TrainingEvent::End { outcome: TrainingEnd::Stopped },
        ];
        let lines = events.each_ref().map(|event| serde_json::to_string(event).unwrap());
        assert_snapshot!(lines.join("\n"));
        for (line, event) in lines.iter().zip(events) {
            assert_eq!(serde_json::from_str::<TrainingEvent>(line).unwrap(), event);
        }
    }
}
