//! A model of the hub, into the store.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bantam_engine::{DecoderConfig, EncoderConfig};

use super::HubSettings;
use super::choose::{Choice, ChooseError, choose};
use super::download::{Source, download};
use super::exchange::ExchangeError;
use super::listing::{Check, HubFile, Repository, list};
use crate::change::{Added, Stage};
use crate::digest::Digest;
use crate::error::StoreError;
use crate::import::ImportError;
use crate::manifest::{Origin, StoredFile};
use crate::name::ModelName;
use crate::store::Store;

/// The revision of a name that says none.
const REVISION: &str = "main";
/// Architectures of GGUF files that run here.
const ARCHITECTURES: [&str; 5] = ["llama", "qwen2", "qwen3", "gemma3", "phi3"];

/// What happens while a model comes.
#[derive(Debug)]
#[non_exhaustive]
pub enum PullEvent<'e> {
    /// The hub has it, and this is what comes.
    Chosen {
        /// The name that it will have.
        name: &'e ModelName,
        /// Its files.
        files: usize,
        /// Their bytes.
        bytes: u64,
        /// The commit that they are of.
        commit: &'e str,
    },
    /// A file begins.
    File {
        /// Its path in the repository.
        path: &'e str,
        /// Its length.
        bytes: u64,
    },
    /// Bytes that were there already, from an attempt that broke off or from another model.
    Resumed {
        /// Bytes.
        bytes: u64,
    },
    /// Bytes that were discarded: the server cannot resume.
    Restarted {
        /// Bytes.
        bytes: u64,
    },
    /// Bytes that came.
    Advanced {
        /// Bytes.
        bytes: u64,
    },
    /// Something failed that may pass.
    Retry {
        /// What.
        reason: &'e ExchangeError,
        /// How long until it is tried again.
        wait: Duration,
    },
}

/// Why a model did not come. The store is as it was; what has come of a file stays for the next attempt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The name has no owner, so it is not on a hub.
    #[error("`{name}` is not a name on the hub; expected ORG/REPO")]
    NotOfHub {
        /// The name.
        name: Box<ModelName>,
    },
    /// The hub did not answer well.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The repository has nothing that was asked for.
    #[error(transparent)]
    Choose(#[from] ChooseError),
    /// A model that does not run here.
    #[error("the architecture is `{found}`, which does not run here")]
    Architecture {
        /// What the hub says.
        found: String,
    },
    /// A file broke off again and again.
    #[error("download {file}, of which {have} bytes have come")]
    GaveUp {
        /// The file.
        file: String,
        /// Bytes that are kept.
        have: u64,
        /// The last failure.
        #[source]
        source: ExchangeError,
    },
    /// A file that is not what the hub says.
    #[error(
        "{file} is not what the hub says it is: its hash is {found} and should be {expected}; it was deleted"
    )]
    Hash {
        /// The file.
        file: String,
        /// The hash that the hub says.
        expected: String,
        /// The hash of what came.
        found: String,
    },
    /// A file that goes on where it should end.
    #[error("{file} is longer than the {expected} bytes that the hub says it has; it was deleted")]
    Longer {
        /// The file.
        file: String,
        /// Bytes it should have.
        expected: u64,
    },
    /// Somebody else downloads the same file.
    #[error("another process downloads {file}")]
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
    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        let text = match self {
            Self::NotOfHub { name } => return format!("write the owner too: ORG/{name}"),
            Self::Exchange(ExchangeError::Refused { .. }) => {
                "accept the licence on the model's page, make a token there, and set HF_TOKEN"
            }
            Self::Exchange(ExchangeError::NotFound { .. }) => {
                "check the name on the hub's page; a private model needs HF_TOKEN"
            }
            Self::Exchange(_) => "check the network, HTTPS_PROXY and HF_ENDPOINT, and pull again",
            Self::GaveUp { .. } => "pull again: it goes on where it broke off",
            Self::Choose(ChooseError::NoSuchTag { .. } | ChooseError::Several { .. }) => {
                "name one of them as the tag: ORG/REPO:TAG"
            }
            Self::Choose(_) => "get a repository with one GGUF file (Q8_0, Q4_K_M …) or with safetensors",
            Self::Architecture { .. } => {
                "Llama, Mistral, Qwen 2 and 3, Gemma 3 (text) and Phi-3 run here; serve others by another engine"
            }
            Self::Hash { .. } | Self::Longer { .. } => {
                "pull again; if it happens again, do not trust that endpoint or proxy"
            }
            Self::Busy { .. } => "wait for it, or end it",
            Self::Import(error) => return error.hint(),
            Self::Store(error) if error.is_full() => {
                "free some space and pull again: it goes on where it broke off"
            }
            Self::Store(_) => "check that the store's folder may be written to",
        };
        text.to_owned()
    }

    /// Returns whether the hub refuses, for lack of a licence, a token or a right.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Exchange(ExchangeError::Refused { .. }))
    }

    /// Returns whether the hub has no such model.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Exchange(ExchangeError::NotFound { .. }) | Self::Choose(_) | Self::NotOfHub { .. }
        )
    }
}

