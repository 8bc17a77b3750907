//! What stays in memory over reloads of the configuration: encoders, language models, and the threads of both.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_backend::MemoryBudget;
use bantam_config::Config;
use bantam_engine::Adapter;
use bantam_local::{LocalModel, ModelSurvey, OpenModelError, Room};
use bantam_student::Bases;
use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::identity::{LAYOUT_EXTENSION, identity};
use crate::machine::{free_bytes, memory_bytes};

/// How long a request without a deadline waits for memory that other models hold.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The share of the free memory that models may take unless the configuration says otherwise.
const SHARE: f64 = 0.8;
/// The part of the memory that requests and answers may take together unless the configuration says otherwise.
const REQUESTS_PART: u64 = 8;
/// The least and the most that such a part is: less would serve nobody, and more would only help those who want to use it
/// up.
const REQUESTS_BYTES: std::ops::RangeInclusive<u64> = 64 << 20..=4 << 30;
/// What is taken to be free where the system does not say.
const FREE_UNKNOWN: u64 = 8 << 30;

/// Everything that is loaded, and the threads that it computes on.
pub struct ModelMemory {
    bases: Arc<Bases>,
    room: Room<LocalModel<Adapter>>,
    /// The budget where the configuration names none.
    budget: u64,
    requests: MemoryBudget,
    /// Headers of models by their identities, each read once.
    surveys: Mutex<HashMap<Arc<str>, ModelSurvey>>,
    /// SHA-256 of contents by identities, each computed once.
    hashes: Mutex<HashMap<String, String>>,
}

impl ModelMemory {
    /// Returns empty memory. Models and encoders compute on the same threads, as many as `students.threads` says.
    pub fn new(config: &Config) -> Self {
        let requests = config.server.memory_bytes.unwrap_or_else(requests_bytes);
        let requests = MemoryBudget::new(usize::try_from(requests).unwrap_or(usize::MAX));
        Self { requests, ..Self::with_threads(config.students.threads) }
    }

    /// Returns empty memory for work that needs no configuration; 0 threads mean one for each core.
    pub fn with_threads(threads: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let budget = (free_bytes().unwrap_or(FREE_UNKNOWN) as f64 * SHARE) as u64;
        Self {
            bases: Arc::new(Bases::new(if threads == 0 { cores } else { threads })),
            room: Room::new(budget, WAIT_MAX, Arc::new(Instant::now)),
            budget,
            requests: MemoryBudget::unlimited(),
            surveys: Mutex::default(),
            hashes: Mutex::default(),
        }
    }

    /// Returns the encoders that students and embeddings share.
    pub fn bases(&self) -> &Arc<Bases> {
        &self.bases
    }

    /// Returns what requests and answers may take together.
    pub const fn requests(&self) -> &MemoryBudget {
        &self.requests
    }

    /// Returns the room that language models are loaded into.
    pub fn room(&self) -> &Room<LocalModel<Adapter>> {
        &self.room
    }

    /// Returns the bytes that models may take under `config`.
    pub(crate) fn budget(&self, config: &Config) -> u64 {
        config.local.memory_bytes.unwrap_or(self.budget)
    }

    /// Returns the bytes that models may take where no configuration says.
    pub(crate) const fn own_budget(&self) -> u64 {
        self.budget
    }

    /// Returns the SHA-256 of a file, in hex; of a folder, that of its files' names, sizes and contents, but for the
    /// weights that Bantam lays out beside them.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn content_hash(&self, path: &Path) -> io::Result<String> {
        let identity = identity(path);
        if let Some(known) = self.hashes.lock().get(&identity) {
            return Ok(known.clone());
        }
        let mut hash = Sha256::new();
        if path.is_dir() {
            let entries: Vec<_> = std::fs::read_dir(path)?.collect::<Result<_, _>>()?;
            let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
            files.retain(|file| {
                file.is_file() && file.extension().is_none_or(|extension| extension != LAYOUT_EXTENSION)
            });
            files.sort();
            for file in &files {
                hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
                hash.update(file.metadata()?.len().to_le_bytes());
                io::copy(&mut File::open(file)?, &mut HashWriter(&mut hash))?;
            }
        } else {
            io::copy(&mut File::open(path)?, &mut HashWriter(&mut hash))?;
        }
        let hash = HEXLOWER.encode(&hash.finalize());
        self.hashes.lock().insert(identity, hash.clone());
        Ok(hash)
    }

    /// Returns what the headers of the model with an identity say.
    pub(crate) fn survey(&self, identity: &Arc<str>, path: &Path) -> Result<ModelSurvey, OpenModelError> {
        if let Some(known) = self.surveys.lock().get(identity) {
            return Ok(known.clone());
        }
        let survey = LocalModel::survey(path)?;
        self.surveys.lock().insert(Arc::clone(identity), survey.clone());
        Ok(survey)
    }
}

/// Returns the bytes that requests and answers may take where the configuration does not say.
fn requests_bytes() -> u64 {
    let part = memory_bytes().unwrap_or(FREE_UNKNOWN) / REQUESTS_PART;
    part.clamp(*REQUESTS_BYTES.start(), *REQUESTS_BYTES.end())
}

struct HashWriter<'h>(&'h mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
