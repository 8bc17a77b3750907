//! Students: trained and certified as jobs, shown, asked, exported.

mod certify;
mod export;
mod predict;
mod show;
mod train;

pub use certify::{CertifyTaskError, TaskCertification, TaskEvidence, certify_task, claim};
pub use export::{ExportStudentError, export_student};
pub use predict::{PredictRowsError, PredictedField, PredictedRow, predict_rows};
pub use show::{ShowStudentError, StudentDetails, show_student};
pub use train::{TrainingRows, task_facts, train_student};
