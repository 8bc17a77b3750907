//! Flags of `bantam train`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::decoder::DecoderArgs;
use super::{EncoderPrecision, StudentFeatures, StudentKind, TrainArgs, TuneArgs};

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

/// What `bantam train` does but train.
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
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) student: Option<StudentKind>,
    /// What the student stands on: the folder of an encoder, or a decoder's GGUF file or folder
    #[arg(long, value_name = "PATH")]
    pub(crate) base: Option<PathBuf>,
    /// Rows in place of the task's recorded answers
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) data: Option<PathBuf>,
    /// Where to write the student [default: the task's `student`]
    #[arg(long, value_name = "PATH")]
    pub(crate) out: Option<PathBuf>,
    /// Shows a training of this task that runs in another terminal, until it ends
    #[arg(long)]
    pub(crate) watch: bool,
    /// What an encoder student looks at
    #[arg(long, value_enum, default_value_t = StudentFeatures::Joined)]
    pub(crate) features: StudentFeatures,
    /// What an encoder computes in
    #[arg(long, value_enum, default_value_t = EncoderPrecision::Int8)]
    pub(crate) precision: EncoderPrecision,
    /// Seed of all that is left to chance
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) tune: TuneArgs,
    #[command(flatten)]
    pub(crate) decoder: DecoderArgs,
}

/// `bantam train export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TrainExportArgs {
    /// The student
    pub(crate) student: PathBuf,
    /// The form
    #[arg(long, value_enum)]
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

/// The forms of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportForm {
    /// The adapter as peft loads it
    Peft,
    /// The adapter, or a model without a base, as llama.cpp loads it
    Gguf,
    /// The base with the changes in its weights
    Merged,
    /// The same training as axolotl runs it: a configuration and the rows as conversations
    Axolotl,
    /// The same training as trl runs it: a script and the rows as conversations
    Trl,
}

impl TrainTaskArgs {
    /// Returns what `bantam student train` would be told, for a student of `kind` written to `out`.
    pub(crate) fn as_train(&self, kind: StudentKind, out: PathBuf) -> TrainArgs {
        TrainArgs {
            kind,
            base: self.base.clone(),
            features: self.features,
            precision: self.precision,
            data: self.data.clone(),
            task: self.task.clone().filter(|_| self.data.is_none()),
            out: Some(out),
            out_of_scope_label: "oos".to_owned(),
            seed: self.seed,
            tune: self.tune.clone(),
            decoder: self.decoder.clone(),
        }
    }
}
