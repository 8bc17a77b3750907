//! A loaded base: computes the vectors of texts, directly or through a queue.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bantam_engine::{Encoder, EncoderAdapter, EncoderScratch, LoadEncoderError, TokenBatch};
use bantam_kernels::Pool;
use bantam_types::Cancel;
use bantam_weights::Fit;

use super::folder::{BaseFiles, LoadBaseError, LoadBaseErrorKind};
use super::identity::{BaseIdentity, BasePrecision};
use super::queue::{EmbedQueue, EmbedRequest, PendingEmbedding, QueueError};
use super::reader::TextReader;

/// The most requests that are computed as one batch.
pub(super) const BATCH_TEXTS_MAX: usize = 32;

/// A base encoder in memory, shared by all students trained on it.
///
/// The vector of a text is bit-identical alone and in any batch, on any number of threads.
#[derive(Debug)]
pub struct EncoderBase {
    core: Arc<Core>,
    /// Started with the first queued request; ends with the base.
    queue: OnceLock<EmbedQueue>,
}

/// The part of the base that the queue's thread shares.
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
    /// Returns the identity of the base in `folder` without loading it. Reads the weights once, to hash them.
    ///
    /// # Errors
    /// [`LoadBaseError`] if a file is missing or does not belong to a base.
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

    /// Returns everything that its vectors depend on.
    pub fn identity(&self) -> &BaseIdentity {
        &self.core.identity
    }

    /// Returns false once the queue's thread has ended, because it could not be started or panicked too often.
    pub(crate) fn is_available(&self) -> bool {
        self.queue.get().is_none_or(EmbedQueue::is_available)
    }

    /// Returns how many tokens a text has, and whether all of them are read.
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

    /// Returns the states of all tokens of a sequence, or nothing if the encoder rejects it.
    pub(crate) fn states<'s>(&self, ids: &[u32], scratch: &'s mut BaseScratch) -> &'s [f32] {
        self.core.states(ids, scratch)
    }

    /// Queues a sequence for the base's own thread, which computes the states of its tokens.
    ///
    /// # Errors
    /// [`QueueError`] if too many requests wait, or the thread has ended.
    pub(crate) fn queue_states(&self, ids: Vec<u32>) -> Result<PendingEmbedding, QueueError> {
        self.queue().push(EmbedRequest::States(ids))
    }

    /// Returns the vectors of many texts, one after the other, [`BaseIdentity::width`] numbers each. `on_progress`
    /// receives how many texts are done. Once cancelled, the vectors of the remaining texts stay 0.
    pub fn embed_all(&self, texts: &[&str], on_progress: &mut dyn FnMut(usize), cancel: &Cancel) -> Vec<f32> {
        let width = self.core.width();
        let mut vectors = vec![0.0; texts.len() * width];
        // Texts of similar length go together, so that no core waits long for the longest.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&text| texts[text].len());
        let mut scratch = BaseScratch::default();
        for (done, rows) in order.chunks(BATCH_TEXTS_MAX).enumerate() {
            if cancel.is_cancelled() {
                break;
            }
            let embedded = self.core.embed(rows.iter().map(|&row| texts[row]), &mut scratch);
            for (&row, vector) in rows.iter().zip(embedded.chunks_exact(width)) {
                vectors[row * width..][..width].copy_from_slice(vector);
            }
            on_progress(done * BATCH_TEXTS_MAX + rows.len());
        }
        vectors
    }

    /// Returns the vector of one text, computed on the caller's thread and the pool's.
    pub(crate) fn embed<'s>(&self, text: &str, scratch: &'s mut BaseScratch) -> &'s [f32] {
        self.core.embed(std::iter::once(text), scratch)
    }

    /// Queues a text for the base's own thread, which computes waiting texts as one batch.
    ///
    /// # Errors
    /// [`QueueError`] if too many requests wait, or the thread has ended.
    pub(crate) fn queue_embedding(&self, text: &str) -> Result<PendingEmbedding, QueueError> {
        self.queue().push(EmbedRequest::Vector(text.to_owned()))
    }

    fn queue(&self) -> &EmbedQueue {
        self.queue.get_or_init(|| {
            let core = Arc::clone(&self.core);
            EmbedQueue::start(move |requests, scratch| core.answer(requests, scratch))
        })
    }
}

impl Core {
    fn width(&self) -> usize {
        self.identity.width as usize
    }

    /// Returns the numbers for each request: all vectors as one batch, and states sequence by sequence.
    fn answer(&self, requests: &[EmbedRequest], scratch: &mut BaseScratch) -> Vec<Vec<f32>> {
        let texts = requests.iter().filter_map(|request| match request {
            EmbedRequest::Vector(text) => Some(text.as_str()),
            EmbedRequest::States(_) => None,
        });
        let mut vectors = self.embed(texts, scratch).to_vec().into_iter();
        let numbers = requests.iter().map(|request| match request {
            EmbedRequest::Vector(_) => vectors.by_ref().take(self.width()).collect(),
            EmbedRequest::States(ids) => self.states(ids, scratch).to_vec(),
        });
        numbers.collect()
    }

