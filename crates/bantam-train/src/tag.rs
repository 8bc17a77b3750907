//! Word tagging: an encoder's state of each word's first token, and a linear head on it.

use std::sync::{Mutex, PoisonError};

use bantam_kernels::Pool;

use crate::encoder::{EncoderNetwork, EncoderScratch, Packed};
use crate::layout::{Layout, ParameterGroup};
use crate::ops::{Linear, LinearScratch, Noise, Site, Weight, cross_entropy, dropout, fit};
use crate::random::Key;
use crate::run::Objective;

/// The dropout site before the head.
const HEAD_SITE: Site = Site(u64::MAX);
/// Standard deviation of a head's initial weights, as in BERT.
const HEAD_DEVIATION: f32 = 0.02;

/// A text's token ids and, for each word, the index of its first token and its tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagRow {
    /// The token ids.
    pub ids: Vec<u32>,
    /// Each word's token index and tag.
    pub words: Vec<(usize, u32)>,
}

/// A word tagger over one network, with its tokenised texts and their tags.
#[derive(Debug)]
pub struct Tagger {
    network: EncoderNetwork,
    layout: Layout,
    head: Linear,
    rows: Vec<TagRow>,
    /// The number of rows at the front that are trained on; the rest are held out.
    training_rows: usize,
    head_dropout: f32,
}

/// A thread's buffers for a tagger.
#[derive(Debug, Default)]
pub struct TagScratch {
    packed: Packed,
    encoder: EncoderScratch,
    linear: LinearScratch,
    /// The words' states.
    states: Vec<f32>,
    /// Where each sequence's words end.
    ends: Vec<usize>,
    /// Each word's row in the batch.
    word_rows: Vec<usize>,
    targets: Vec<Option<u32>>,
    logits: Vec<f32>,
    grad_words: Vec<f32>,
    grad_states: Vec<f32>,
}

impl Tagger {
    /// Returns a tagger of `tags` tags. The first `training_rows` of `rows` are trained on and the others are held out.
    /// `layout` already holds the network's adapter.
    ///
    /// # Panics
    /// If a row has no ids, or a tag or token index out of range.
    pub fn new(
        network: EncoderNetwork,
        mut layout: Layout,
        (rows, training_rows, tags): (Vec<TagRow>, usize, usize),
        head_dropout: f32,
    ) -> Self {
        let fits = |row: &TagRow| {
            let within = |(token, tag): &(usize, u32)| *token < row.ids.len() && (*tag as usize) < tags;
            !row.ids.is_empty() && row.words.iter().all(within)
        };
        assert!(training_rows <= rows.len() && rows.iter().all(fits));
        let inputs = network.config().hidden;
        let weight = layout.add("head.weight".to_owned(), [tags, inputs], true, ParameterGroup::Head);
        let bias = layout.add("head.bias".to_owned(), [1, tags], false, ParameterGroup::Head);
        let head = Linear { outputs: tags, inputs, weight: Weight::Trained(weight, bias), lora: None };
        Self { network, layout, head, rows, training_rows, head_dropout }
    }

    /// Returns the network below the head.
    pub fn network(&self) -> &EncoderNetwork {
        &self.network
    }

