//! Teaches students: from a plan and rows to a student in its place, judged, certified, exported.
//!
//! A caller says what it wants as a [`TrainingRequest`], makes a [`TrainingPlan`] of it, which checks every setting, and
//! calls [`train`] with a file of rows or a task's recorded answers. What happens meanwhile is told as
//! [`TrainingEvent`]s; what comes of it is a student and a [`TrainReport`]. [`certify`] proves from which confidence on a
//! student may answer alone, and [`export`] writes a trained student in the forms that other programs read.
//!
//! The command line, an HTTP API and the demo call the same functions and print the same types. So nothing here prints,
//! parses flags or words a message for one of them: errors and hints name the fields of requests, in backticks.
//!
//! **Invariant:** what serialises is a wire contract. The names of fields and variants do not change; new ones may come.
//!
//! **Invariant:** a student is judged and certified as it is served, and never on rows that it was trained on.

mod certify;
mod decoder_rows;
mod destination;
mod event;
mod export;
mod plan;
mod recorded;
mod records;
mod relative;
mod report;
mod request;
mod runtime;
mod train;
mod watch;

pub use bantam_train::Phase;
pub use certify::{
    Candidate, Certification, CertificationReport, CertifyError, CertifyEvent, CertifyNotice, EvidenceSource,
    FieldScores, RowForm, certify,
};
pub use decoder_rows::{
    DecoderRow, DecoderRowsError, DecoderRowsErrorKind, RowContent, RowTokensError, SplitError,
    read_decoder_rows, rows_of_recorded,
};
pub use destination::{DestinationError, check_file, check_folder};
pub use event::{HeldOutFigures, StepFigures, TrainingEnd, TrainingEvent, TrainingNotice};
pub use export::{ExportError, ExportForm, ExportReport, ExportRequest, ExportSource, ExportedRows, export};
pub use plan::{PlanError, TrainingPlan};
pub use recorded::{Purpose, RESERVED_SHARE};
pub use records::RecordError;
pub use report::{ClassifierTrainReport, DecoderTrainReport, TaggerTrainReport, TrainReport};
pub use request::{BaseTuning, StudentKind, TaskFacts, TrainingRequest};
pub use train::{Surroundings, TrainError, TrainErrorKind, Trained, TrainedStudent, TrainingData, train};
pub use watch::{Progress, WatchError, watch};
