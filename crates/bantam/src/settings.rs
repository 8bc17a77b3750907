//! Configuration at the edge: the one place that reads the environment and finds files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_admin::{ConfirmedConfigs, EnvironmentVariable};
use bantam_config::{Config, Env, Override, Purpose};
use bantam_deploy::{ConfigFile, DeployWarning, DeploymentSource, Disk};
use bantam_jobs::{Jobs, JobsSettings};

use crate::cli::GlobalArgs;
use crate::environment;
use crate::failure::{Failure, Outcome};
use crate::{hints, output};

/// Flags that every command takes, with the folders they lead to.
#[derive(Clone, Debug)]
pub(crate) struct Globals {
    /// Whether machines read the output.
    pub(crate) json: bool,
    /// Whether to leave out everything but results and errors.
    pub(crate) quiet: bool,
    /// Whether the network may not be used.
    pub(crate) offline: bool,
    config: Option<PathBuf>,
    set: Vec<String>,
}

/// The process's environment.
pub(crate) struct ProcessEnv;

impl Env for ProcessEnv {
    fn get(&self, name: &str) -> Option<String> {
        variable(name)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where the environment is read")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns the folder that a variable names, or else `fallback` in the home folder.
#[expect(clippy::disallowed_methods, reason = "this is the edge where the environment is read")]
fn folder(variable: EnvironmentVariable, fallback: &str) -> PathBuf {
    match std::env::var_os(variable.name).filter(|value| !value.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => {
            let home = std::env::var_os(environment::HOME.name).unwrap_or_else(|| ".".into());
            PathBuf::from(home).join(fallback)
        }
    }
}

/// Returns the folder for what Bantam writes by itself.
fn state_folder() -> PathBuf {
    folder(environment::XDG_STATE_HOME, ".local/state").join("bantam")
}

impl Globals {
    pub(crate) fn new(args: GlobalArgs) -> Self {
        Self { json: args.json, quiet: args.quiet, offline: args.offline, config: args.config, set: args.set }
    }

    /// Returns these globals with another configuration file and no overrides.
    pub(crate) fn with_config(&self, path: PathBuf) -> Self {
        Self { config: Some(path), set: Vec::new(), ..self.clone() }
    }

    /// Returns these globals without anything but results and errors on the terminal.
    pub(crate) fn quietly(&self) -> Self {
        Self { quiet: true, ..self.clone() }
    }

    /// Returns where the configuration is read from.
    pub(crate) fn config_path(&self) -> PathBuf {
        let path = self
            .config
            .clone()
            .unwrap_or_else(|| folder(environment::XDG_CONFIG_HOME, ".config").join("bantam/bantam.toml"));
        std::path::absolute(&path).unwrap_or(path)
    }

    /// Reads the configuration to look something up: keys need not be set, and files need not be there.
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        Ok(self.read(Purpose::LookUp)?.1)
    }

    /// Reads the configuration to look something up, and tells its warnings.
    pub(crate) fn load_aloud(&self) -> Result<Config, Failure> {
        let config = self.load()?;
        self.warn(&config);
        Ok(config)
    }

    /// Reads the configuration for serving, and tells its warnings; returns the file's text too.
    pub(crate) fn load_to_serve(&self) -> Result<(String, Config), Failure> {
        let (text, config) = self.read(Purpose::Serve)?;
        self.warn(&config);
        Ok((text, config))
    }

    /// Reads the configuration, or the defaults if there is no file and none was named: models need none.
    pub(crate) fn load_or_default(&self) -> Result<Config, Failure> {
        match self.config.is_none() && !self.config_path().exists() {
            true => self.parse("", Purpose::LookUp),
            false => self.load(),
        }
    }

    fn read(&self, purpose: Purpose) -> Result<(String, Config), Failure> {
        let text = self.file()?.read().map_err(|error| hints::for_missing_config(&error))?;
        let config = self.parse(&text, purpose)?;
        Ok((text, config))
    }

    fn parse(&self, text: &str, purpose: Purpose) -> Result<Config, Failure> {
        let parsed = self.file()?.parse(text, purpose, &ProcessEnv, &Disk);
        parsed.map_err(|errors| Failure::new(Outcome::Usage, errors.to_string()))
    }

    /// Tells what is odd about a configuration.
    pub(crate) fn warn(&self, config: &Config) {
        if !self.quiet {
            config.warnings.iter().for_each(|warning| output::note(warning.to_string()));
        }
    }

    /// Tells what is odd about a deployment.
    pub(crate) fn warn_of(&self, warnings: &[DeployWarning]) {
        if !self.quiet {
            warnings.iter().for_each(|warning| output::note(format!("warning: {warning}")));
        }
    }

    /// Returns the configuration's file with what flags and environment add to it.
    pub(crate) fn file(&self) -> Result<ConfigFile, Failure> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        Ok(ConfigFile {
            path: self.config_path(),
            overrides: self.overrides()?,
            state_folder: state_folder(),
            data_folder: folder(environment::XDG_DATA_HOME, ".local/share").join("bantam"),
            variable_names: names.filter(|name| name != environment::BANTAM_CONFIG.name).collect(),
        })
    }

    /// Returns where a deployment comes from.
    pub(crate) fn deployment_source(&self) -> Result<DeploymentSource, Failure> {
        let confirmations = Arc::new(self.confirmed());
        Ok(DeploymentSource { file: self.file()?, env: Arc::new(ProcessEnv), confirmations })
    }

    /// Returns the shortened configurations that somebody meant.
    pub(crate) fn confirmed(&self) -> ConfirmedConfigs {
        ConfirmedConfigs::new(&state_folder(), &self.config_path())
    }

    /// Opens the jobs of this user.
    pub(crate) fn jobs(&self) -> Result<Jobs, Failure> {
        Jobs::open(JobsSettings::new(state_folder().join("jobs"))).map_err(|error| {
            Failure::from_error("cannot keep track of jobs", &error)
                .hint("XDG_STATE_HOME names the folder, which must be writable")
        })
    }

    fn overrides(&self) -> Result<Vec<Override>, Failure> {
        let parse = |pair: &String| {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                Failure::new(Outcome::Usage, format!("--set {pair} is not KEY=VALUE"))
                    .hint("write it as --set server.bind=127.0.0.1:6000")
            })?;
            Ok(Override { key: key.to_owned(), value: value.to_owned() })
        };
        self.set.iter().map(parse).collect()
    }
}

/// Returns the token that the hub's own tools have left, if there is one.
pub(crate) fn hub_token_file() -> Option<String> {
    let default = || folder(environment::XDG_CACHE_HOME, ".cache").join("huggingface");
    let hub = variable(environment::HF_HOME.name).map_or_else(default, PathBuf::from);
    let path = variable(environment::HF_TOKEN_PATH.name).map_or_else(|| hub.join("token"), PathBuf::from);
    std::fs::read_to_string(Path::new(&path)).ok().filter(|token| !token.trim().is_empty())
}
