//! A decoder as a model for the scheduler.

use std::sync::Arc;

use bantam_kernels::{KvStore, Pool};

use super::model::{ModelShape, StepModel, StepSpan};
use crate::decoder::{Adapter, Decoder, DecoderScratch, ForwardError, Logits, Span};

/// A decoder with its KV cache and thread pool.
#[derive(Debug)]
pub struct DecoderModel {
    decoder: Arc<Decoder>,
    pool: Arc<Pool>,
    kv: KvStore,
    scratch: DecoderScratch,
}

impl DecoderModel {
    /// Returns a decoder with a KV cache of `pages` pages, each of
    /// [`KvShape::page_bytes`](bantam_kernels::KvShape::page_bytes) bytes.
    ///
    /// # Panics
    /// If the cache is not addressable.
    pub fn new(decoder: Arc<Decoder>, pool: Arc<Pool>, pages: usize) -> Self {
        let kv = decoder.new_kv(pages);
        Self { decoder, pool, kv, scratch: DecoderScratch::default() }
    }
}

impl StepModel for DecoderModel {
    type Adapter = Adapter;
    type Error = ForwardError;

    fn shape(&self) -> ModelShape {
        let config = self.decoder.config();
        ModelShape { vocabulary: config.vocabulary, context: config.positions, pages: self.kv.pages() }
    }

    fn forward(&mut self, spans: &[StepSpan<'_, Adapter>]) -> Result<&mut [f32], ForwardError> {
        let spans: Vec<Span<'_>> = spans
            .iter()
            .map(|span| Span {
                tokens: span.tokens,
                start: span.start,
                pages: span.pages,
                adapter: span.adapter,
                logits: span.logits,
            })
            .collect();
        self.decoder.forward(&self.pool, &mut self.kv, &spans, &mut self.scratch).map(Logits::into_numbers)
    }

    fn copy_page(&mut self, from: u32, to: u32) {
        self.kv.copy_page(from, to);
    }
}
