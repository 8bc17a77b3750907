//! Tags of words, and from their logits to whole values.

use super::{Field, TaggedWord};
use crate::linear::exponential::exp;
use crate::slots::SlotSpan;

/// The tags of some slots: outside of any, then for each slot the first word of a value and a further one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    slots: Vec<String>,
}

/// What a tag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Outside,
    First(usize),
    Further(usize),
}

impl Tag {
    fn of(index: usize) -> Self {
        match index.checked_sub(1) {
            None => Self::Outside,
            Some(rest) if rest % 2 == 0 => Self::First(rest / 2),
            Some(rest) => Self::Further(rest / 2),
        }
    }

    /// Whether this tag may follow `before`: a value goes on only where one of its slot has begun.
    fn may_follow(self, before: Self) -> bool {
        match self {
            Self::Further(slot) => before == Self::First(slot) || before == Self::Further(slot),
            _ => true,
        }
    }
}

impl Tags {
    /// Returns the tags of `slots`, which are in byte order.
    pub fn new(slots: Vec<String>) -> Self {
        Self { slots }
    }

    /// Returns the slots.
    pub fn slots(&self) -> &[String] {
        &self.slots
    }

    /// Returns how many tags there are.
    pub fn len(&self) -> usize {
        1 + 2 * self.slots.len()
    }

    /// Returns whether there is nothing but outside.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns the right tag of every word, given the values. A value that ends within a word has all of it; of
    /// values that share words the first has them, and the other is not learnt.
    pub fn of_words(&self, words: &[TaggedWord], spans: &[SlotSpan]) -> Vec<u32> {
        let mut tags = vec![0; words.len()];
        for span in spans {
            let Ok(slot) = self.slots.binary_search(&span.slot) else { continue };
            let within = |word: &TaggedWord| word.start < span.range.end && span.range.start < word.end;
            let first = words.iter().position(within);
            if words.iter().zip(&tags).any(|(word, tag)| within(word) && *tag != 0) {
                continue;
            }
            for (index, word) in words.iter().enumerate() {
                if within(word) {
                    tags[index] = (1 + 2 * slot + usize::from(first != Some(index))) as u32;
                }
            }
        }
        tags
    }

    /// Returns the values that the likeliest sequence of tags makes, given one row of calibrated logits a word.
    pub(super) fn fields<'a>(
        &'a self,
        text: &'a str,
        words: &[TaggedWord],
        logits: &[f32],
    ) -> Vec<Field<'a>> {
        let best = self.best(logits);
        let mut fields: Vec<Field<'a>> = Vec::new();
        for ((word, tag), logits) in words.iter().zip(&best).zip(logits.chunks_exact(self.len())) {
            let probability = share(logits, *tag);
            match (Tag::of(*tag), fields.last_mut()) {
                (Tag::First(slot), _) => fields.push(Field {
                    name: &self.slots[slot],
                    value: &text[word.start..word.end],
                    start: word.start,
                    end: word.end,
                    confidence: probability,
                }),
                (Tag::Further(_), Some(field)) => {
                    field.end = word.end;
                    field.value = &text[field.start..field.end];
                    field.confidence = field.confidence.min(probability);
                }
                _ => {}
            }
        }
        fields
    }

    /// The sequence of tags with the largest sum of logits among those that make whole values (Viterbi).
    fn best(&self, logits: &[f32]) -> Vec<usize> {
        let count = self.len();
        let words = logits.len() / count;
        let mut scores: Vec<f32> = Vec::new();
        let mut from = vec![0; words * count];
        for (word, row) in logits.chunks_exact(count).enumerate() {
            let before = std::mem::take(&mut scores);
            for (tag, logit) in row.iter().enumerate() {
                let reached = if word == 0 {
                    // Nothing has begun before the first word.
                    if Tag::of(tag).may_follow(Tag::Outside) { 0.0 } else { f32::NEG_INFINITY }
                } else {
                    let may = (0..count).filter(|before| Tag::of(tag).may_follow(Tag::of(*before)));
                    let best = may.max_by(|a, b| before[*a].total_cmp(&before[*b])).unwrap_or(0);
                    from[word * count + tag] = best;
                    before[best]
                };
                scores.push(reached + logit);
            }
        }
        let mut tags = vec![0; words];
        let mut tag = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap_or(0);
        for word in (0..words).rev() {
            tags[word] = tag;
            tag = from[word * count + tag];
        }
        tags
    }
}

/// The softmax of one of the logits.
fn share(logits: &[f32], tag: usize) -> f32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    exp(logits[tag] - highest) / logits.iter().map(|logit| exp(logit - highest)).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> Tags {
        Tags::new(vec!["a".into(), "b".into()])
    }

    fn words(count: usize) -> Vec<TaggedWord> {
        (0..count).map(|word| TaggedWord { start: 2 * word, end: 2 * word + 1, token: word + 1 }).collect()
    }

    #[test]
    fn values_and_tags_are_two_ways_to_say_the_same() {
        let (tags, text) = (tags(), "p q r s t u");
        let span = |slot: &str, range| SlotSpan { slot: slot.into(), range };
        let spans = [span("a", 0..3), span("a", 4..5), span("b", 8..11)];
        let right = tags.of_words(&words(6), &spans);
        assert_eq!(right, [1, 2, 1, 0, 3, 4]);
        let mut logits = vec![0.0; 6 * 5];
        right.iter().enumerate().for_each(|(word, tag)| logits[word * 5 + *tag as usize] = 4.0);
        let found = tags.fields(text, &words(6), &logits);
        let flat: Vec<_> =
            found.iter().map(|field| (field.name, field.value, field.start, field.end)).collect();
        assert_eq!(flat, [("a", "p q", 0, 3), ("a", "r", 4, 5), ("b", "t u", 8, 11)]);
        assert!(found.iter().all(|field| field.confidence > 0.9 && field.confidence < 1.0));
    }

    #[test]
    fn a_value_never_goes_on_where_none_began() {
        let tags = tags();
        // Both words would rather be a further word of b.
        let logits = [0.0, 0.0, 0.0, 1.0, 5.0, 0.0, 0.0, 0.0, 0.0, 5.0];
        assert_eq!(tags.best(&logits), [3, 4]);
        // And of different slots.
        let logits = [0.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 0.0, 5.0];
        assert_eq!(tags.best(&logits), [1, 2]);
        assert_eq!(tags.best(&[]), [0; 0]);
    }
}
