//! What a tagger finds in one text, from the scores of its words.

use super::Field;
use super::certainty::{Certainty, Evidence};
use super::lattice::{Lattice, Steps};
use super::linear::features::Seen;

/// Values, and how sure a tagger is of all of them together.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading<'a> {
    /// The values, in the text's order.
    pub fields: Vec<Field<'a>>,
    /// The probability that these are all values there are, each right. 0 where not all of the text was read.
    pub confidence: f32,
    /// Whether all of the text was read.
    pub is_whole: bool,
}

/// Working memory of taggers.
#[derive(Debug, Default)]
pub(crate) struct TaggerScratch {
    pub(crate) seen: Seen,
    pub(crate) scores: Vec<f32>,
    pub(crate) lattice: Lattice,
}

/// What scores are read with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'r> {
    /// Slots, in byte order.
    pub(crate) slots: &'r [String],
    pub(crate) steps: &'r Steps,
    /// The powers of the steps.
    pub(crate) powers: &'r Steps,
}

impl<'r> Reader<'r> {
    /// Returns the values of the likeliest sequence, given the words' places and calibrated scores in planes, and the
    /// evidence for them.
    pub(crate) fn read<'a>(
        self,
        text: &'a str,
        words: &[(usize, usize)],
        scores: &[f32],
        lattice: &mut Lattice,
    ) -> (Vec<Field<'a>>, Evidence)
    where
        'r: 'a,
    {
        lattice.sum(scores, self.powers);
        let (path, score) = lattice.best(scores, self.steps);
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
        let fields: Vec<Field<'a>> = spans
            .iter()
            .map(|(slot, first, last)| {
                let (start, end) = (words[*first].0, words[*last].1);
                let confidence = lattice.value_probability((*first, *last), *slot, self.powers);
                Field { name: &self.slots[*slot], value: &text[start..end], start, end, confidence }
            })
            .collect();
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
            words: words.len(),
            unknown: 0.0,
        };
        (fields, evidence)
    }
}

impl<'a> Reading<'a> {
    /// Puts values and what is known of them together. Without a fitted certainty, an answer is as sure as its least
    /// sure part.
    pub(crate) fn new(
        fields: Vec<Field<'a>>,
        evidence: &Evidence,
        certainty: Option<&Certainty>,
        is_whole: bool,
    ) -> Self {
        let sure = certainty.map_or(evidence.least.min(evidence.outside), |certainty| certainty.of(evidence));
        Self { fields, confidence: if is_whole { sure } else { 0.0 }, is_whole }
    }
}
