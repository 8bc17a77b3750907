//! What stays in memory over reloads of the configuration: encoders, language models, and the threads of both.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_config::Config;
use bantam_engine::Adapter;
use bantam_local::{LocalModel, ModelSurvey, OpenModelError, Room};
use bantam_student::Bases;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// How long a request waits for memory that other models hold, where it says no deadline itself.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The share of the free memory that models may take unless the configuration says otherwise.
const SHARE: f64 = 0.8;
/// What is taken to be free where the system does not tell.
const FREE_UNKNOWN: u64 = 8 << 30;

/// Everything that is loaded, and the threads that it computes on.
pub(crate) struct Memory {
    bases: Arc<Bases>,
    room: Room<LocalModel<Adapter>>,
    /// Budget where the configuration names none.
    budget: u64,
    /// Headers of models by their identities, read once.
    surveys: Mutex<HashMap<Arc<str>, ModelSurvey>>,
    /// SHA-256 of contents by identities, computed once.
    hashes: Mutex<HashMap<String, String>>,
}

impl Memory {
    /// Returns empty memory. Models and encoders compute on the same threads, as many as `students.threads` says.
    pub(crate) fn new(config: &Config) -> Self {
        Self::with_threads(config.students.threads)
    }

    /// Returns empty memory for a command that needs no configuration; 0 threads are one a core.
    pub(crate) fn with_threads(threads: usize) -> Self {
        let budget = (free_bytes().unwrap_or(FREE_UNKNOWN) as f64 * SHARE) as u64;
        Self {
            bases: Arc::new(super::bases(threads)),
            room: Room::new(budget, WAIT_MAX, Arc::new(Instant::now)),
            budget,
            surveys: Mutex::default(),
            hashes: Mutex::default(),
        }
    }

    pub(crate) fn bases(&self) -> &Arc<Bases> {
        &self.bases
    }

    /// Returns the room that models come into.
    pub(crate) fn room(&self) -> &Room<LocalModel<Adapter>> {
        &self.room
    }

    /// Returns the bytes that models may take under `config`.
    pub(super) fn budget(&self, config: &Config) -> u64 {
        config.local.memory_bytes.unwrap_or(self.budget)
    }

    /// Returns the bytes that models may take where the configuration says nothing.
    pub(super) const fn own_budget(&self) -> u64 {
        self.budget
    }

    /// Returns the SHA-256 of a file, in hex; of a folder, that of its files' names, sizes and contents, but for what
    /// Bantam keeps beside the weights.
    pub(crate) fn content_hash(&self, path: &Path) -> std::io::Result<String> {
        let identity = super::local::identity(path);
        if let Some(known) = self.hashes.lock().get(&identity) {
            return Ok(known.clone());
        }
        let mut files = vec![path.to_owned()];
        if path.is_dir() {
            let entries: Vec<_> = std::fs::read_dir(path)?.collect::<Result<_, _>>()?;
            files = entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
            files.retain(|file| file.extension().is_none_or(|extension| extension != "bantam-cache"));
            files.sort();
        }
        let mut hash = Sha256::new();
        for file in &files {
            if !path.is_dir() {
                std::io::copy(&mut std::fs::File::open(file)?, &mut Into(&mut hash))?;
                continue;
            }
            hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update(file.metadata()?.len().to_le_bytes());
            std::io::copy(&mut std::fs::File::open(file)?, &mut Into(&mut hash))?;
        }
        let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.hashes.lock().insert(identity, hash.clone());
        Ok(hash)
    }

    /// Returns what the headers of the model of an identity say.
    pub(super) fn survey(&self, identity: &Arc<str>, path: &Path) -> Result<ModelSurvey, OpenModelError> {
        if let Some(known) = self.surveys.lock().get(identity) {
            return Ok(known.clone());
        }
        let survey = LocalModel::survey(path)?;
        self.surveys.lock().insert(Arc::clone(identity), survey.clone());
        Ok(survey)
    }
}

/// Returns the memory that can be taken without swapping, within the limit of this process's group, where the system
/// tells.
fn free_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let free = line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1_024;
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limit = number("/sys/fs/cgroup/memory.max");
    let left = limit.map(|limit| limit - number("/sys/fs/cgroup/memory.current").unwrap_or(0).min(limit));
    Some(left.map_or(free, |left| left.min(free)))
}

/// Writes into a hash.
struct Into<'h>(&'h mut Sha256);

impl std::io::Write for Into<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
