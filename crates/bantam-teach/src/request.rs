//! What a caller asks of a training: plain values, as flags, a file or a request over HTTP give them.

use std::path::{Path, PathBuf};

use bantam_student::{BasePrecision, Features, is_encoder};
use bantam_train::BaseForm;
use bantam_types::TaskKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A kind of student.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StudentKind {
    /// A classifier over word and character n-grams.
    Linear,
    /// A classifier over the vectors of an encoder.
    Encoder,
    /// Finds values in a text: over words, or over an encoder if there is a base.
    Tagger,
    /// A small language model: an adapter of a base, or one trained from nothing.
    Decoder,
}

impl StudentKind {
    /// Returns the kind's name as requests and reports have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Encoder => "encoder",
            Self::Tagger => "tagger",
            Self::Decoder => "decoder",
        }
    }
}

impl StudentKind {
    /// Returns the kind that is usual for a task, on a base or without one.
    pub fn usual(task: TaskKind, base: Option<&Path>) -> Self {
        match (task, base) {
            (TaskKind::Classify, None) => Self::Linear,
            (TaskKind::Classify, Some(base)) if is_encoder(base) => Self::Encoder,
            (TaskKind::Extract, None) => Self::Tagger,
            (TaskKind::Extract, Some(base)) if is_encoder(base) => Self::Tagger,
            _ => Self::Decoder,
        }
    }

    /// Returns the kind with its article, as a sentence has it.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Linear => "a linear student",
            Self::Encoder => "an encoder student",
            Self::Tagger => "a tagger",
            Self::Decoder => "a decoder",
        }
    }
}

/// What of a base is changed by a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseTuning {
    /// Nothing: its vectors are used as they are.
    None,
    /// Low-rank changes of all its linear layers.
    Lora,
}

/// What is known of the task that a student is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskFacts {
    /// What its answers are.
    pub kind: TaskKind,
    /// Its labels, where it has any.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The system message of its requests.
    pub instructions: Option<String>,
    /// The JSON schema of its answers.
    pub schema: Option<Value>,
}

/// What is to be trained, and how. A field that is left out takes a recommended value; one that means nothing to the
/// kind of student is refused by [`TrainingPlan::new`](crate::TrainingPlan::new), never ignored.
///
/// The names of the fields are a wire contract: they do not change, and new ones may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingRequest {
    /// The kind of student.
    pub kind: StudentKind,
    /// Where the student is written: a file, for a decoder a folder.
    pub out: PathBuf,
    /// What it is known to be for.
    pub task: Option<TaskFacts>,
    /// What it stands on: an encoder's folder, or a decoder's GGUF file or folder.
    pub base: Option<PathBuf>,
    /// What a student over an encoder looks at.
    pub features: Option<Features>,
    /// What an encoder computes in.
    pub precision: Option<BasePrecision>,
    /// The label of a classifier that means "none of the others".
    pub out_of_scope_label: Option<String>,
    /// Decides everything that is left to chance.
    pub seed: Option<u64>,
    /// What of an encoder is changed.
    pub tune: Option<BaseTuning>,
    /// Passes over the rows.
    pub epochs: Option<u32>,
    /// Rows of a batch.
    pub batch_rows: Option<usize>,
    /// Highest learning rate of the changes.
    pub rate: Option<f64>,
    /// Highest learning rate of a head.
    pub head_rate: Option<f64>,
    /// Rank of the changes.
    pub rank: Option<usize>,
    /// Share of numbers that are dropped at random.
    pub dropout: Option<f32>,
    /// Whether to go on where an interrupted training stopped.
    #[serde(default)]
    pub resume: bool,
    /// The path of the training checkpoint, which is removed at the end; beside the student by default.
    pub checkpoint: Option<PathBuf>,
    /// Steps between two checkpoints.
    pub checkpoint_every: Option<u64>,
    /// Where every step's figures are written, one [`TrainingEvent`](crate::TrainingEvent) a line.
    pub log: Option<PathBuf>,
    /// Where the loss is drawn, as SVG.
    pub curve: Option<PathBuf>,
    /// The folder that event files for TensorBoard are written into.
    pub tensorboard: Option<PathBuf>,
    /// The folder that an encoder's changes are written into in the form of PEFT.
    pub peft: Option<PathBuf>,
    /// The system message that a decoder is trained and served with.
    pub instructions: Option<String>,
    /// The JSON schema that every answer of a decoder keeps to.
    pub schema: Option<Value>,
    /// About how many parameters a decoder without a base has.
    pub size: Option<usize>,
    /// Pieces of words that become tokens of a decoder without a base; 0 leaves bytes.
    pub merges: Option<usize>,
    /// How a decoder's frozen base is held while it is trained on.
    pub base_form: Option<BaseForm>,
    /// Share of a decoder's rows that are held out to judge it.
    pub held_out: Option<f64>,
    /// Passes without a smaller loss on rows held out after which a decoder's training ends.
    pub patience: Option<u32>,
    /// Tokens of a decoder's row at most, prompt and answer together.
    pub tokens_max: Option<usize>,
    /// Further answers that a decoder draws to tell how sure it is; kept where that ranks rows held out better.
    pub samples: Option<usize>,
    /// How closely preferences are held to the base.
    pub beta: Option<f64>,
    /// Parts of a decoder's batch that are computed side by side, one a core.
    pub lanes: Option<usize>,
}

