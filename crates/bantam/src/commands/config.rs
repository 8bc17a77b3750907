//! `bantam config`: what is in force, and whether the file is good.

use serde_json::json;

use crate::cli::ConfigCommand;
use crate::failure::Failure;
use crate::output;
use crate::settings::{Globals, ProcessEnv};

pub(crate) fn run(command: &ConfigCommand, globals: &Globals) -> Result<(), Failure> {
    match command {
        ConfigCommand::Example => output::line(bantam_config::EXAMPLE.trim_end()),
        ConfigCommand::Show { origin } => {
            let config = globals.load()?;
            if globals.json {
                let settings = config.settings().iter();
                let settings: Vec<_> = settings
                    .map(|setting| json!({"key": setting.key, "value": setting.value, "origin": setting.origin.to_string()}))
                    .collect();
                output::line(serde_json::Value::from(settings).to_string());
            } else {
                output::line(config.render(*origin).trim_end());
            }
        }
        ConfigCommand::Check => check(globals)?,
    }
    Ok(())
}

/// Checks what `serve` would check before it opens a port: the file, and everything it leads to.
fn check(globals: &Globals) -> Result<(), Failure> {
    let config = globals.load()?;
    crate::deploy::deployment(&config, &ProcessEnv, None, &crate::deploy::Memory::new(&config))?;
    let path = globals.config_path();
    let (models, tasks) = (config.models.len(), config.tasks.len());
    if globals.json {
        output::line(
            json!({"ok": true, "models": models, "tasks": tasks, "warnings": config.warnings.len()})
                .to_string(),
        );
    } else {
        output::line(format!("{} is good: {models} models, {tasks} tasks", path.display()));
    }
    Ok(())
}
