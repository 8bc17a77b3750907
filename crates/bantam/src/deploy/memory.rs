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
}

impl Memory {
    /// Returns empty memory. Models and encoders compute on the same threads, as many as `students.threads` says.
    pub(crate) fn new(config: &Config) -> Self {
        let budget = (free_bytes().unwrap_or(FREE_UNKNOWN) as f64 * SHARE) as u64;
        Self {
            bases: Arc::new(super::bases(config.students.threads)),
            room: Room::new(budget, WAIT_MAX, Arc::new(Instant::now)),
            budget,
            surveys: Mutex::default(),
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
