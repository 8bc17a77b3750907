//! The tags of words.

use super::TaggedWord;
use crate::slots::SlotSpan;

/// The tags for some slots: outside, then for each slot the first word of a value and a further one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    slots: Vec<String>,
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

    /// Returns the number of tags.
    pub fn len(&self) -> usize {
        1 + 2 * self.slots.len()
    }

    /// Returns whether outside is the only tag.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns the right tag of every word, given the values. A value that ends within a word gets the whole word. If
    /// values share words, only the first is used.
    pub fn of_words(&self, words: &[TaggedWord], spans: &[SlotSpan]) -> Vec<u32> {
        let words: Vec<(usize, usize)> = words.iter().map(|word| (word.start, word.end)).collect();
        let tag = |(slot, is_first): (usize, bool)| (1 + 2 * slot + usize::from(!is_first)) as u32;
        slot_of_words(&words, spans, &self.slots).into_iter().map(|of| of.map_or(0, tag)).collect()
    }

    /// Appends one row of logits in planes: outside, then every slot's first words, then every slot's further words.
    pub(crate) fn to_planes(&self, logits: &[f32], into: &mut Vec<f32>) {
        let (outside, rest) = logits.split_at(1.min(logits.len()));
        into.extend_from_slice(outside);
        into.extend(rest.iter().step_by(2));
        into.extend(rest.iter().skip(1).step_by(2));
    }
}

/// Returns for every word the slot of its value, if it is part of one, and whether it is the value's first word, by the
/// rule of [`Tags::of_words`].
pub(crate) fn slot_of_words(
    words: &[(usize, usize)],
    spans: &[SlotSpan],
    slots: &[String],
) -> Vec<Option<(usize, bool)>> {
    let mut slot_of_words = vec![None; words.len()];
    for span in spans {
        let Ok(slot) = slots.binary_search(&span.slot) else { continue };
        let within = |word: &(usize, usize)| word.0 < span.range.end && span.range.start < word.1;
        let own: Vec<usize> = (0..words.len()).filter(|word| within(&words[*word])).collect();
        if own.iter().any(|word| slot_of_words[*word].is_some()) {
            continue;
        }
        for (nth, word) in own.into_iter().enumerate() {
            slot_of_words[word] = Some((slot, nth == 0));
        }
    }
    slot_of_words
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
    fn tags_the_words_of_values() {
        let span = |slot: &str, range| SlotSpan { slot: slot.into(), range };
        let spans = [span("a", 0..3), span("a", 4..5), span("b", 8..11)];
        assert_eq!(tags().of_words(&words(6), &spans), [1, 2, 1, 0, 3, 4]);
    }

    #[test]
    fn planes_put_first_words_before_further_ones() {
        let mut planes = Vec::new();
        tags().to_planes(&[0.0, 1.0, 2.0, 3.0, 4.0], &mut planes);
        assert_eq!(planes, [0.0, 1.0, 3.0, 2.0, 4.0]);
    }
}
