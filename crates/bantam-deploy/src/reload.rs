//! A configuration that changes while it is served: when a change is taken over, and when it is refused.
//!
//! Files change at any moment, also while they are read, and some are written in place, so that a reader meets their
//! beginning. A change is taken over only if
//!
//! 1. two looks in a row find all files the same, so that nobody is writing just then;
//! 2. the configuration did not lose its end, or anything that protects data ([`bantam_config::Config::losses`]),
//!    unless somebody confirmed just that text;
//! 3. everything that it names can be used;
//! 4. no file changed while it was read.
//!
//! Anything else leaves the old deployment in force. A refused change is tried again as soon as any file changes that
//! it was read from, or that it missed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bantam_config::{Config, ConfigErrors, Env, Loss, Purpose};
use bantam_gateway::Deployment;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::build::{Built, Inputs, build_deployment};
use crate::config_file::{ConfigFile, ReadConfigError};
use crate::error::DeployError;
use crate::files::{FileState, FilesRead, NotedFiles};
use crate::memory::ModelMemory;

type States = BTreeMap<PathBuf, FileState>;

/// Who knows which shortened configurations somebody meant.
pub trait Confirmations: Send + Sync {
    /// Returns whether somebody confirmed that the configuration with this SHA-256, in hex, is whole.
    fn is_confirmed(&self, sha256: &str) -> bool;

    /// Returns the file that changes when somebody confirms something.
    fn file(&self) -> PathBuf;
}

/// Where a deployment comes from.
#[derive(Clone)]
pub struct DeploymentSource {
    /// The configuration.
    pub file: ConfigFile,
    /// The environment.
    pub env: Arc<dyn Env + Send + Sync>,
    /// Which shortened configurations are meant.
    pub confirmations: Arc<dyn Confirmations>,
}

