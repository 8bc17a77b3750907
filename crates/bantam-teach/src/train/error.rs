//! Why there is no student.

use std::path::PathBuf;

use bantam_backend::BackendError;
use bantam_local::OpenStudentError;
use bantam_student::encoder::LoadBaseError;
use bantam_student::linear::TrainLinearError;
use bantam_student::tagger::TrainTaggerError;
use bantam_student::{ReadExamplesError, SaveStudentError};
use bantam_train::{
    DecoderExportError, ExportError, LoadDecoderNetworkError, LoadDecoderNetworkErrorKind, ReplayError,
    TeachError, TuneError,
};
use bantam_weights::{TokenizerError, WriteWeightsError};

use crate::decoder_rows::{DecoderRowsError, RowTokensError, SplitError};
use crate::destination::DestinationError;
use crate::records::RecordError;

/// Why a training gave no student.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A place that the training writes to at its end.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// A log, event file or drawing.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A file of rows.
    #[error("cannot use the rows")]
    Rows(#[from] ReadExamplesError),
    /// A decoder's file of rows.
    #[error(transparent)]
    DecoderRows(#[from] DecoderRowsError),
    /// The task's schema, for recorded answers.
    #[error("cannot use the task's schema")]
    Shape(#[from] bantam_extract::ShapeError),
    /// Nothing to learn from.
    #[error("there are no recorded answers to learn from")]
    NoRecordedAnswers,
    /// Rows that cannot be split for a decoder.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// A decoder's row that cannot be written as tokens.
    #[error(transparent)]
    Tokens(#[from] RowTokensError),
    /// Answers and preferences together.
    #[error("some rows are answers and some are preferences")]
    MixedRows,
    /// Preferences without a model that they could change.
    #[error("preferences need a model that already answers")]
    PreferencesWithoutBase,
    /// A label that the task does not have.
    #[error("`{label}` is not one of the task's labels")]
    UnknownLabel {
        /// The label.
        label: String,
    },
    /// Labels that are too few or too many to choose from.
    #[error("the rows have {labels} different labels")]
    Labels {
        /// How many.
        labels: usize,
    },
    /// An encoder that cannot be used.
    #[error("cannot use the base")]
    Base(#[from] LoadBaseError),
    /// A decoder's base that is not there.
    #[error("there is no base at {}", .path.display())]
    NoBase {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A base or a student's weights that cannot be read.
    #[error("cannot read {}", .path.display())]
    ReadFile {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The tokenizer of a decoder's base.
    #[error("cannot read the tokenizer of {}", .path.display())]
    Tokenizer {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: TokenizerError,
    },
    /// A decoder without a base that cannot be begun.
    #[error("cannot begin the decoder")]
    Begin(#[source] LoadDecoderNetworkErrorKind),
    /// A decoder's base that cannot be trained on.
    #[error("cannot train on the base")]
    Network(#[from] LoadDecoderNetworkError),
    /// A base whose chat template cannot be used.
    #[error("cannot use the base's chat template")]
    Template(#[from] bantam_template::TemplateError),
    /// A classifier that cannot be fitted.
    #[error("cannot train the student")]
    Linear(#[from] TrainLinearError),
    /// A tagger that cannot be fitted.
    #[error("cannot train the student")]
    Tagger(#[from] TrainTaggerError),
    /// An encoder that cannot be changed.
    #[error("cannot train the student")]
    Tune(#[from] TuneError),
    /// A decoder that cannot be trained.
    #[error("cannot train the student")]
    Decoder(#[from] TeachError),
    /// The tokens of a decoder without a base.
    #[error("cannot write the tokens")]
    WriteTokens(#[from] WriteWeightsError),
    /// A place that holds something else than a student.
    #[error("the folder {} does not contain a student", .path.display())]
    Occupied {
        /// The place.
        path: PathBuf,
    },
    /// The folder of a decoder that is being made.
    #[error("cannot write beside {}", .path.display())]
    Stage {
        /// Where the student will be.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A student that cannot be written.
    #[error("cannot save the student")]
    Save(#[from] SaveStudentError),
    /// A decoder whose weights cannot be written.
    #[error("cannot write the student")]
    Export(#[from] DecoderExportError),
    /// A decoder that cannot be put in its place.
    #[error("cannot write the student {}", .path.display())]
    Place {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An export that does not answer as the trainer does.
    #[error("the student is not what was trained")]
    Replay(#[from] ReplayError),
    /// A student that cannot be opened to be judged.
    #[error("cannot open the student to judge it")]
    Open(#[from] OpenStudentError),
    /// A student that failed while it was judged.
    #[error("the student gave no answer to held-out row {row}")]
    NoAnswer {
        /// The row, from 1.
        row: usize,
        /// Why.
        #[source]
        source: BackendError,
    },
    /// A runtime that could not be started.
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    /// Changes of an encoder that could not be exported.
    #[error("cannot export the adapter")]
    Peft(#[from] ExportError),
    /// It was asked to stop before it had a state that could be taken up again.
    #[error("training was stopped")]
    Stopped,
}

/// What kind of failure an error is, for exit codes and statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainErrorKind {
    /// What was asked for makes no sense.
    Invalid,
    /// A model that is needed is missing or is not the right one.
    ModelMissing,
    /// It was asked to stop.
    Stopped,
    /// It did not work.
    Failed,
}

impl TrainError {
    /// Returns what kind of failure it is.
    pub const fn kind(&self) -> TrainErrorKind {
        match self {
            Self::Base(_) | Self::NoBase { .. } | Self::Tune(TuneError::Base(_)) => {
                TrainErrorKind::ModelMissing
            }
            Self::PreferencesWithoutBase | Self::Occupied { .. } => TrainErrorKind::Invalid,
            Self::Stopped
            | Self::Linear(TrainLinearError::Stopped)
            | Self::Tagger(TrainTaggerError::Stopped)
            | Self::Decoder(TeachError::Stopped { .. })
            | Self::Tune(TuneError::Stopped { .. }) => TrainErrorKind::Stopped,
            _ => TrainErrorKind::Failed,
        }
    }

    /// Returns what to do about it. Settings stand in backticks, by the names of a request's fields.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Destination(error) => error.hint(),
            Self::Record(error) => error.hint(),
            Self::Split(error) => error.hint(),
            Self::Rows(error) => error.kind.hint().to_owned(),
            Self::DecoderRows(error) => error.kind.hint().to_owned(),
            Self::Tokens(error) => error.kind.hint().to_owned(),
            Self::Base(error) => error.kind.hint().to_owned(),
            Self::Network(error) => error.kind.hint().to_owned(),
            Self::Begin(kind) => kind.hint().to_owned(),
            Self::Linear(error) => error.hint().to_owned(),
            Self::Tagger(error) => error.hint().to_owned(),
            Self::Tune(error) => error.hint().to_owned(),
            Self::Decoder(error) => error.hint().to_owned(),
            Self::Export(error) => error.hint().to_owned(),
            Self::Replay(error) => error.hint().to_owned(),
            other => other.own_hint()?.to_owned(),
        };
        Some(hint)
    }

    /// The hint of a variant that has no error below it that knows one.
    const fn own_hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Shape(_) => "give an object's schema whose properties a text can hold",
            Self::NoRecordedAnswers => "let the task record answers for a while, or train on a file of rows",
            Self::MixedRows => {
                "train on the answers first, then on the preferences, each from a file of its own"
            }
            Self::PreferencesWithoutBase => "give a base as `base`, or train on answers",
            Self::UnknownLabel { .. } => "add it to the task's `labels`, or remove the rows",
            Self::Labels { .. } => "a classifier tells 2 to 4,096 apart",
            Self::NoBase { .. } | Self::Tokenizer { .. } => {
                "give a GGUF file, or a folder with config.json, safetensors and tokenizer.json, as `base`"
            }
            Self::Occupied { .. } => "give a free place as `out`, such as NAME.student",
            Self::Stage { .. } => "give another `out`, in a folder that exists and can be written",
            Self::Place { .. } => {
                "make room on the disk, then train again with `resume`: nothing of the training is lost"
            }
            _ => return None,
        })
    }
}
