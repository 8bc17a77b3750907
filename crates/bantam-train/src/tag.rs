//! Learning tags of words: an encoder's state of each word's first token, and a head on it.

use std::sync::{Mutex, PoisonError};

use bantam_kernels::Pool;

use crate::encoder::{EncoderNetwork, EncoderScratch, Packed};
use crate::layout::{Layout, Pace};
use crate::ops::{Linear, LinearScratch, Noise, Site, Weight, cross_entropy, dropout, fit};
use crate::random::Key;
use crate::run::Objective;

/// Dropped before the head.
const HEAD_SITE: Site = Site(u64::MAX);
/// What a head's weights begin as, on average, as in a BERT.
const HEAD_SPREAD: f32 = 0.02;

/// A text's ids, and the tag of each of its words beside the place of the word's first token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagRow {
    /// What the encoder reads.
    pub ids: Vec<u32>,
    /// Place among the ids, and tag.
    pub words: Vec<(usize, u32)>,
}

/// Tokenised texts and their words' tags, for one network.
#[derive(Debug)]
pub struct Tagger {
    network: EncoderNetwork,
    layout: Layout,
    head: Linear,
    rows: Vec<TagRow>,
    learnt: usize,
    head_dropout: f32,
}

/// What a thread computes a tagger in.
#[derive(Debug, Default)]
pub struct TagScratch {
    packed: Packed,
    encoder: EncoderScratch,
    linear: LinearScratch,
    /// The words' states, and where the sequences' words end.
    states: Vec<f32>,
    ends: Vec<usize>,
    /// Each word's row among the tokens.
    places: Vec<usize>,
    targets: Vec<Option<u32>>,
    logits: Vec<f32>,
    of_words: Vec<f32>,
    of_states: Vec<f32>,
}

impl Tagger {
    /// Returns what learns `tags` tags from the first `learnt` of `rows`, while the others may be asked about.
    /// `layout` holds the network's changes already.
    ///
    /// # Panics
    /// If a row has no ids, or a tag or place beyond what there is.
    pub fn new(
        network: EncoderNetwork,
        mut layout: Layout,
        (rows, learnt, tags): (Vec<TagRow>, usize, usize),
        head_dropout: f32,
    ) -> Self {
        let fits = |row: &TagRow| {
            let within = |(place, tag): &(usize, u32)| *place < row.ids.len() && (*tag as usize) < tags;
            !row.ids.is_empty() && row.words.iter().all(within)
        };
        assert!(learnt <= rows.len() && rows.iter().all(fits));
        let inputs = network.config().hidden;
        let weight = layout.add("head.weight".to_owned(), [tags, inputs], true, Pace::Head);
        let bias = layout.add("head.bias".to_owned(), [1, tags], false, Pace::Head);
        let head = Linear { outputs: tags, inputs, weight: Weight::Trained(weight, bias), lora: None };
        Self { network, layout, head, rows, learnt, head_dropout }
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

    /// Returns what training begins with: changes that change nothing yet, and a head of small numbers by chance.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut parameters = vec![0.0; self.layout.len()];
        self.network.initialise(&self.layout, seed, &mut parameters);
        if let Weight::Trained(weight, _) = &self.head.weight {
            let key = Key::new(seed).part(4);
            for (index, number) in parameters[weight.clone()].iter_mut().enumerate() {
                *number = HEAD_SPREAD * key.normal(index as u64);
            }
        }
        parameters
    }

    /// Returns the share of the words not learnt from that are tagged rightly, each on its own.
    pub fn held_out_accuracy(&self, parameters: &[f32], threads: &Pool) -> f64 {
        let rows: Vec<usize> = (self.learnt..self.rows.len()).collect();
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

    /// Returns the logits of all words of rows, and leaves what the way back needs in the scratch.
    fn logits(
        &self,
        parameters: &[f32],
        rows: impl Iterator<Item = (usize, Option<Key>)>,
        scratch: &mut TagScratch,
    ) -> Vec<f32> {
        let TagScratch { packed, encoder, linear, ends, places, targets, .. } = scratch;
        packed.clear();
        ends.clear();
        places.clear();
        targets.clear();
        for (row, key) in rows {
            let start = packed.ids.len();
            packed.push(&self.rows[row].ids, key);
            places.extend(self.rows[row].words.iter().map(|(place, _)| start + place));
            targets.extend(self.rows[row].words.iter().map(|(_, tag)| Some(*tag)));
            ends.push(places.len());
        }
        let states = self.network.forward(parameters, packed, encoder);
        let width = self.head.inputs;
        let words = fit(&mut scratch.states, places.len() * width);
        for (word, place) in words.chunks_exact_mut(width).zip(places.iter()) {
            word.copy_from_slice(&states[place * width..(place + 1) * width]);
        }
        dropout(words, self.head_dropout, Noise { keys: &packed.keys, ends }, HEAD_SITE);
        let logits = fit(&mut scratch.logits, places.len() * self.head.outputs);
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
        self.learnt
    }

    fn tokens(&self, row: usize) -> usize {
        self.rows[row].ids.len()
    }

    fn terms(&self, row: usize) -> usize {
        self.rows[row].words.len()
    }

    fn learn(
        &self,
        parameters: &[f32],
        rows: &[(usize, Key)],
        factor: f32,
        scratch: &mut TagScratch,
        gradient: &mut [f32],
    ) -> f64 {
        let mut logits = self.logits(parameters, rows.iter().map(|(row, key)| (*row, Some(*key))), scratch);
        let TagScratch { packed, encoder, linear, states, ends, places, targets, .. } = scratch;
        if places.is_empty() {
            return 0.0;
        }
        let width = self.head.inputs;
        let loss = cross_entropy(&mut logits, self.head.outputs, targets, 0.0, factor);
        let words = (&states[..places.len() * width], Noise::NONE);
        let of_words = fit(&mut scratch.of_words, places.len() * width);
        self.head.backward(parameters, words, &logits, &[], Some(of_words), gradient, linear);
        dropout(of_words, self.head_dropout, Noise { keys: &packed.keys, ends }, HEAD_SITE);
        let of_states = fit(&mut scratch.of_states, packed.ids.len() * width);
        of_states.fill(0.0);
        for (word, place) in of_words.chunks_exact(width).zip(places.iter()) {
            of_states[place * width..(place + 1) * width].copy_from_slice(word);
        }
        self.network.backward(parameters, packed, of_states, gradient, encoder);
        loss
    }
}
