//! The configuration's file, with what the command line and the environment add to it.

use std::path::{Path, PathBuf};

use bantam_config::{Config, ConfigErrors, Env, Files, Override, Purpose, Source};

/// Where the configuration is read from, and everything around it that sets or resolves a setting.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// The file; absolute.
    pub path: PathBuf,
    /// What the command line sets.
    pub overrides: Vec<Override>,
    /// The folder for what Bantam writes by itself, such as the ledger.
    pub state_folder: PathBuf,
    /// The folder for what users bring, such as models.
    pub data_folder: PathBuf,
    /// Names of the environment variables that are set.
    pub variable_names: Vec<String>,
}

/// Why the configuration's file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the configuration {}", .path.display())]
pub struct ReadConfigError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

/// The files of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

impl ConfigFile {
    /// Returns the file's text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self) -> Result<String, ReadConfigError> {
        std::fs::read_to_string(&self.path)
            .map_err(|source| ReadConfigError { path: self.path.clone(), source })
    }

    /// Returns what `text` means in the place of the file's own.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn parse(
        &self,
        text: &str,
        purpose: Purpose,
        env: &dyn Env,
        files: &dyn Files,
    ) -> Result<Config, ConfigErrors> {
        let name = self.path.display().to_string();
        let source = Source {
            name: &name,
            text,
            folder: self.path.parent().unwrap_or(Path::new("/")),
            state_folder: &self.state_folder,
            data_folder: &self.data_folder,
            overrides: &self.overrides,
            variable_names: &self.variable_names,
            purpose,
        };
        bantam_config::load(&source, env, files)
    }
}
