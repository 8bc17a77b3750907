//! Turns the scores of a text's words into values.

use super::Field;
use super::certainty::{Certainty, Evidence};
use super::lattice::{Lattice, Transitions};
use super::linear::features::TextFeatures;

/// The values found in a text, and the confidence in all of them together.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading<'a> {
    /// The values, in the text's order.
    pub fields: Vec<Field<'a>>,
    /// The probability that exactly these values are right; 0 if not all of the text was read.
    pub confidence: f32,
    /// Whether all of the text was read.
    pub is_whole: bool,
}

/// Working memory of taggers.
#[derive(Debug, Default)]
pub(crate) struct TaggerScratch {
    pub(crate) features: TextFeatures,
    pub(crate) scores: Vec<f32>,
    /// The encoder's scores of the same words.
    pub(crate) encoder_scores: Vec<f32>,
    pub(crate) lattice: Lattice,
}

/// The values found by a reader.
#[derive(Debug, Clone)]
pub(crate) struct Extraction<'a> {
    /// The values, in the text's order.
    pub(crate) fields: Vec<Field<'a>>,
    pub(crate) evidence: Evidence,
    /// The tag of every word in the most probable sequence, in planes.
    pub(crate) path: Vec<usize>,
}

/// Reads values from scores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'r> {
    /// Slots, in byte order.
    pub(crate) slots: &'r [String],
    pub(crate) transitions: &'r Transitions,
    /// The exponentials of the transitions.
    pub(crate) exponentials: &'r Transitions,
    /// The slots that every text has a value of. If the most probable sequence has none, the most probable value is
    /// taken.
    pub(crate) usual: &'r [String],
}

impl<'r> Reader<'r> {
    /// Returns the values of the most probable sequence and their evidence, given the words' byte ranges and calibrated
    /// scores in planes.
    pub(crate) fn read<'a>(
        self,
        text: &'a str,
        words: &[(usize, usize)],
        scores: &[f32],
        lattice: &mut Lattice,
    ) -> Extraction<'a>
    where
        'r: 'a,
    {
        lattice.sum(scores, self.exponentials);
        let (path, score) = lattice.best(scores, self.transitions);
        let count = self.slots.len();
        let mut spans: Vec<(usize, usize, usize)> = Vec::new();
        let mut outside = 1.0_f32;
        for (word, tag) in path.iter().enumerate() {
            match (tag.checked_sub(1), spans.last_mut()) {
                (None, _) => outside = outside.min(lattice.probability(word, 0)),
                (Some(slot), _) if slot < count => spans.push((slot, word, word)),
                (Some(_), Some(span)) => span.2 = word,
                (Some(_), None) => {}
            }
        }
        let mut found: Vec<((usize, usize), usize, f32)> = Vec::new();
        for (slot, first, last) in spans {
            found.push((
                (first, last),
                slot,
                lattice.value_probability((first, last), slot, self.exponentials),
            ));
        }
        self.fill(lattice, &mut found);
        let field = |((first, last), slot, confidence): &((usize, usize), usize, f32)| {
            let (start, end) = (words[*first].0, words[*last].1);
            let (name, value) = (self.slots[*slot].as_str(), &text[start..end]);
            Field { name, value, start, end, confidence: *confidence }
        };
        let fields: Vec<Field<'a>> = found.iter().map(field).collect();
        let shares = || fields.iter().map(|field| field.confidence);
        let evidence = Evidence {
            values: fields.len(),
            least: shares().fold(1.0, f32::min),
            mean: if fields.is_empty() { 1.0 } else { shares().sum::<f32>() / fields.len() as f32 },
            outside,
            whole: if path.is_empty() {
                1.0
            } else {
                (f64::from(score) - lattice.total).exp().min(1.0) as f32
            },
            agreement: 1.0,
            words: words.len(),
            unknown: 0.0,
        };
        Extraction { fields, evidence, path }
    }

    /// Adds the most probable value of every usual slot that has none, among words outside of other values.
    fn fill(self, lattice: &Lattice, found: &mut Vec<((usize, usize), usize, f32)>) {
        for name in self.usual {
            let Ok(slot) = self.slots.binary_search(name) else { continue };
            if found.iter().any(|(_, of, _)| *of == slot) {
                continue;
            }
            let is_free =
                |word: usize| found.iter().all(|((first, last), _, _)| word < *first || *last < word);
            if let Some((span, probability)) = lattice.most_probable_value(slot, self.exponentials, &is_free)
            {
                found.push((span, slot, probability));
            }
        }
        found.sort_by_key(|(span, _, _)| *span);
    }
}

impl<'a> Reading<'a> {
    /// Combines values and their evidence. Without a fitted calibration, the confidence is that of the least confident
    /// part.
    pub(crate) fn new(
        fields: Vec<Field<'a>>,
        evidence: &Evidence,
        certainty: Option<&Certainty>,
        is_whole: bool,
    ) -> Self {
        let confidence =
            certainty.map_or(evidence.least.min(evidence.outside), |certainty| certainty.of(evidence));
        Self { fields, confidence: if is_whole { confidence } else { 0.0 }, is_whole }
    }
}
