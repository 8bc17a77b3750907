//! A loaded base: from texts to vectors, at once or through a queue.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bantam_engine::{Encoder, EncoderAdapter, EncoderScratch, LoadEncoderError, TokenBatch};
use bantam_kernels::Pool;
use bantam_weights::Fit;

use super::folder::{BaseFiles, LoadBaseError, LoadBaseErrorKind};
use super::identity::{BaseIdentity, BasePrecision};
use super::queue::{EmbedQueue, Embedding, QueueFull, Wanted};
use super::reader::TextReader;

/// Sequences that are embedded together where many wait.
pub(super) const BATCH_TEXTS_MAX: usize = 32;

/// A base encoder in memory, shared by all students that were trained on it.
///
/// The vector of a text is the same to the bit alone and in a batch, on any number of threads.
#[derive(Debug)]
pub struct EncoderBase {
    core: Arc<Core>,
    /// Started when the first vector is awaited; ends with the base.
    queue: OnceLock<EmbedQueue>,
}

/// What the queue's thread shares with the base.
#[derive(Debug)]
pub(super) struct Core {
    identity: BaseIdentity,
    encoder: Encoder,
    tokenizer: TextReader,
    pool: Arc<Pool>,
}

/// Working memory of a base.
#[derive(Debug, Default)]
pub(crate) struct BaseScratch {
    scratch: EncoderScratch,
    batch: TokenBatch,
    ids: Vec<u32>,
}

impl EncoderBase {
    /// Reads what names the base in `folder`, without loading it. Reads the weights once, to hash them.
    ///
    /// # Errors
    /// [`LoadBaseError`], when a file is missing or is not one of a base.
    pub fn identify(folder: &Path, precision: BasePrecision) -> Result<BaseIdentity, LoadBaseError> {
        let at = |kind| LoadBaseError { folder: folder.to_owned(), kind };
        BaseFiles::read(folder).and_then(|files| files.identity(folder, precision)).map_err(at)
    }

    fn load(
        files: &BaseFiles,
        identity: BaseIdentity,
        adapter: Option<&EncoderAdapter>,
        pool: Arc<Pool>,
    ) -> Result<Self, LoadBaseErrorKind> {
        let failed = |kind| Box::new(LoadEncoderError { path: identity.name.clone().into(), kind });
        let (config, tokenizer) = files.parts(&identity)?;
        let encoder =
            Encoder::adapted(config, &files.weights, identity.precision.into(), adapter).map_err(failed)?;
        let core = Arc::new(Core { identity, encoder, tokenizer, pool });
        Ok(Self { core, queue: OnceLock::new() })
    }

    /// What its vectors depend on.
    pub fn identity(&self) -> &BaseIdentity {
        &self.core.identity
    }

    /// How many tokens a text has, and whether all of them are read.
    pub(crate) fn count_tokens(&self, text: &str, ids: &mut Vec<u32>) -> (usize, bool) {
        let tokens_max = self.core.identity.tokens_max as usize;
        if self.core.tokenizer.encode(text, tokens_max, ids) == Fit::Whole {
            return (ids.len(), true);
        }
        self.core.tokenizer.encode(text, usize::MAX, ids);
        (ids.len(), false)
    }

    /// Returns the base's tokenizer.
    pub(crate) fn tokenizer(&self) -> &TextReader {
        &self.core.tokenizer
    }

    /// Returns the states of all tokens of a sequence; none, where the encoder refuses it.
    pub(crate) fn states<'s>(&self, ids: &[u32], scratch: &'s mut BaseScratch) -> &'s [f32] {
        self.core.states(ids, scratch)
    }

    /// The states of a sequence, from the base's own thread.
    ///
    /// # Errors
    /// [`QueueFull`], when too many wait already, or the thread could not be started.
    pub(crate) fn states_soon(&self, ids: Vec<u32>) -> Result<Embedding, QueueFull> {
        self.queue().push(Wanted::States(ids))
    }

    /// The vectors of many texts, one after the other, [`BaseIdentity::width`] numbers each. `on_progress` hears how
    /// many texts are done.
    pub fn embed_all(&self, texts: &[&str], on_progress: &mut dyn FnMut(usize)) -> Vec<f32> {
        let width = self.core.width();
        let mut vectors = vec![0.0; texts.len() * width];
        // Texts of like length together, so that no core waits long for the longest.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&text| texts[text].len());
        let mut scratch = BaseScratch::default();
        for (done, rows) in order.chunks(BATCH_TEXTS_MAX).enumerate() {
            let found = self.core.embed(rows.iter().map(|&row| texts[row]), &mut scratch);
            for (&row, vector) in rows.iter().zip(found.chunks_exact(width)) {
                vectors[row * width..][..width].copy_from_slice(vector);
            }
            on_progress(done * BATCH_TEXTS_MAX + rows.len());
        }
        vectors
    }

    /// The vector of one text, on the caller's thread and the pool's.
    pub(crate) fn embed<'s>(&self, text: &str, scratch: &'s mut BaseScratch) -> &'s [f32] {
        self.core.embed(std::iter::once(text), scratch)
    }

    /// The vector of one text, from the base's own thread, which takes all that wait together.
    ///
    /// # Errors
    /// [`QueueFull`], when too many texts wait already, or the thread could not be started.
    pub(crate) fn embed_soon(&self, text: &str) -> Result<Embedding, QueueFull> {
        self.queue().push(Wanted::Vector(text.to_owned()))
    }

    fn queue(&self) -> &EmbedQueue {
        self.queue.get_or_init(|| EmbedQueue::start(&self.core))
    }
}