impl TrainingRequest {
    /// Returns a request for a student of `kind` at `out`, with nothing else said.
    pub fn new(kind: StudentKind, out: impl Into<PathBuf>) -> Self {
        Self {
            kind,
            out: out.into(),
            task: None,
            base: None,
            features: None,
            precision: None,
            out_of_scope_label: None,
            seed: None,
            tune: None,
            epochs: None,
            batch_rows: None,
            rate: None,
            head_rate: None,
            rank: None,
            dropout: None,
            resume: false,
            checkpoint: None,
            checkpoint_every: None,
            log: None,
            curve: None,
            tensorboard: None,
            peft: None,
            instructions: None,
            schema: None,
            size: None,
            merges: None,
            base_form: None,
            held_out: None,
            patience: None,
            tokens_max: None,
            samples: None,
            beta: None,
            lanes: None,
        }
    }

    /// Returns whether such a training takes steps, which can be logged, drawn and taken up again: students over n-grams,
    /// over words, or over an encoder that is left as it is are fitted in one go.
    pub fn takes_steps(&self) -> bool {
        match self.kind {
            StudentKind::Linear => false,
            StudentKind::Encoder => self.tune == Some(BaseTuning::Lora),
            StudentKind::Tagger => self.base.is_some(),
            StudentKind::Decoder => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_kind_follows_the_task_and_its_base() {
        let folder = tempfile::tempdir().unwrap();
        let base = Some(folder.path());
        std::fs::write(folder.path().join("config.json"), r#"{"model_type": "bert"}"#).unwrap();
        let other = Some(Path::new("model.gguf"));
        for (task, base, kind) in [
            (TaskKind::Classify, None, StudentKind::Linear),
            (TaskKind::Classify, base, StudentKind::Encoder),
            (TaskKind::Classify, other, StudentKind::Decoder),
            (TaskKind::Extract, None, StudentKind::Tagger),
            (TaskKind::Extract, base, StudentKind::Tagger),
            (TaskKind::Extract, other, StudentKind::Decoder),
            (TaskKind::Rewrite, None, StudentKind::Decoder),
        ] {
            assert_eq!(StudentKind::usual(task, base), kind, "{task} {base:?}");
        }
    }

    #[test]
    fn a_request_reads_from_what_must_be_said_alone_and_unknown_fields_are_refused() {
        let read = |json: &str| serde_json::from_str::<TrainingRequest>(json);
        let request = read(r#"{"kind": "decoder", "out": "desk.student"}"#).unwrap();
        assert_eq!(request, TrainingRequest::new(StudentKind::Decoder, "desk.student"));
        let request =
            read(r#"{"kind": "tagger", "out": "x", "precision": "int8", "task": {"kind": "extract"}}"#);
        assert_eq!(request.unwrap().task.unwrap().kind, TaskKind::Extract);
        assert!(read(r#"{"kind": "decoder", "out": "x", "epoch": 3}"#).is_err());
        assert!(read(r#"{"kind": "decoder"}"#).is_err());
    }
}
