//! A trained decoder outside a gateway: opened for itself alone.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_engine::{Adapter, LoadAdapterError};
use bantam_kernels::Pool;

use super::{DecoderStudent, DecoderStudentFile};
use crate::model::LocalModel;
use crate::open::{LocalModelOptions, OpenModelError};
use crate::room::{KeepAlive, Room};
use crate::shared::{AdapterFile, RoomBackend};

/// Tokens whose keys and values are kept for a student: its prompts begin alike, so that few are enough.
const KV_TOKENS: usize = 4_096;
/// How many of the longest rows go in at a time at least.
const ROWS_AT_A_TIME: usize = 4;
/// How long a question waits for the model to be loaded.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// Why a student cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenStudentError {
    /// Its base, or the model that it is.
    #[error(transparent)]
    Model(#[from] OpenModelError),
    /// Its changes of the base.
    #[error(transparent)]
    Adapter(#[from] Box<LoadAdapterError>),
}

impl DecoderStudentFile {
    /// Returns how many tokens' keys and values the student is served with.
    pub fn kv_tokens(&self) -> usize {
        KV_TOKENS.max(ROWS_AT_A_TIME * self.row_tokens_max)
    }
}

impl DecoderStudent {
    /// Opens the student in `folder`, as it is served, for the task `name`: on its base where training found it, or on
    /// the one at `other_base`. Headers are checked now; the weights are loaded when it is asked first, which needs a
    /// tokio runtime. Nobody else's memory is given up for it: the caller has made sure that it fits.
    ///
    /// # Errors
    /// [`OpenStudentError`], when its files cannot be used.
    pub fn open(
        name: &str,
        (file, folder): (&DecoderStudentFile, &Path),
        other_base: Option<&Path>,
        pool: &Arc<Pool>,
    ) -> Result<Self, OpenStudentError> {
        let (path, adapter) = (file.model_path(folder, other_base), file.adapter_path(folder));
        let survey = LocalModel::survey(&path)?;
        let adapter_bytes = match &adapter {
            None => 0,
            Some(adapter) => Adapter::survey(adapter, survey.config()).map_err(Box::new)?.bytes,
        };
        let (kv_tokens, name): (usize, Arc<str>) = (file.kv_tokens(), name.into());
        let options = LocalModelOptions {
            name: Arc::clone(&name),
            kv_tokens,
            kv_tokens_max: kv_tokens,
            // A model of the student's own is laid out in no time, and its folder holds nothing but the student.
            keeps_layout: file.base.is_some(),
            template: None,
            adapter_bytes_max: adapter_bytes,
            pool: Arc::clone(pool),
            clock: Arc::new(Instant::now),
        };
        let room = Room::new(u64::MAX, WAIT_MAX, Arc::new(Instant::now));
        let bytes = survey.bytes(kv_tokens, adapter_bytes);
        let place =
            room.place(&name, bytes, KeepAlive::Always, move || Ok(LocalModel::open(&path, &options)?));
        let adapter = adapter.map(|path| AdapterFile { path, stamp: "own".to_owned() });
        let model = Arc::new(RoomBackend::new(place, Arc::clone(&name), adapter.as_ref()));
        Ok(Self::new(model, file.task(&name)))
    }
}
