//! Pulls a model from the hub into the store.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bantam_engine::{DecoderConfig, EncoderConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::HubSettings;
use super::choose::{ChosenFiles, SelectFilesError, choose};
use super::download::{DownloadSource, download};
use super::exchange::HubRequestError;
use super::listing::{ContentHash, HubFile, Repository, read_listing};
use crate::change::{Added, StagingFolder};
use crate::digest::Digest;
use crate::error::StoreError;
use crate::import::ImportError;
use crate::manifest::{Origin, StoredFile};
use crate::name::ModelName;
use crate::store::Store;

/// The revision of a name without one.
const REVISION: &str = "main";
/// Characters of a file's path that are percent-encoded in its URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Supported architectures of GGUF files.
const ARCHITECTURES: [&str; 5] = ["llama", "qwen2", "qwen3", "gemma3", "phi3"];

/// Progress of a pull.
#[derive(Debug)]
#[non_exhaustive]
pub enum PullEvent<'e> {
    /// The repository has the model, and these files will be downloaded.
    Chosen {
        /// The name that the model will have.
        name: &'e ModelName,
        /// Number of files.
        files: usize,
        /// Their total size in bytes.
        bytes: u64,
        /// Their commit.
        commit: &'e str,
    },
    /// A file's download starts.
    File {
        /// Its path in the repository.
        path: &'e str,
        /// Its length in bytes.
        bytes: u64,
    },
    /// These bytes were already present, from an interrupted attempt or another model.
    Resumed {
        /// Number of bytes.
        bytes: u64,
    },
    /// These bytes were discarded, because the server cannot resume.
    Restarted {
        /// Number of bytes.
        bytes: u64,
    },
    /// These bytes arrived.
    Advanced {
        /// Number of bytes.
        bytes: u64,
    },
    /// A request failed and will be retried.
    Retry {
        /// The failure.
        reason: &'e HubRequestError,
        /// The pause before the retry.
        wait: Duration,
    },
}

/// Why a pull failed. The store is unchanged; the received bytes of a file stay for the next attempt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The name has no owner, so it cannot be on a hub.
    #[error("`{name}` is not a hub model name; expected ORG/REPO")]
    NotOfHub {
        /// The name.
        name: Box<ModelName>,
    },
    /// A request to the hub failed.
    #[error(transparent)]
    Exchange(#[from] HubRequestError),
    /// The repository has no matching model.
    #[error(transparent)]
    Choose(#[from] SelectFilesError),
    /// The architecture is not supported.
    #[error("the architecture `{found}` is not supported")]
    Architecture {
        /// The architecture according to the hub.
        found: String,
    },
    /// Every attempt to download a file failed.
    #[error("download {file} (received {have} bytes so far)")]
    GaveUp {
        /// The file.
        file: String,
        /// Bytes that were received and kept.
        have: u64,
        /// The last failure.
        #[source]
        source: HubRequestError,
    },
    /// A file does not match the hub's hash.
    #[error(
        "{file} does not match the hub's checksum: its hash is {found}, expected {expected}; it was deleted"
    )]
    Hash {
        /// The file.
        file: String,
        /// The hash according to the hub.
        expected: String,
        /// The hash of the download.
        found: String,
    },
    /// A file is longer than announced.
    #[error("{file} is longer than the {expected} bytes that the hub announced; it was deleted")]
    Longer {
        /// The file.
        file: String,
        /// The announced length in bytes.
        expected: u64,
    },
    /// Another process is downloading the same file.
    #[error("another process is downloading {file}")]
    Busy {
        /// The file.
        file: String,
    },
    /// The model did not enter the store.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The store could not be changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PullError {
    /// Returns the next step for the user.
    pub fn hint(&self) -> String {
        let text = match self {
            Self::NotOfHub { name } => return format!("add the owner: ORG/{name}"),
            Self::Exchange(HubRequestError::Refused { .. }) => {
                "accept the licence on the model's page, create an access token, and set HF_TOKEN"
            }
            Self::Exchange(HubRequestError::NotFound { .. }) => {
                "check the name on the hub's page; a private model needs HF_TOKEN"
            }
            Self::Exchange(_) => "check the network, HTTPS_PROXY and HF_ENDPOINT, and pull again",
            Self::GaveUp { .. } => "pull again: the download resumes where it stopped",
            Self::Choose(SelectFilesError::NoSuchTag { .. } | SelectFilesError::Several { .. }) => {
                "choose one of them as the tag: ORG/REPO:TAG"
            }
            Self::Choose(_) => {
                "use a repository with an unsplit GGUF file (Q8_0, Q4_K_M …) or with safetensors"
            }
            Self::Architecture { .. } => {
                "supported are Llama, Mistral, Qwen 2 and 3, Gemma 3 (text) and Phi-3; serve others with another engine"
            }
            Self::Hash { .. } | Self::Longer { .. } => {
                "pull again; if it happens again, do not trust the endpoint or proxy"
            }
            Self::Busy { .. } => "wait for that download, or stop it",
            Self::Import(error) => return error.hint(),
            Self::Store(error) if error.is_full() => {
                "free some space and pull again: the download resumes where it stopped"
            }
            Self::Store(_) => "check that the store's folder is writable",
        };
        text.to_owned()
    }

    /// Returns whether the hub denied access: a licence, token or permission is missing.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Exchange(HubRequestError::Refused { .. }))
    }

    /// Returns whether the hub has no such model.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Exchange(HubRequestError::NotFound { .. }) | Self::Choose(_) | Self::NotOfHub { .. }
        )
    }
}

