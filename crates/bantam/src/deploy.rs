//! Artefacts as commands open them: `bantam-deploy`, with failures of commands.

use std::time::SystemTime;

use bantam_config::{Config, Env};
use bantam_gateway::{AdmissionLimits, Deployment};
use bantam_student::{Bases, LoadStudentError, LoadStudentErrorKind};
use bantam_types::TaskName;

use crate::failure::{Failure, Outcome};
use crate::hints;
use crate::settings::{Globals, ProcessEnv};

pub(crate) use bantam_deploy::{
    LocalModels, ModelAccess as Here, ModelMemory as Memory, certificate_path, decoder_hash, instructions,
    load_student, load_tagger as tagger, open_decoder, read_decoder, read_schema, student_model as decoder,
    task_decoder,
};

/// Builds everything that `config` names, for a command that serves nobody.
pub(crate) fn deployment(
    config: &Config,
    env: &dyn Env,
    previous: Option<&Deployment>,
    memory: &Memory,
) -> Result<(Deployment, LocalModels), Failure> {
    let files = bantam_deploy::FilesRead::begin(SystemTime::now());
    let inputs = bantam_deploy::Inputs { config, env, previous, memory, files: &files };
    let built = bantam_deploy::build_deployment(inputs)?;
    Ok((built.deployment, built.models))
}

/// Builds everything that `config` names, and tells what is odd about it.
pub(crate) fn deployment_aloud(config: &Config, globals: &Globals) -> Result<Deployment, Failure> {
    let (memory, files) = (Memory::new(config), bantam_deploy::FilesRead::begin(SystemTime::now()));
    let inputs =
        bantam_deploy::Inputs { config, env: &ProcessEnv, previous: None, memory: &memory, files: &files };
    let built = bantam_deploy::build_deployment(inputs)?;
    globals.warn_of(&built.warnings);
    Ok(built.deployment)
}

/// Checks that a task whose answers are written does not name a student that cannot write.
pub(crate) fn check_writer(
    _name: &TaskName,
    task: &bantam_config::Task,
    path: &std::path::Path,
) -> Result<(), Failure> {
    Ok(bantam_deploy::check_writer(task, path)?)
}

/// Says why a student cannot be used, and what to do.
pub(crate) fn unusable(error: &LoadStudentError) -> Failure {
    let outcome = match error.kind {
        LoadStudentErrorKind::OtherKind { .. } => Outcome::Failed,
        _ => Outcome::ModelMissing,
    };
    let hint = hints::for_student_file(&error.kind);
    Failure::from_error("cannot use the student", error).outcome(outcome).hint(hint)
}

/// Returns a place for the bases of encoder students, which compute on this many threads; 0 is one a core.
pub(crate) fn bases(threads: usize) -> Bases {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Bases::new(if threads == 0 { cores } else { threads })
}

/// Returns the limits of admission.
pub(crate) fn admission(config: &Config) -> AdmissionLimits {
    AdmissionLimits {
        running_max: config.server.concurrent_requests_max,
        waiting_max: config.server.queue_requests_max,
    }
}

/// Returns random bits that keep this process's request ids apart from others'.
pub(crate) fn id_seed() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| Failure::from_error("cannot get random bytes", &error))
}