impl Store {
    /// Brings a model from the hub: the file that the tag names, or the best that there is, at the revision of the
    /// name. Every file is held against the hash that the hub says. A name that stood for another version then
    /// stands for this one.
    ///
    /// # Errors
    /// If it could not be brought, or could not run here.
    pub async fn pull(
        &self,
        name: &ModelName,
        settings: &HubSettings,
        tell: &mut (dyn FnMut(PullEvent<'_>) + Send),
    ) -> Result<Added, PullError> {
        if !name.is_of_hub() {
            return Err(PullError::NotOfHub { name: Box::new(name.clone()) });
        }
        let revision = name.revision().unwrap_or(REVISION);
        let repository = patiently(settings, name.name(), revision, tell).await?;
        let Choice { tag, mut files } = choose(&repository.files, name.tag())?;
        let name = name.with_tag(&tag).map_err(ImportError::from)?;
        check_architecture(&repository, &files)?;
        let bytes = files.iter().map(|file| file.bytes).sum();
        tell(PullEvent::Chosen { name: &name, files: files.len(), bytes, commit: &repository.commit });
        let origin = Origin::Hub {
            repo: name.name().to_owned(),
            revision: revision.to_owned(),
            commit: repository.commit.clone(),
        };
        let wanted = origin.clone();
        let there = self.blocking({
            let name = name.clone();
            move |store| {
                let there = store.find(&name)?.filter(|entry| entry.manifest.origin == wanted);
                there.iter().try_for_each(|entry| store.grow(&entry.manifest))?;
                Ok::<_, StoreError>(there)
            }
        });
        if let Some(entry) = there.await?? {
            tell(PullEvent::Resumed { bytes });
            return Ok(Added { entry, was_there: true, has_replaced: false });
        }
        self.check_room(self.missing_bytes(&files))?;
        // Short files first: what they say may spare the long ones.
        files.sort_by(|one, other| one.bytes.cmp(&other.bytes).then_with(|| one.path.cmp(&other.path)));
        let stage = self.blocking(Self::stage).await??;
        let mut stored = Vec::new();
        for file in &files {
            stored.push(self.fetch(&stage, (name.name(), &repository.commit), file, (settings, tell)).await?);
            if file.path == "config.json" {
                check_config(&stage)?;
            }
        }
        // Entering waits for the store's lock, and reads what came once more.
        let admit = move |store: &Self| store.admit(&stage, stored, &name, origin, true);
        Ok(self.blocking(admit).await??)
    }

    /// Does work that waits for the disk or for a lock on a thread where that holds up nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store))
            .await
            .map_err(|error| StoreError::at("change", self.root())(io::Error::other(error)))
    }

    /// Brings one file into a stage.
    async fn fetch(
        &self,
        stage: &Stage,
        (repo, commit): (&str, &str),
        file: &HubFile,
        (settings, tell): (&HubSettings, &mut (dyn FnMut(PullEvent<'_>) + Send)),
    ) -> Result<StoredFile, PullError> {
        tell(PullEvent::File { path: &file.path, bytes: file.bytes });
        let target = stage.model().join(&file.path);
        if let Some(digest) = self.known(file) {
            tell(PullEvent::Resumed { bytes: file.bytes });
            crate::files::link(&self.blob(&digest), &target, self.root())
                .map_err(StoreError::at("link", &target))?;
            return Ok(StoredFile { path: file.path.clone(), digest, bytes: file.bytes });
        }
        let endpoint = settings.endpoint.trim_end_matches('/');
        let address = format!("{endpoint}/{repo}/resolve/{commit}/{}", escape(&file.path));
        let source = Source { settings, address, file };
        let (path, digest) = download(&source, &self.root().join("partial"), tell).await?;
        let take = || {
            target.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::rename(&path, &target)
        };
        take().map_err(StoreError::at("write", &target))?;
        Ok(StoredFile { path: file.path.clone(), digest, bytes: file.bytes })
    }

    /// Returns the digest of a file that the store has already.
    fn known(&self, file: &HubFile) -> Option<Digest> {
        let Check::Sha256(digest) = &file.check else { return None };
        let is_there = fs::metadata(self.blob(digest)).is_ok_and(|found| found.len() == file.bytes);
        is_there.then_some(*digest)
    }

    /// Returns how many bytes are still to come.
    fn missing_bytes(&self, files: &[HubFile]) -> u64 {
        let partial = |file: &HubFile| -> u64 {
            let Check::Sha256(digest) = &file.check else { return 0 };
            let path: PathBuf = self.root().join("partial").join(format!("sha256-{digest}"));
            fs::metadata(path).map_or(0, |file| file.len())
        };
        let missing = files.iter().filter(|file| self.known(file).is_none());
        missing.map(|file| file.bytes.saturating_sub(partial(file))).sum()
    }

    /// Returns the bytes of downloads that broke off.
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

    /// Deletes downloads that broke off, but for those under way, and returns their bytes.
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

/// Asks what a repository has, again where that may help.
async fn patiently(
    settings: &HubSettings,
    repo: &str,
    revision: &str,
    tell: &mut (dyn FnMut(PullEvent<'_>) + Send),
) -> Result<Repository, ExchangeError> {
    let mut pause = settings.backoff;
    let mut attempt = 1;
    loop {
        match list(settings, repo, revision).await {
            Err(error) if error.is_passing() && attempt < settings.attempts => {
                let wait = error.retry_after().unwrap_or(pause).min(Duration::from_secs(60));
                tell(PullEvent::Retry { reason: &error, wait });
                tokio::time::sleep(wait).await;
                (attempt, pause) = (attempt + 1, pause * 2);
            }
            answer => return answer,
        }
    }
}

/// Refuses what the hub says is of another family, before gigabytes come.
fn check_architecture(repository: &Repository, files: &[HubFile]) -> Result<(), PullError> {
    let is_gguf = files.iter().any(|file| file.path.to_ascii_lowercase().ends_with(".gguf"));
    match &repository.architecture {
        Some(found) if is_gguf && !ARCHITECTURES.contains(&&**found) => {
            Err(PullError::Architecture { found: found.chars().take(64).collect() })
        }
        _ => Ok(()),
    }
}

/// Refuses a configuration that does not run here, before the weights come.
fn check_config(stage: &Stage) -> Result<(), PullError> {
    let path = stage.model().join("config.json");
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

/// Writes a path as an address may have it.
fn escape(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