    /// Returns the states of all tokens of a sequence, or nothing if the encoder rejects it.
    fn states<'s>(&self, ids: &[u32], scratch: &'s mut BaseScratch) -> &'s [f32] {
        scratch.batch.clear();
        scratch.batch.push(ids);
        self.encoder.hidden_states(&scratch.batch, &self.pool, &mut scratch.scratch).unwrap_or_default()
    }

    /// Returns the vectors of a batch, or nothing if the encoder rejects it; loading makes sure that it does not.
    fn embed<'s, 't>(&self, texts: impl Iterator<Item = &'t str>, scratch: &'s mut BaseScratch) -> &'s [f32] {
        scratch.batch.clear();
        for text in texts {
            // A text that does not fit is cut off.
            self.tokenizer.encode(text, self.identity.tokens_max as usize, &mut scratch.ids);
            scratch.batch.push(&scratch.ids);
        }
        let pooling = self.identity.pooling.into();
        self.encoder.embed(&scratch.batch, pooling, &self.pool, &mut scratch.scratch).unwrap_or_default()
    }
}

/// The bases in use, so that students with the same base share its memory. Threads are started with the first base.
#[derive(Debug)]
pub struct Bases {
    threads: usize,
    pool: OnceLock<Arc<Pool>>,
    loaded: Mutex<Vec<Weak<EncoderBase>>>,
}

impl Bases {
    /// Returns an empty set of bases, which will compute on `threads` threads in total.
    pub fn new(threads: usize) -> Self {
        Self { threads, pool: OnceLock::new(), loaded: Mutex::default() }
    }

    /// Returns the thread pool that all bases compute on, which others may use too. The first call starts it.
    pub fn pool(&self) -> Arc<Pool> {
        Arc::clone(self.pool.get_or_init(|| Arc::new(Pool::new(self.threads))))
    }

    /// Returns the base in `folder`, reusing the loaded one if it is still in use.
    ///
    /// # Errors
    /// [`LoadBaseError`] if a file is missing or does not belong to a base.
    pub fn open(&self, folder: &Path, precision: BasePrecision) -> Result<Arc<EncoderBase>, LoadBaseError> {
        self.open_as(folder, precision, None, |_, found| Ok(found))
    }

    /// Returns the base that a student was trained on, from `folder`. A base with an adapter is not shared.
    pub(crate) fn open_expected(
        &self,
        folder: &Path,
        expected: &BaseIdentity,
        adapter: Option<&EncoderAdapter>,
    ) -> Result<Arc<EncoderBase>, LoadBaseError> {
        self.open_as(folder, expected.precision, adapter, |folder_name, found| {
            match expected.difference(&found) {
                Some((what, expected, found)) => Err(LoadBaseErrorKind::Different {
                    what,
                    expected: expected.to_owned(),
                    found: found.to_owned(),
                }),
                // The settings that the student was trained with count, not those the folder has now.
                None => Ok(BaseIdentity { name: folder_name, ..expected.clone() }),
            }
        })
    }

    /// Returns the base in `folder` with an adapter, as a student that was tuned on it will load it. It is not shared.
    /// Its `identity` comes from [`EncoderBase::identify`]: the weights are not hashed again.
    ///
    /// # Errors
    /// [`LoadBaseError`] if a file is missing or does not belong to a base, or the adapter does not fit it.
    pub fn open_adapted(
        &self,
        folder: &Path,
        identity: &BaseIdentity,
        adapter: &EncoderAdapter,
    ) -> Result<Arc<EncoderBase>, LoadBaseError> {
        let load = || {
            let files = BaseFiles::read(folder)?;
            EncoderBase::load(&files, identity.clone(), Some(adapter), self.pool()).map(Arc::new)
        };
        load().map_err(|kind| LoadBaseError { folder: folder.to_owned(), kind })
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
        let identity = accept(found.name.clone(), found).map_err(at)?;
        if adapter.is_some() {
            return EncoderBase::load(&files, identity, adapter, self.pool()).map(Arc::new).map_err(at);
        }
        // Held while loading, so that two callers do not load the same base twice.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|base| base.strong_count() > 0);
        let known = loaded.iter().filter_map(Weak::upgrade).find(|base| base.identity().is_same(&identity));
        if let Some(base) = known {
            return Ok(base);
        }
        let base = Arc::new(EncoderBase::load(&files, identity, None, self.pool()).map_err(at)?);
        loaded.push(Arc::downgrade(&base));
        Ok(base)
    }
}
