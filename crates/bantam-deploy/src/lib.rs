//! From a configuration and its artefacts to what the gateway serves.
//!
//! [`build_deployment`] takes a validated [`Config`](bantam_config::Config) and opens everything that it names:
//! upstreams, language models and encoders in this process, adapters, students, schemas, grammars and certificates. What
//! it finds odd but usable comes back as [`DeployWarning`]s; what cannot be used is a [`DeployError`] that names the
//! task, model or file, and says in terms of settings what to do. Nothing is printed here.
//!
//! [`Reloader`] does the same again when a file changes, and takes over only what is whole: it waits until a file reads
//! the same twice, discards what changed while it was read, and refuses a configuration that lost its end.
//!
//! **Invariant:** every file that a deployment was built from is in [`FilesRead`], as it was *before* it was read.
//!
//! **Invariant:** models stay in [`ModelMemory`] over reloads; a file that did not change is not opened again.

mod build;
mod certificates;
mod config_file;
mod decoders;
mod encoders;
mod error;
mod files;
mod forms;
mod identity;
mod local;
mod machine;
mod memory;
mod reload;
mod served;
mod students;
mod upstreams;
mod warning;
mod wire;

pub use build::{Built, Inputs, admission, build_deployment, instructions, local_models};
pub use certificates::{CertificateState, VoidReason, certificate_path, certificate_state};
pub use config_file::{ConfigFile, Disk, ReadConfigError};
pub use decoders::{decoder_hash, open_decoder, read_decoder, task_decoder};
pub use error::{DeployError, DeployFault, ModelError, ModelErrorKind, StudentError, UpstreamError};
pub use files::{FileState, FilesRead};
pub use forms::{FormError, read_schema, read_schema_unchecked, read_shape};
pub use local::LocalModels;
pub use memory::ModelMemory;
pub use reload::{
    Confirmations, DeploymentSource, Loaded, ReadConfig, Refusal, Reload, Reloader, config_sha256,
};
pub use served::{ServedModel, ServedModels, preloads};
pub use students::{
    ModelAccess, TaskStudent, check_writer, load_student, load_tagger, student_model, task_student,
};
pub use upstreams::build_upstreams;
pub use warning::DeployWarning;