impl Core {
    pub(super) fn width(&self) -> usize {
        self.identity.width as usize
    }

    /// The states of all tokens of a sequence; none, where the encoder refuses it.
    pub(super) fn states<'s>(&self, ids: &[u32], scratch: &'s mut BaseScratch) -> &'s [f32] {
        scratch.batch.clear();
        scratch.batch.push(ids);
        self.encoder.hidden_states(&scratch.batch, &self.pool, &mut scratch.scratch).unwrap_or_default()
    }

    /// The vectors of a batch. Empty, where the encoder refuses the batch; loading has made sure that it does not.
    pub(super) fn embed<'s, 't>(
        &self,
        texts: impl Iterator<Item = &'t str>,
        scratch: &'s mut BaseScratch,
    ) -> &'s [f32] {
        scratch.batch.clear();
        for text in texts {
            // What of a text does not fit is not read.
            self.tokenizer.encode(text, self.identity.tokens_max as usize, &mut scratch.ids);
            scratch.batch.push(&scratch.ids);
        }
        let pooling = self.identity.pooling.into();
        self.encoder.embed(&scratch.batch, pooling, &self.pool, &mut scratch.scratch).unwrap_or_default()
    }
}

/// The bases in use: students that share one share its memory. Threads are started with the first base.
#[derive(Debug)]
pub struct Bases {
    threads: usize,
    pool: OnceLock<Arc<Pool>>,
    loaded: Mutex<Vec<Weak<EncoderBase>>>,
}

impl Bases {
    /// Returns a place for bases that compute on `threads` threads, all together.
    pub fn new(threads: usize) -> Self {
        Self { threads, pool: OnceLock::new(), loaded: Mutex::default() }
    }

    /// Returns the threads that all bases compute on, for others to compute on too. Started by the first who asks.
    pub fn pool(&self) -> Arc<Pool> {
        Arc::clone(self.pool.get_or_init(|| Arc::new(Pool::new(self.threads))))
    }

    /// Returns the base in `folder`: the one that is loaded, where somebody still uses it.
    ///
    /// # Errors
    /// [`LoadBaseError`], when a file is missing or is not one of a base.
    pub fn open(&self, folder: &Path, precision: BasePrecision) -> Result<Arc<EncoderBase>, LoadBaseError> {
        self.open_as(folder, precision, None, |_, found| Ok(found))
    }

    /// Returns the base that a student was trained on, from `folder`. One with changes is the student's own.
    pub(crate) fn open_meant(
        &self,
        folder: &Path,
        meant: &BaseIdentity,
        adapter: Option<&EncoderAdapter>,
    ) -> Result<Arc<EncoderBase>, LoadBaseError> {
        self.open_as(folder, meant.precision, adapter, |folder_name, found| match meant.difference(&found) {
            Some((what, meant, found)) => {
                Err(LoadBaseErrorKind::Different { what, meant: meant.to_owned(), found: found.to_owned() })
            }
            // How the student was trained counts, not what the folder asks for by now.
            None => Ok(BaseIdentity { name: folder_name, ..meant.clone() }),
        })
    }

    /// Returns the base in `folder` with changes of its own, as a student that was tuned on it will find it. Nobody
    /// else shares it.
    ///
    /// # Errors
    /// [`LoadBaseError`], when a file is missing or is not one of a base, or the changes do not fit it.
    pub fn open_adapted(
        &self,
        folder: &Path,
        precision: BasePrecision,
        adapter: &EncoderAdapter,
    ) -> Result<Arc<EncoderBase>, LoadBaseError> {
        self.open_as(folder, precision, Some(adapter), |_, found| Ok(found))
    }

    /// Returns how many threads its bases compute on.
    pub fn threads(&self) -> usize {
        self.threads
    }

    fn open_as(
        &self,
        folder: &Path,
        precision: BasePrecision,
        adapter: Option<&EncoderAdapter>,
        accept: impl FnOnce(String, BaseIdentity) -> Result<BaseIdentity, LoadBaseErrorKind>,
    ) -> Result<Arc<EncoderBase>, LoadBaseError> {
        let at = |kind| LoadBaseError { folder: folder.to_owned(), kind };
        let files = BaseFiles::read(folder).map_err(at)?;
        let found = files.identity(folder, precision).map_err(at)?;
        let wanted = accept(found.name.clone(), found).map_err(at)?;
        if adapter.is_some() {
            return EncoderBase::load(&files, wanted, adapter, self.pool()).map(Arc::new).map_err(at);
        }
        // Held while loading, so that two who want the same base do not both load it.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|base| base.strong_count() > 0);
        let known = loaded.iter().filter_map(Weak::upgrade).find(|base| base.identity().is_same(&wanted));
        if let Some(base) = known {
            return Ok(base);
        }
        let base = Arc::new(EncoderBase::load(&files, wanted, None, self.pool()).map_err(at)?);
        loaded.push(Arc::downgrade(&base));
        Ok(base)
    }
}
