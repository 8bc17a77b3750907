//! Text classification: an encoder's vector of a text, and a linear head on it.

use bantam_kernels::Pool;

use crate::encoder::{EncoderNetwork, EncoderScratch, Packed};
use crate::layout::{Layout, ParameterGroup};
use crate::ops::{
    Linear, LinearScratch, Noise, PoolKind, PooledSaved, Site, Weight, cross_entropy, dropout, fit, pool,
    pool_back,
};
use crate::random::Key;
use crate::run::Objective;
use std::sync::{Mutex, PoisonError};

/// Tokens per forward pass when only predicting.
const SLICE_TOKENS: usize = 512;
/// The dropout site before the head.
const HEAD_SITE: Site = Site(u64::MAX);

/// A classifier over one network, with its tokenised texts and their classes.
#[derive(Debug)]
pub struct Classifier {
    network: EncoderNetwork,
    layout: Layout,
    head: Linear,
    pooling: PoolKind,
    rows: Vec<(Vec<u32>, u32)>,
    /// The number of rows at the front that are trained on; the rest are held out.
    training_rows: usize,
    smoothing: f32,
    head_dropout: f32,
}

/// A thread's buffers for a classifier.
#[derive(Debug, Default)]
pub struct ClassifierScratch {
    packed: Packed,
    /// 1 to the number of sequences: each has exactly one vector.
    vector_ends: Vec<usize>,
    encoder: EncoderScratch,
    pooled: PooledSaved,
    vectors: Vec<f32>,
    dropped: Vec<f32>,
    logits: Vec<f32>,
    grad_vectors: Vec<f32>,
    grad_states: Vec<f32>,
    targets: Vec<Option<u32>>,
    linear: LinearScratch,
}

impl Classifier {
    /// Returns a classifier of `classes` labels. Each row is a text's token ids and its class; the first
    /// `training_rows` of them are trained on and the others are held out. `layout` already holds the network's
    /// adapter.
    ///
    /// # Panics
    /// If a row has no ids or a class beyond `classes`, or there are fewer than `training_rows`.
    pub fn new(
        network: EncoderNetwork,
        mut layout: Layout,
        pooling: PoolKind,
        (rows, training_rows, classes): (Vec<(Vec<u32>, u32)>, usize, usize),
        (smoothing, head_dropout): (f32, f32),
    ) -> Self {
        assert!(training_rows <= rows.len());
        assert!(rows.iter().all(|(ids, class)| !ids.is_empty() && (*class as usize) < classes));
        let inputs = network.config().hidden;
        let weight = layout.add("head.weight".to_owned(), [classes, inputs], true, ParameterGroup::Head);
        let bias = layout.add("head.bias".to_owned(), [1, classes], false, ParameterGroup::Head);
        let head = Linear { outputs: classes, inputs, weight: Weight::Trained(weight, bias), lora: None };
        Self { network, layout, head, pooling, rows, training_rows, smoothing, head_dropout }
    }

    /// Returns the network below the head.
    pub fn network(&self) -> &EncoderNetwork {
        &self.network
    }

