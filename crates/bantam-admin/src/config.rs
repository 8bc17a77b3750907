//! The configuration: its settings, and whether it can be served.

use std::time::SystemTime;

use bantam_config::{Config, Env};
use bantam_deploy::{DeployError, DeployWarning, FilesRead, Inputs, ModelMemory, build_deployment};
use serde::Serialize;

/// One effective setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigSetting {
    /// The key's path, quoted where TOML wants quotes.
    pub key: String,
    /// The value in TOML, on one line.
    pub value: String,
    /// Where it comes from.
    pub origin: String,
}

/// Returns every effective setting.
pub fn config_settings(config: &Config) -> Vec<ConfigSetting> {
    let settings = config.settings().iter();
    settings
        .map(|setting| ConfigSetting {
            key: setting.key.clone(),
            value: setting.value.clone(),
            origin: setting.origin.to_string(),
        })
        .collect()
}

/// A configuration that can be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckedConfig {
    /// Always true: what cannot be served is an error.
    pub ok: bool,
    /// How many models it has.
    pub models: usize,
    /// How many tasks it has.
    pub tasks: usize,
    /// How many things are odd about it.
    pub warnings: usize,
}

/// Opens everything that a configuration names, as serving would, and closes it again.
///
/// # Errors
/// When something cannot be used.
pub fn check_config(
    config: &Config,
    env: &dyn Env,
) -> Result<(CheckedConfig, Vec<DeployWarning>), DeployError> {
    let (memory, files) = (ModelMemory::new(config), FilesRead::begin(SystemTime::now()));
    let built = build_deployment(Inputs { config, env, previous: None, memory: &memory, files: &files })?;
    let checked = CheckedConfig {
        ok: true,
        models: config.models.len(),
        tasks: config.tasks.len(),
        warnings: config.warnings.len() + built.warnings.len(),
    };
    Ok((checked, built.warnings))
}
