//! Configuration at the edge: the one place that reads the environment and finds files.

use std::path::{Path, PathBuf};

use bantam_config::{Config, Env, Files, Override, Source};

use crate::cli::GlobalArgs;
use crate::environment::{self, Variable};
use crate::failure::{Failure, Outcome};
use crate::output;

/// Flags that every command takes, with the folders they lead to.
#[derive(Clone, Debug)]
pub(crate) struct Globals {
    /// Whether machines read the output.
    pub(crate) json: bool,
    /// Whether to leave out everything but results.
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

/// Which files are taken to be there.
#[derive(Clone, Copy)]
enum Disk {
    /// Those that are.
    AsItIs,
    /// Students too, which are about to be trained.
    WithStudents,
}

impl Files for Disk {
    fn exists(&self, path: &Path) -> bool {
        let is_student = || path.extension().is_some_and(|extension| extension == "student");
        path.exists() || (matches!(self, Self::WithStudents) && is_student())
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where the environment is read")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns the folder that a variable names, or else `fallback` in the home folder.
#[expect(clippy::disallowed_methods, reason = "this is the edge where the environment is read")]
fn folder(variable: Variable, fallback: &str) -> PathBuf {
    match std::env::var_os(variable.name).filter(|value| !value.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => {
            let home = std::env::var_os(environment::HOME.name).unwrap_or_else(|| ".".into());
            PathBuf::from(home).join(fallback)
        }
    }
}

/// Returns the folder of the hub's own tools.
fn hub_folder() -> PathBuf {
    let default = || folder(environment::XDG_CACHE_HOME, ".cache").join("huggingface");
    variable(environment::HF_HOME.name).map_or_else(default, PathBuf::from)
}

impl Globals {
    pub(crate) fn new(args: GlobalArgs) -> Self {
        Self { json: args.json, quiet: args.quiet, offline: args.offline, config: args.config, set: args.set }
    }

    /// Returns these globals with another configuration file and no overrides.
    pub(crate) fn with_config(&self, path: PathBuf) -> Self {
        Self { config: Some(path), set: Vec::new(), ..self.clone() }
    }

    /// Returns these globals without anything but results on the terminal.
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

    /// Reads and validates the configuration; warnings go to standard error.
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        self.load_with(Disk::AsItIs)
    }

    /// Reads the configuration for a command that makes a student: one that is named and not there yet is no mistake.
    pub(crate) fn load_before_training(&self) -> Result<Config, Failure> {
        self.quietly().load_with(Disk::WithStudents)
    }

    fn load_with(&self, disk: Disk) -> Result<Config, Failure> {
        let path = self.config_path();
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let failure =
                Failure::from_error(format!("cannot read the configuration {}", path.display()), &error);
            let hint = format!("write one: bantam config example > {}", path.display());
            failure.hint(hint).outcome(Outcome::Usage)
        })?;
        let config = self.parse_with(&path, &text, disk)?;
        if !self.quiet {
            config.warnings.iter().for_each(|warning| output::note(warning.to_string()));
        }
        Ok(config)
    }

    /// Reads the configuration, or the defaults where there is no file and none was named: models need none.
    pub(crate) fn load_or_default(&self) -> Result<Config, Failure> {
        let path = self.config_path();
        match self.config.is_none() && !path.exists() {
            true => self.parse(&path, ""),
            false => self.quietly().load(),
        }
    }

    /// Returns the token that the hub's own tools have left, if there is one.
    pub(crate) fn hub_token_file(&self) -> Option<String> {
        let named = variable(environment::HF_TOKEN_PATH.name).map(PathBuf::from);
        let path = named.unwrap_or_else(|| hub_folder().join("token"));
        std::fs::read_to_string(path).ok().filter(|token| !token.trim().is_empty())
    }

    /// Validates `text` as if it stood in `path`.
    pub(crate) fn parse(&self, path: &Path, text: &str) -> Result<Config, Failure> {
        self.parse_with(path, text, Disk::AsItIs)
    }

    fn parse_with(&self, path: &Path, text: &str, disk: Disk) -> Result<Config, Failure> {
        let overrides = self.overrides()?;
        let names: Vec<String> = std::env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| name != environment::BANTAM_CONFIG.name)
            .collect();
        let state = folder(environment::XDG_STATE_HOME, ".local/state").join("bantam");
        let data = folder(environment::XDG_DATA_HOME, ".local/share").join("bantam");
        let name = path.display().to_string();
        let source = Source {
            name: &name,
            text,
            folder: path.parent().unwrap_or(Path::new("/")),
            state_folder: &state,
            data_folder: &data,
            overrides: &overrides,
            variable_names: &names,
        };
        bantam_config::load(&source, &ProcessEnv, &disk)
            .map_err(|errors| Failure::new(Outcome::Usage, errors.to_string()))
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