impl Store {
    /// Pulls a model from the hub: the file that the tag names, or the preferred one, at the name's revision. Every
    /// file is verified against the hub's hash. If the name stood for another version before, it now stands for this
    /// one.
    ///
    /// # Errors
    /// If the model could not be downloaded or cannot run here.
    pub async fn pull(
        &self,
        name: &ModelName,
        settings: &HubSettings,
        report: &mut (dyn FnMut(PullEvent<'_>) + Send),
    ) -> Result<Added, PullError> {
        if !name.is_of_hub() {
            return Err(PullError::NotOfHub { name: Box::new(name.clone()) });
        }
        let revision = name.revision().unwrap_or(REVISION);
        let repository = list_with_retries(settings, name.name(), revision, report).await?;
        let ChosenFiles { tag, mut files } = choose(&repository.files, name.tag())?;
        let name = name.with_tag(&tag).map_err(ImportError::from)?;
        check_architecture(&repository, &files)?;
        let bytes = files.iter().map(|file| file.bytes).sum();
        report(PullEvent::Chosen { name: &name, files: files.len(), bytes, commit: &repository.commit });
        let origin = Origin::Hub {
            repo: name.name().to_owned(),
            revision: revision.to_owned(),
            commit: repository.commit.clone(),
        };
        let wanted = origin.clone();
        let stored = self.blocking({
            let name = name.clone();
            move |store| {
                let stored = store.find(&name)?.filter(|entry| entry.manifest.origin == wanted);
                stored.iter().try_for_each(|entry| store.link_tree(&entry.manifest))?;
                Ok::<_, StoreError>(stored)
            }
        });
        if let Some(entry) = stored.await?? {
            report(PullEvent::Resumed { bytes });
            return Ok(Added { entry, was_there: true, has_replaced: false });
        }
        self.check_room(self.missing_bytes(&files))?;
        // Short files first: an unsupported config.json saves downloading the weights.
        files.sort_by(|one, other| one.bytes.cmp(&other.bytes).then_with(|| one.path.cmp(&other.path)));
        let staging = self.blocking(Self::staging).await??;
        let mut stored = Vec::new();
        for file in &files {
            stored.push(
                self.fetch(&staging, (name.name(), &repository.commit), file, (settings, report)).await?,
            );
            if file.path == "config.json" {
                check_config(&staging)?;
            }
        }
        // Publishing waits for the store's lock, and reads the files once more.
        let publish = move |store: &Self| store.check_and_publish(&staging, stored, &name, origin, true);
        Ok(self.blocking(publish).await??)
    }

    /// Runs work that waits for the disk or a lock on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store))
            .await
            .map_err(|error| StoreError::at("change", self.root())(io::Error::other(error)))
    }

    /// Downloads one file into a staging folder.
    async fn fetch(
        &self,
        staging: &StagingFolder,
        (repo, commit): (&str, &str),
        file: &HubFile,
        (settings, report): (&HubSettings, &mut (dyn FnMut(PullEvent<'_>) + Send)),
    ) -> Result<StoredFile, PullError> {
        report(PullEvent::File { path: &file.path, bytes: file.bytes });
        let target = staging.model().join(&file.path);
        if let Some(digest) = self.stored_digest(file) {
            report(PullEvent::Resumed { bytes: file.bytes });
            crate::files::link(&self.blob(&digest), &target, self.root())
                .map_err(StoreError::at("link", &target))?;
            return Ok(StoredFile { path: file.path.clone(), digest, bytes: file.bytes });
        }
        let endpoint = settings.endpoint.trim_end_matches('/');
        let address =
            format!("{endpoint}/{repo}/resolve/{commit}/{}", utf8_percent_encode(&file.path, ESCAPED));
        let source = DownloadSource { settings, address, file };
        let (path, digest) = download(&source, &self.root().join("partial"), report).await?;
        let take = || {
            target.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::rename(&path, &target)
        };
        take().map_err(StoreError::at("write", &target))?;
        Ok(StoredFile { path: file.path.clone(), digest, bytes: file.bytes })
    }

    /// Returns the digest of a file that the store already has.
    fn stored_digest(&self, file: &HubFile) -> Option<Digest> {
        let ContentHash::Sha256(digest) = &file.hash else { return None };
        let is_there = fs::metadata(self.blob(digest)).is_ok_and(|found| found.len() == file.bytes);
        is_there.then_some(*digest)
    }

    /// Returns how many bytes are still to be downloaded.
    fn missing_bytes(&self, files: &[HubFile]) -> u64 {
        let partial = |file: &HubFile| -> u64 {
            let ContentHash::Sha256(digest) = &file.hash else { return 0 };
            let path: PathBuf = self.root().join("partial").join(format!("sha256-{digest}"));
            fs::metadata(path).map_or(0, |file| file.len())
        };
        let missing = files.iter().filter(|file| self.stored_digest(file).is_none());
        missing.map(|file| file.bytes.saturating_sub(partial(file))).sum()
    }

    /// Returns the total bytes of interrupted downloads.
    pub fn unfinished_bytes(&self) -> u64 {
        let entries = fs::read_dir(self.root().join("partial"));
        entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.metadata().ok())
            .map(|file| file.len())
            .sum()
    }

    /// Deletes interrupted downloads, except those in progress, and returns their bytes.
    pub fn remove_unfinished(&self) -> Result<u64, StoreError> {
        let folder = self.root().join("partial");
        let mut freed = 0;
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_free = fs::File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
            if is_free {
                freed += entry.metadata().map_or(0, |file| file.len());
                fs::remove_file(&path).map_err(StoreError::at("remove", &path))?;
            }
        }
        Ok(freed)
    }
}

/// Requests the listing of a repository, retrying failures that may pass.
async fn list_with_retries(
    settings: &HubSettings,
    repo: &str,
    revision: &str,
    report: &mut (dyn FnMut(PullEvent<'_>) + Send),
) -> Result<Repository, HubRequestError> {
    let mut pause = settings.backoff;
    let mut attempt = 1;
    loop {
        match read_listing(settings, repo, revision).await {
            Err(error) if error.is_passing() && attempt < settings.attempts => {
                let wait = error.retry_after().unwrap_or(pause).min(Duration::from_secs(60));
                report(PullEvent::Retry { reason: &error, wait });
                tokio::time::sleep(wait).await;
                (attempt, pause) = (attempt + 1, pause * 2);
            }
            answer => return answer,
        }
    }
}

/// Refuses an unsupported architecture before gigabytes are downloaded.
fn check_architecture(repository: &Repository, files: &[HubFile]) -> Result<(), PullError> {
    let is_gguf = files.iter().any(|file| file.path.to_ascii_lowercase().ends_with(".gguf"));
    match &repository.architecture {
        Some(found) if is_gguf && !ARCHITECTURES.contains(&&**found) => {
            Err(PullError::Architecture { found: found.chars().take(64).collect() })
        }
        _ => Ok(()),
    }
}

/// Refuses an unsupported configuration before the weights are downloaded.
fn check_config(staging: &StagingFolder) -> Result<(), PullError> {
    let path = staging.model().join("config.json");
    let json = fs::read(&path).map_err(StoreError::at("read", &path))?;
    match (DecoderConfig::from_json(&json), EncoderConfig::from_json(&json)) {
        (Err(_), Err(_)) => {
            let config: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
            let found = config["model_type"].as_str().unwrap_or("?").chars().take(64).collect();
            Err(PullError::Architecture { found })
        }
        _ => Ok(()),
    }
}
