//! What people and programs do with a Bantam: its models, its students, its machine, its engines, its configuration.
//!
//! Each use case is a function with plain inputs and a typed result. The results derive serde and are wire contracts:
//! the command line's `--json` prints them, its tables are made from them, and an HTTP API sends the same. Their shapes
//! are held by snapshots in this crate's tests. Long work runs as a [job](bantam_jobs): it reports progress to a
//! [`JobContext`](bantam_jobs::JobContext) and stops where it is cancelled.
//!
//! Nothing here prints, reads the environment, or knows a flag. Errors say what to do in terms of settings and names; a
//! front end may say it in its own words.
//!
//! A good contribution adds one use case: a module with its result, its error and its function.

mod config;
mod confirm;
mod doctor;
mod engines;
mod error;
mod hub;
mod models;
mod progress;
mod running;
mod specs;
mod standing;
mod students;
mod talk;
mod tasks;
mod text;
mod upstreams;
mod usage;

pub use config::{CheckedConfig, ConfigSetting, check_config, config_settings};
pub use confirm::{ConfirmConfigError, ConfirmedConfigs};
pub use doctor::{DoctorReport, FitEstimate, SpeedEstimate, examine};
pub use engines::{EngineFeature, EngineReport, EnginesReport, UnansweredAddress, find_engines};
pub use error::UseCaseError;
pub use hub::{EnvironmentVariable, HUB_VARIABLES, hub_settings};
pub use models::{
    AddModelError, AddedModel, DamagedModel, ExportModelsError, ExportedBundle, FindModelError, FoundModel,
    ListModelsError, MeasureModelError, ModelDetails, ModelList, ModelSummary, PullModelError, RemovedModel,
    RemovedModels, copy_model, export_models, find_model, import_model, list_models, locate_model,
    measure_model, model_name, pull_model, quantise_model, remove_models, show_model, stored_model,
};
pub use running::{GatewayClient, GatewayError, LoadedModel, Unloaded};
pub use specs::{certify_job, export_job, import_job, pull_job, quantise_job, train_job};
pub use standing::{StudentStanding, student_standings};
pub use students::{
    CertifyTaskError, ExportStudentError, PredictRowsError, PredictedField, PredictedRow, ShowStudentError,
    StudentDetails, TaskCertification, TaskEvidence, TrainingRows, certify_task, claim, export_student,
    predict_rows, show_student, task_facts, train_student,
};
pub use talk::{Conversation, TalkCommand, TalkError, TalkSettings, TalkTokens, TalkTurn, TurnBaseline};
pub use tasks::{ListedTask, TaskList, list_tasks};
pub use text::{
    age_text, bytes_text, dollars_text, milliseconds_text, parameters_text, printable, read_parameters,
    shell_word, table,
};
pub use upstreams::{UpstreamCheck, check_upstreams};
pub use usage::{ParseDayError, SavingsFigures, UsageFigures, UsageReport, UsageRows, day_start, usage};
