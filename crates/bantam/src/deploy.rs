//! Artefacts as commands open them: `bantam-deploy`, with failures of commands.

use std::time::SystemTime;

use bantam_config::Config;
use bantam_gateway::Deployment;
use bantam_student::Bases;

use crate::failure::Failure;
use crate::settings::{Globals, ProcessEnv};

pub(crate) use bantam_deploy::{LocalModels, ModelMemory as Memory, admission};

/// Builds everything that `config` names, and tells what is odd about it.
pub(crate) fn deployment_aloud(config: &Config, globals: &Globals) -> Result<Deployment, Failure> {
    let (memory, files) = (Memory::new(config), bantam_deploy::FilesRead::begin(SystemTime::now()));
    let inputs =
        bantam_deploy::Inputs { config, env: &ProcessEnv, previous: None, memory: &memory, files: &files };
    let built = bantam_deploy::build_deployment(inputs)?;
    globals.warn_of(&built.warnings);
    Ok(built.deployment)
}

/// Returns a place for the bases of encoder students, which compute on this many threads; 0 is one a core.
pub(crate) fn bases(threads: usize) -> Bases {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Bases::new(if threads == 0 { cores } else { threads })
}

/// Returns random bits that keep this process's request ids apart from others'.
pub(crate) fn id_seed() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| Failure::from_error("cannot get random bytes", &error))
}
