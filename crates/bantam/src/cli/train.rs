//! Flags of training: `bantam student train`, `bantam train TASK` and `bantam train export`.

use std::path::PathBuf;

use bantam_student::{BasePrecision, Features};
use bantam_teach::{BaseTuning, ExportForm, StudentKind};
use clap::{Args, Subcommand};

use super::decoder::DecoderArgs;
use super::values::{EXPORT_FORMS, FEATURES, PRECISIONS, STUDENT_KINDS, TUNINGS, one_of};

/// `bantam student train`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TrainStudentArgs {
    /// The kind of student
    #[arg(long, value_parser = one_of(STUDENT_KINDS), default_value = "linear")]
    pub(crate) kind: StudentKind,
    /// Labelled rows: {"text","label"} a line, for a tagger {"text","slots":{"NAME":["VALUE"]}}, for a decoder
    /// {"text","answer"}, {"messages"} or {"prompt","chosen","rejected"}
    #[arg(long, value_name = "FILE.jsonl", required_unless_present = "task", conflicts_with = "task")]
    pub(crate) data: Option<PathBuf>,
    /// Learns from this task's recorded answers; a quarter is kept back for `certify`
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<String>,
    /// Where to write the student [default with --task: the task's `student`]
    #[arg(long, value_name = "FILE", required_unless_present = "task")]
    pub(crate) out: Option<PathBuf>,
    /// The label that means "none of the others" [default: oos]
    #[arg(long, value_name = "LABEL")]
    pub(crate) out_of_scope_label: Option<String>,
    #[command(flatten)]
    pub(crate) settings: TrainingArgs,
}

/// `bantam train`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct TrainCommand {
    /// What to do in place of training.
    #[command(subcommand)]
    pub(crate) command: Option<TrainSubcommand>,
    #[command(flatten)]
    pub(crate) task: TrainTaskArgs,
}

/// What `bantam train` does besides training.
#[derive(Debug, Subcommand)]
pub(crate) enum TrainSubcommand {
    /// Writes a trained student in the form that another program reads
    Export(TrainExportArgs),
}

/// `bantam train TASK`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TrainTaskArgs {
    /// The task, as the configuration has it
    #[arg(required = true)]
    pub(crate) task: Option<String>,
    /// The kind of student [default: by the task: classify linear, or encoder with a base; extract tagger with an
    /// encoder as base; else decoder]
    #[arg(long, value_parser = one_of(STUDENT_KINDS), value_name = "KIND")]
    pub(crate) student: Option<StudentKind>,
    /// Rows in place of the task's recorded answers
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) data: Option<PathBuf>,
    /// Where to write the student [default: the task's `student`]
    #[arg(long, value_name = "PATH")]
    pub(crate) out: Option<PathBuf>,
    /// Shows a training of this task that runs in another terminal, until it ends
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) settings: TrainingArgs,
}

/// What is said of every training.
#[derive(Clone, Debug, Args)]
pub(crate) struct TrainingArgs {
    /// What the student stands on: the folder of an encoder in Hugging Face's form, or a decoder's GGUF file or folder;
    /// a tagger or decoder may do without
    #[arg(long, value_name = "PATH")]
    pub(crate) base: Option<PathBuf>,
    /// What an encoder student looks at [default: joined]
    #[arg(long, value_parser = one_of(FEATURES))]
    pub(crate) features: Option<Features>,
    /// What an encoder computes in [default: int8]
    #[arg(long, value_parser = one_of(PRECISIONS))]
    pub(crate) precision: Option<BasePrecision>,
    /// Decides everything that is left to chance [default: 7]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) tune: TuneArgs,
    #[command(flatten)]
    pub(crate) decoder: DecoderArgs,
}

/// How an encoder itself, or a decoder, is trained.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Training an encoder or a decoder")]
pub(crate) struct TuneArgs {
    /// What of the encoder is trained [default: none, for a tagger lora]
    #[arg(long, value_parser = one_of(TUNINGS))]
    pub(crate) tune: Option<BaseTuning>,
    /// Passes over the rows; of a tagger without a base too
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<u32>,
    /// Rows of a batch
    #[arg(long, value_name = "ROWS")]
    pub(crate) batch: Option<usize>,
    /// Highest learning rate of the changes
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<f64>,
    /// Highest learning rate of the head
    #[arg(long, value_name = "RATE")]
    pub(crate) head_rate: Option<f64>,
    /// Rank of the changes
    #[arg(long, value_name = "N")]
    pub(crate) rank: Option<usize>,
    /// Share of numbers that are dropped at random
    #[arg(long, value_name = "SHARE")]
    pub(crate) dropout: Option<f32>,
    /// Goes on where an interrupted training stopped
    #[arg(long)]
    pub(crate) resume: bool,
    /// Where the state of the training is kept until it ends [default: beside the student]
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Steps between two checkpoints [default: 100]
    #[arg(long, value_name = "N")]
    pub(crate) checkpoint_every: Option<u64>,
    /// Writes every step's figures: one JSON object a line
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) log: Option<PathBuf>,
    /// Draws the loss
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) curve: Option<PathBuf>,
    /// Writes event files for TensorBoard
    #[arg(long, value_name = "FOLDER")]
    pub(crate) tensorboard: Option<PathBuf>,
    /// Writes an encoder's changes in the form of PEFT too
    #[arg(long, value_name = "FOLDER")]
    pub(crate) peft: Option<PathBuf>,
}

/// `bantam train export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TrainExportArgs {
    /// The student
    pub(crate) student: PathBuf,
    /// The form
    #[arg(long, value_parser = one_of(EXPORT_FORMS))]
    pub(crate) to: ExportForm,
    /// The folder to write into; it is made
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// The student's base [default: where training found it]
    #[arg(long, value_name = "PATH")]
    pub(crate) base: Option<PathBuf>,
    /// The rows that it was trained on, for axolotl and trl
    #[arg(long, value_name = "FILE.jsonl", required_if_eq_any([("to", "axolotl"), ("to", "trl")]))]
    pub(crate) data: Option<PathBuf>,
}