/// Why a configuration was not taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadConfigError),
    /// It has mistakes.
    #[error(transparent)]
    Mistakes(#[from] ConfigErrors),
    /// It may be half written.
    #[error("the changed configuration has lost {}, and may be half written", listed(.0))]
    Losses(Vec<Loss>),
    /// Something that it names cannot be used.
    #[error(transparent)]
    Deploy(#[from] DeployError),
}

fn listed(losses: &[Loss]) -> String {
    losses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A deployment that is ready to be served.
pub struct Loaded {
    /// The configuration that it was built from.
    pub config: Config,
    /// The deployment.
    pub built: Built,
}

/// What a look at the files came to.
pub enum Reload {
    /// Nothing changed.
    Unchanged,
    /// Something changed, and is looked at once more before it is read.
    Settling,
    /// A changed deployment is to be served from now on.
    Loaded(Box<Loaded>),
    /// A change was refused; what was served before stays.
    Refused(Box<Refusal>),
}

/// A configuration that was read, and whose deployment is still to be built.
pub struct ReadConfig {
    /// The configuration.
    pub config: Config,
    source: DeploymentSource,
    files: FilesRead,
}

/// Watches all files of a deployment.
pub struct Reloader {
    source: DeploymentSource,
    memory: Arc<ModelMemory>,
    serving: Config,
    /// The files of the deployment in force.
    served: BTreeSet<PathBuf>,
    /// All files that are watched, as they were before they were last read.
    seen: States,
    /// The files as the last look found them, where they had changed.
    changed: Option<States>,
    /// The SHA-256 of a text that is meant, whatever it lost.
    confirmed: Option<String>,
    /// Whether to read everything again although nothing changed.
    is_asked: bool,
}

impl DeploymentSource {
    /// Reads the configuration.
    ///
    /// # Errors
    /// When it cannot be read, or has mistakes.
    pub fn read(self) -> Result<ReadConfig, Refusal> {
        let files = FilesRead::begin(SystemTime::now());
        let (_, config) = self.parse(&files)?;
        Ok(ReadConfig { config, source: self, files })
    }

    /// Returns the configuration and its text.
    fn parse(&self, files: &FilesRead) -> Result<(String, Config), Refusal> {
        files.before(&self.file.path);
        let text = self.file.read()?;
        let config = self.file.parse(&text, Purpose::Serve, &*self.env, &NotedFiles(files))?;
        Ok((text, config))
    }
}

impl ReadConfig {
    /// Builds the deployment, and returns what watches its files from now on.
    ///
    /// # Errors
    /// When something that the configuration names cannot be used.
    pub fn build(self) -> Result<(Loaded, Reloader), DeployError> {
        let Self { config, source, files } = self;
        let memory = Arc::new(ModelMemory::new(&config));
        let inputs =
            Inputs { config: &config, env: &*source.env, previous: None, memory: &memory, files: &files };
        let built = build_deployment(inputs)?;
        let seen = files.states();
        let reloader = Reloader {
            source,
            memory,
            serving: config.clone(),
            served: seen.keys().cloned().collect(),
            seen,
            changed: None,
            confirmed: None,
            is_asked: false,
        };
        Ok((Loaded { config, built }, reloader))
    }
}

impl Reloader {
    /// Returns the configuration in force.
    pub const fn serving(&self) -> &Config {
        &self.serving
    }

    /// Returns what is loaded, and stays so over reloads.
    pub const fn memory(&self) -> &Arc<ModelMemory> {
        &self.memory
    }

    /// Returns the files that are watched.
    pub fn watched(&self) -> impl Iterator<Item = &PathBuf> {
        self.seen.keys()
    }

    /// Reads everything again at the next looks, and takes the configuration for whole as it is now.
    pub fn confirm(&mut self) {
        self.is_asked = true;
        self.confirmed = self.source.file.read().ok().map(|text| config_sha256(&text));
    }

    /// Looks at all files; to be called now and then, from a thread that may wait. `previous` is what is served.
    pub fn look(&mut self, previous: &Deployment) -> Reload {
        let now = SystemTime::now();
        let current: States = self
            .seen
            .iter()
            .map(|(path, known)| (path.clone(), FileState::look(path, Some(known), now)))
            .collect();
        if current == self.seen && !self.is_asked {
            self.changed = None;
            return Reload::Unchanged;
        }
        if self.changed.as_ref() != Some(&current) {
            self.changed = Some(current);
            return Reload::Settling;
        }
        self.changed = None;
        self.read(previous, current, now)
    }

    fn read(&mut self, previous: &Deployment, current: States, now: SystemTime) -> Reload {
        let files = FilesRead::begin(now);
        let loaded = self.load(previous, &files);
        let read = files.states();
        let now = SystemTime::now();
        if read.iter().any(|(path, state)| FileState::look(path, Some(state), now) != *state) {
            // What was read may be half of one version and half of another.
            return Reload::Settling;
        }
        self.is_asked = false;
        match loaded {
            Ok(loaded) => {
                self.served = read.keys().cloned().collect();
                self.seen = read;
                self.serving = loaded.config.clone();
                Reload::Loaded(Box::new(loaded))
            }
            Err(refusal) => {
                let served = current.into_iter().filter(|(path, _)| self.served.contains(path));
                self.seen = served.chain(read).collect();
                Reload::Refused(Box::new(refusal))
            }
        }
    }

    fn load(&self, previous: &Deployment, files: &FilesRead) -> Result<Loaded, Refusal> {
        let (text, config) = self.source.parse(files)?;
        self.check(&config, &text, files)?;
        let (env, memory, previous) = (&*self.source.env, &*self.memory, Some(previous));
        let built = build_deployment(Inputs { config: &config, env, previous, memory, files })?;
        Ok(Loaded { config, built })
    }

    /// Refuses a configuration that may be half written.
    fn check(&self, changed: &Config, text: &str, files: &FilesRead) -> Result<(), Refusal> {
        let losses = self.serving.losses(changed, text);
        if losses.is_empty() {
            return Ok(());
        }
        files.before(&self.source.confirmations.file());
        let sha256 = config_sha256(text);
        let is_meant =
            self.confirmed.as_ref() == Some(&sha256) || self.source.confirmations.is_confirmed(&sha256);
        // Nobody means an empty file, and whoever truncates one confirms nothing.
        if is_meant && !losses.contains(&Loss::Everything) { Ok(()) } else { Err(Refusal::Losses(losses)) }
    }
}

/// Returns the SHA-256 of a configuration's text, in hex, by which [`Confirmations`] know it.
pub fn config_sha256(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text))
}
