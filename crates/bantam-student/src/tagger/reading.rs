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
    /// The scores of another reading of the same words.
    pub(crate) others: Vec<f32>,
    pub(crate) lattice: Lattice,
}

/// What a reader makes of scores.
#[derive(Debug, Clone)]
pub(crate) struct Found<'a> {
    /// The values, in the text's order.
    pub(crate) fields: Vec<Field<'a>>,
    pub(crate) evidence: Evidence,
    /// The likeliest tag of every word, in planes.
    pub(crate) path: Vec<usize>,
}

/// What scores are read with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'r> {
    /// Slots, in byte order.
    pub(crate) slots: &'r [String],
    pub(crate) steps: &'r Steps,
    /// The powers of the steps.
    pub(crate) powers: &'r Steps,
    /// The slots that every text has a value of: where the likeliest sequence has none, the likeliest value is taken.
    pub(crate) usual: &'r [String],
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
    ) -> Found<'a>
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
        let mut found: Vec<((usize, usize), usize, f32)> = Vec::new();
        for (slot, first, last) in spans {
            found.push(((first, last), slot, lattice.value_probability((first, last), slot, self.powers)));
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
        Found { fields, evidence, path }
    }

    /// Adds the likeliest value of every usual slot that has none, among the words of no other value.
    fn fill(self, lattice: &Lattice, found: &mut Vec<((usize, usize), usize, f32)>) {
        for name in self.usual {
            let Ok(slot) = self.slots.binary_search(name) else { continue };
            if found.iter().any(|(_, of, _)| *of == slot) {
                continue;
            }
            let is_free =
                |word: usize| found.iter().all(|((first, last), _, _)| word < *first || *last < word);
            if let Some((span, probability)) = lattice.likeliest_value(slot, self.powers, &is_free) {
                found.push((span, slot, probability));
            }
        }
        found.sort_by_key(|(span, _, _)| *span);
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
