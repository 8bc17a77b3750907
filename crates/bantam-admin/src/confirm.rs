//! Shortened configurations that somebody meant.
//!
//! A running gateway does not take over a configuration that lost its end, since it may be half written
//! ([`bantam_deploy::Reloader`]). Whoever meant it says so here: for one file, and for just the text that it has now.

use std::io;
use std::path::{Path, PathBuf};

use bantam_deploy::{Confirmations, config_sha256};
use bantam_jobs::{create_private_folder, write_private_file};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const VERSION: u32 = 1;

/// Where confirmations of one configuration file are kept.
#[derive(Clone, Debug)]
pub struct ConfirmedConfigs {
    file: PathBuf,
    config: PathBuf,
}

/// Why a configuration was not confirmed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the confirmation {}", .path.display())]
pub struct ConfirmConfigError {
    /// Where it was to be written.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    version: u32,
    /// The configuration file.
    config: PathBuf,
    /// The SHA-256 of its text.
    sha256: String,
    /// When it was confirmed, in RFC 3339.
    confirmed_at: String,
}

impl ConfirmedConfigs {
    /// Returns the confirmations of the configuration file `config`, kept in a folder below `state_folder`.
    pub fn new(state_folder: &Path, config: &Path) -> Self {
        let name = HEXLOWER.encode(&Sha256::digest(config.as_os_str().as_encoded_bytes()));
        let name = format!("{}.json", name.get(..16).unwrap_or(&name));
        Self { file: state_folder.join("confirmed").join(name), config: config.to_owned() }
    }

    /// Confirms that the configuration is meant as `text` has it.
    ///
    /// # Errors
    /// When the confirmation cannot be written.
    pub fn confirm(&self, text: &str) -> Result<(), ConfirmConfigError> {
        let confirmation = Confirmation {
            version: VERSION,
            config: self.config.clone(),
            sha256: config_sha256(text),
            confirmed_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        let write = || {
            self.file.parent().map_or(Ok(()), create_private_folder)?;
            let mut json = serde_json::to_vec_pretty(&confirmation)?;
            json.push(b'\n');
            write_private_file(&self.file, &json, true)
        };
        write().map_err(|source| ConfirmConfigError { path: self.file.clone(), source })
    }
}

impl Confirmations for ConfirmedConfigs {
    fn is_confirmed(&self, sha256: &str) -> bool {
        let Ok(json) = std::fs::read(&self.file) else { return false };
        let Ok(confirmation) = serde_json::from_slice::<Confirmation>(&json) else { return false };
        confirmation.version == VERSION && confirmation.config == self.config && confirmation.sha256 == sha256
    }

    fn file(&self) -> PathBuf {
        self.file.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_that_was_confirmed_is_confirmed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let of = |config: &str| ConfirmedConfigs::new(&folder.path().join("state"), Path::new(config));
        let (one, other) = (of("/etc/one.toml"), of("/etc/other.toml"));
        let hash = |text: &str| config_sha256(text);
        assert!(!one.is_confirmed(&hash("a = 1")));
        one.confirm("a = 1").unwrap();
        assert!(one.is_confirmed(&hash("a = 1")) && !one.is_confirmed(&hash("a = 2")));
        assert!(!other.is_confirmed(&hash("a = 1")));
        let mode = std::fs::metadata(one.file()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }
}