    /// Returns the head's weights, a row for each tag, and its biases.
    pub fn head<'p>(&self, parameters: &'p [f32]) -> (&'p [f32], &'p [f32]) {
        match &self.head.weight {
            Weight::Trained(weight, bias) => (&parameters[weight.clone()], &parameters[bias.clone()]),
            Weight::Frozen(..) => (&[], &[]),
        }
    }

    /// Returns the initial parameters: an adapter that has no effect yet, and a head of small random numbers.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut parameters = vec![0.0; self.layout.len()];
        self.network.initialise(&self.layout, seed, &mut parameters);
        if let Weight::Trained(weight, _) = &self.head.weight {
            let key = Key::new(seed).part(4);
            for (index, number) in parameters[weight.clone()].iter_mut().enumerate() {
                *number = HEAD_DEVIATION * key.normal(index as u64);
            }
        }
        parameters
    }

    /// Returns the accuracy on the words of the held-out rows, each tagged independently.
    pub fn held_out_accuracy(&self, parameters: &[f32], threads: &Pool) -> f64 {
        let rows: Vec<usize> = (self.training_rows..self.rows.len()).collect();
        let scratch: Vec<Mutex<TagScratch>> = (0..threads.threads()).map(|_| Mutex::default()).collect();
        let parts: Vec<&[usize]> = rows.chunks(16).collect();
        let counts: Vec<Mutex<(usize, usize)>> = parts.iter().map(|_| Mutex::default()).collect();
        threads.run(parts.len(), |thread, index| {
            let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let logits = self.logits(parameters, parts[index].iter().map(|row| (*row, None)), &mut scratch);
            let best = logits
                .chunks_exact(self.head.outputs)
                .map(|row| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).map(|tag| tag as u32));
            let right = best.zip(&scratch.targets).filter(|(best, target)| best == *target).count();
            *counts[index].lock().unwrap_or_else(PoisonError::into_inner) = (right, scratch.targets.len());
        });
        let sum = counts.into_iter().map(|count| count.into_inner().unwrap_or_else(PoisonError::into_inner));
        let (right, words) = sum.fold((0, 0), |all, part| (all.0 + part.0, all.1 + part.1));
        right as f64 / words.max(1) as f64
    }

    /// Returns the logits of all words of the rows, and leaves what the backward pass needs in the scratch.
    fn logits(
        &self,
        parameters: &[f32],
        rows: impl Iterator<Item = (usize, Option<Key>)>,
        scratch: &mut TagScratch,
    ) -> Vec<f32> {
        let TagScratch { packed, encoder, linear, ends, word_rows, targets, .. } = scratch;
        packed.clear();
        ends.clear();
        word_rows.clear();
        targets.clear();
        for (row, key) in rows {
            let start = packed.ids.len();
            packed.push(&self.rows[row].ids, key);
            word_rows.extend(self.rows[row].words.iter().map(|(token, _)| start + token));
            targets.extend(self.rows[row].words.iter().map(|(_, tag)| Some(*tag)));
            ends.push(word_rows.len());
        }
        let states = self.network.forward(parameters, packed, encoder);
        let width = self.head.inputs;
        let words = fit(&mut scratch.states, word_rows.len() * width);
        for (word, token) in words.chunks_exact_mut(width).zip(word_rows.iter()) {
            word.copy_from_slice(&states[token * width..(token + 1) * width]);
        }
        dropout(words, self.head_dropout, Noise { keys: &packed.keys, ends }, HEAD_SITE);
        let logits = fit(&mut scratch.logits, word_rows.len() * self.head.outputs);
        self.head.forward(parameters, (words, Noise::NONE), logits, &mut Vec::new(), linear);
        logits.to_vec()
    }
}

impl Objective for Tagger {
    type Scratch = TagScratch;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn rows(&self) -> usize {
        self.training_rows
    }

    fn tokens(&self, row: usize) -> usize {
        self.rows[row].ids.len()
    }

    fn terms(&self, row: usize) -> usize {
        self.rows[row].words.len()
    }

    fn add_gradient(
        &self,
        parameters: &[f32],
        rows: &[(usize, Key)],
        factor: f32,
        scratch: &mut TagScratch,
        gradient: &mut [f32],
    ) -> f64 {
        let mut logits = self.logits(parameters, rows.iter().map(|(row, key)| (*row, Some(*key))), scratch);
        let TagScratch { packed, encoder, linear, states, ends, word_rows, targets, .. } = scratch;
        if word_rows.is_empty() {
            return 0.0;
        }
        let width = self.head.inputs;
        let loss = cross_entropy(&mut logits, self.head.outputs, targets, 0.0, factor);
        let words = (&states[..word_rows.len() * width], Noise::NONE);
        let grad_words = fit(&mut scratch.grad_words, word_rows.len() * width);
        self.head.backward(parameters, words, &logits, &[], Some(grad_words), gradient, linear);
        dropout(grad_words, self.head_dropout, Noise { keys: &packed.keys, ends }, HEAD_SITE);
        let grad_states = fit(&mut scratch.grad_states, packed.ids.len() * width);
        grad_states.fill(0.0);
        for (word, token) in grad_words.chunks_exact(width).zip(word_rows.iter()) {
            grad_states[token * width..(token + 1) * width].copy_from_slice(word);
        }
        self.network.backward(parameters, packed, grad_states, gradient, encoder);
        loss
    }
}
