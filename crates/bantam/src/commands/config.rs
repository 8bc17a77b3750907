//! `bantam config`: what is in force, and whether the file is good.

use bantam_admin::CheckedConfig;

use crate::cli::ConfigCommand;
use crate::failure::Failure;
use crate::output;
use crate::settings::{Globals, ProcessEnv};

pub(crate) fn run(command: &ConfigCommand, globals: &Globals) -> Result<(), Failure> {
    let shown = globals.config_path();
    match command {
        ConfigCommand::Example => output::line(bantam_config::EXAMPLE.trim_end()),
        ConfigCommand::Show { origin } => {
            let config = globals.load()?;
            if globals.json {
                return output::json(&bantam_admin::config_settings(&config));
            }
            output::line(config.render(*origin).trim_end());
        }
        ConfigCommand::Check => {
            let (_, checked) = check(globals)?;
            if globals.json {
                return output::json(&checked);
            }
            let (models, tasks) = (checked.models, checked.tasks);
            output::line(format!("{} is good: {models} models, {tasks} tasks", shown.display()));
        }
        ConfigCommand::Apply => {
            let (text, checked) = check(globals)?;
            let confirmed = globals.confirmed().confirm(&text);
            confirmed.map_err(|error| Failure::from_error("cannot confirm the configuration", &error))?;
            if globals.json {
                return output::json(&checked);
            }
            output::line(format!(
                "{} is confirmed as it is: a running gateway takes it over in a moment",
                shown.display()
            ));
        }
    }
    Ok(())
}

/// Checks what `serve` would check before it opens a port: the file, and everything it leads to.
fn check(globals: &Globals) -> Result<(String, CheckedConfig), Failure> {
    let (text, config) = globals.load_to_serve()?;
    let (checked, warnings) = bantam_admin::check_config(&config, &ProcessEnv)?;
    globals.warn_of(&warnings);
    Ok((text, checked))
}