    /// Returns the head's weights, a row for each class, and its biases.
    pub fn head<'p>(&self, parameters: &'p [f32]) -> (&'p [f32], &'p [f32]) {
        match &self.head.weight {
            Weight::Trained(weight, bias) => (&parameters[weight.clone()], &parameters[bias.clone()]),
            Weight::Frozen(..) => (&[], &[]),
        }
    }

    /// Returns the initial parameters: an adapter that has no effect yet, and a head whose logit for a class is how
    /// close a vector is to the class's mean, times `sharpness`. Gradients of a randomly initialised head would first
    /// distort the encoder's vectors.
    pub fn initial(&self, seed: u64, sharpness: f32, threads: &Pool) -> Vec<f32> {
        let mut parameters = vec![0.0; self.layout.len()];
        self.network.initialise(&self.layout, seed, &mut parameters);
        let all: Vec<usize> = (0..self.training_rows).collect();
        let vectors = self.vectors(&parameters, &all, threads);
        let (width, classes) = (self.head.inputs, self.head.outputs);
        let mut means = vec![0.0_f64; classes * width];
        let mut centre = vec![0.0_f64; width];
        let mut counts = vec![0.0_f64; classes];
        for (vector, (_, class)) in vectors.chunks_exact(width).zip(&self.rows) {
            let class = *class as usize;
            counts[class] += 1.0;
            for (index, number) in vector.iter().enumerate() {
                means[class * width + index] += f64::from(*number);
                centre[index] += f64::from(*number) / self.training_rows.max(1) as f64;
            }
        }
        let Weight::Trained(weight, bias) = &self.head.weight else { return parameters };
        for (class, count) in counts.iter().enumerate() {
            let mut offset = 0.0;
            for (index, centre) in centre.iter().enumerate() {
                let from_centre =
                    f64::from(sharpness) * (means[class * width + index] / count.max(1.0) - centre);
                parameters[weight.start + class * width + index] = from_centre as f32;
                offset -= from_centre * centre;
            }
            parameters[bias.start + class] = offset as f32;
        }
        parameters
    }

    /// Returns the vectors of rows, concatenated and without dropout.
    pub fn vectors(&self, parameters: &[f32], rows: &[usize], threads: &Pool) -> Vec<f32> {
        let width = self.head.inputs;
        let mut parts: Vec<&[usize]> = Vec::new();
        let mut rest = rows;
        while !rest.is_empty() {
            let mut tokens = 0;
            let count = rest.iter().take_while(|row| {
                tokens += self.rows[**row].0.len();
                tokens <= SLICE_TOKENS
            });
            let (part, after) = rest.split_at(count.count().max(1));
            parts.push(part);
            rest = after;
        }
        let scratch: Vec<Mutex<ClassifierScratch>> =
            (0..threads.threads()).map(|_| Mutex::default()).collect();
        let found: Vec<Mutex<Vec<f32>>> = parts.iter().map(|_| Mutex::default()).collect();
        threads.run(parts.len(), |thread, index| {
            let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let rows = parts[index].iter().map(|row| (*row, None));
            self.pooled(parameters, rows, &mut scratch);
            let vectors = scratch.vectors[..parts[index].len() * width].to_vec();
            *found[index].lock().unwrap_or_else(PoisonError::into_inner) = vectors;
        });
        found.into_iter().flat_map(|part| part.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    /// Returns the most likely class of each of `rows`.
    pub fn predict(&self, parameters: &[f32], rows: &[usize], threads: &Pool) -> Vec<u32> {
        let (weights, bias) = self.head(parameters);
        let width = self.head.inputs;
        let vectors = self.vectors(parameters, rows, threads);
        let score = |vector: &[f32], class: usize| -> f32 {
            let weights = &weights[class * width..(class + 1) * width];
            bias[class] + weights.iter().zip(vector).map(|(weight, number)| weight * number).sum::<f32>()
        };
        let best = |vector: &[f32]| {
            let scores: Vec<f32> = (0..bias.len()).map(|class| score(vector, class)).collect();
            (0..bias.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap_or(0) as u32
        };
        vectors.chunks_exact(width).map(best).collect()
    }

    /// Returns the accuracy on the held-out rows.
    pub fn held_out_accuracy(&self, parameters: &[f32], threads: &Pool) -> f64 {
        let rows: Vec<usize> = (self.training_rows..self.rows.len()).collect();
        let found = self.predict(parameters, &rows, threads);
        let right = rows.iter().zip(&found).filter(|(row, class)| self.rows[**row].1 == **class);
        right.count() as f64 / rows.len().max(1) as f64
    }

    /// Writes the rows' vectors to the scratch.
    fn pooled(
        &self,
        parameters: &[f32],
        rows: impl Iterator<Item = (usize, Option<Key>)>,
        scratch: &mut ClassifierScratch,
    ) {
        let packed = &mut scratch.packed;
        packed.clear();
        rows.for_each(|(row, key)| packed.push(&self.rows[row].0, key));
        let states = self.network.forward(parameters, packed, &mut scratch.encoder);
        let vectors = fit(&mut scratch.vectors, packed.ends.len() * self.head.inputs);
        pool(self.pooling, states, &packed.ends, vectors, &mut scratch.pooled);
    }
}

impl Objective for Classifier {
    type Scratch = ClassifierScratch;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn rows(&self) -> usize {
        self.training_rows
    }

    fn tokens(&self, row: usize) -> usize {
        self.rows[row].0.len()
    }

    fn terms(&self, _: usize) -> usize {
        1
    }

    fn add_gradient(
        &self,
        parameters: &[f32],
        rows: &[(usize, Key)],
        factor: f32,
        scratch: &mut ClassifierScratch,
        gradient: &mut [f32],
    ) -> f64 {
        self.pooled(parameters, rows.iter().map(|(row, key)| (*row, Some(*key))), scratch);
        let ClassifierScratch { packed, encoder, pooled, linear, .. } = scratch;
        let (count, width, classes) = (rows.len(), self.head.inputs, self.head.outputs);
        let vectors = &scratch.vectors[..count * width];
        scratch.vector_ends.clear();
        scratch.vector_ends.extend(1..=count);
        let noise = Noise { keys: &packed.keys, ends: &scratch.vector_ends };
        let dropped = fit(&mut scratch.dropped, count * width);
        dropped.copy_from_slice(vectors);
        dropout(dropped, self.head_dropout, noise, HEAD_SITE);
        let logits = fit(&mut scratch.logits, count * classes);
        self.head.forward(parameters, (dropped, Noise::NONE), logits, &mut Vec::new(), linear);
        scratch.targets.clear();
        scratch.targets.extend(rows.iter().map(|(row, _)| Some(self.rows[*row].1)));
        let loss = cross_entropy(logits, classes, &scratch.targets, self.smoothing, factor);
        let grad_vectors = fit(&mut scratch.grad_vectors, count * width);
        self.head.backward(
            parameters,
            (dropped, Noise::NONE),
            logits,
            &[],
            Some(grad_vectors),
            gradient,
            linear,
        );
        dropout(grad_vectors, self.head_dropout, noise, HEAD_SITE);
        let grad_states = fit(&mut scratch.grad_states, packed.ids.len() * width);
        pool_back(self.pooling, vectors, &packed.ends, grad_vectors, grad_states, pooled);
        self.network.backward(parameters, packed, grad_states, gradient, encoder);
        loss
    }
}
