//! Unigram: splits a piece into its likeliest sequence of tokens.

use super::TokenizerError;
use super::start::{ByteTable, NONE};
use super::vocabulary::excerpt;
use crate::wordpiece::Trie;

/// Subtracted from the lowest score to get the score of an unknown character.
const PENALTY: f64 = 10.0;
/// Longer tokens would make every position slow.
const TOKEN_BYTES_MAX: usize = 1024;

/// Tokens with their log-probabilities.
#[derive(Debug)]
pub(super) struct Unigram {
    trie: Trie,
    /// By id.
    scores: Vec<f64>,
    unknown: Option<u32>,
    unknown_score: f64,
    /// Byte tokens for unknown characters.
    bytes: Option<ByteTable>,
}

/// The best segmentation up to a position.
#[derive(Debug, Clone, Copy)]
struct BestPath {
    score: f64,
    start: u32,
    id: u32,
}

/// Reused working memory.
#[derive(Debug, Default)]
pub(super) struct UnigramScratch {
    best: Vec<BestPath>,
}

impl Unigram {
    /// Builds a model from tokens with ids and scores. Unusable tokens still count for the lowest score, as in the
    /// reference.
    pub(super) fn new(
        tokens: Vec<(&str, u32, f64)>,
        is_usable: &dyn Fn(u32) -> bool,
        unknown: Option<u32>,
        bytes: Option<ByteTable>,
    ) -> Result<Self, TokenizerError> {
        let mut scores = Vec::new();
        let mut least = f64::INFINITY;
        for &(name, id, score) in &tokens {
            if !score.is_finite() || name.len() > TOKEN_BYTES_MAX {
                return Err(TokenizerError::Unsupported {
                    what: "token or score",
                    found: excerpt(name.as_bytes()),
                });
            }
            if scores.len() <= id as usize {
                scores.resize(id as usize + 1, 0.0);
            }
            scores[id as usize] = score;
            least = least.min(score);
        }
        let named = tokens.iter().filter(|(name, id, _)| !name.is_empty() && is_usable(*id));
        let trie = Trie::new(named.map(|(name, id, _)| (name.as_bytes(), *id)).collect())?;
        Ok(Self { trie, scores, unknown, unknown_score: least - PENALTY, bytes })
    }

    /// Appends the tokens of a piece.
    pub(super) fn encode(&self, piece: &str, scratch: &mut UnigramScratch, out: &mut Vec<u32>) {
        // Positions are 32 bits; a word of 4 GiB gives no tokens.
        if u32::try_from(piece.len()).is_err() {
            return;
        }
        let best = &mut scratch.best;
        best.clear();
        best.resize(piece.len() + 1, BestPath { score: f64::NEG_INFINITY, start: NONE, id: NONE });
        best[0].score = 0.0;
        for (start, character) in piece.char_indices() {
            let (so_far, length) = (best[start].score, character.len_utf8());
            let mut has_single = false;
            self.trie.each_prefix(&piece.as_bytes()[start..], |end, id| {
                let score = so_far + self.scores.get(id as usize).copied().unwrap_or(0.0);
                let known = &mut best[start + end];
                if known.start == NONE || score > known.score {
                    *known = BestPath { score, start: start as u32, id };
                }
                has_single |= end == length;
            });
            let known = &mut best[start + length];
            let score = so_far + self.unknown_score;
            if !has_single && (known.start == NONE || score > known.score) {
                *known = BestPath { score, start: start as u32, id: NONE };
            }
        }
        let first = out.len();
        let (mut end, mut unknown_end) = (piece.len(), None);
        // The path is traced backwards, so append backwards and reverse.
        while end > 0 {
            let BestPath { start, id, .. } = best[end];
            let start = start as usize;
            if id == NONE || Some(id) == self.unknown {
                unknown_end = unknown_end.or(Some(end));
            } else {
                self.push_unknown(piece, end, unknown_end.take(), out);
                out.push(id);
            }
            end = start;
        }
        self.push_unknown(piece, 0, unknown_end, out);
        out[first..].reverse();
    }

    /// Appends, backwards, the tokens of a run of unknown characters.
    fn push_unknown(&self, piece: &str, start: usize, end: Option<usize>, out: &mut Vec<u32>) {
        let Some(run) = end.and_then(|end| piece.as_bytes().get(start..end)) else { return };
        // A run of unknown characters can still be a token as a whole.
        if let Some((_, id)) = self.trie.longest(run).filter(|(length, _)| *length == run.len()) {
            return out.push(id);
        }
        match &self.bytes {
            Some(table) if run.iter().all(|byte| table[usize::from(*byte)] != NONE) => {
                out.extend(run.iter().rev().map(|byte| table[usize::from(*byte)]));
            }
            _ => out.extend(self.unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(unigram: &Unigram, text: &str, expected: &[u32]) {
        let mut found = vec![99];
        unigram.encode(text, &mut UnigramScratch::default(), &mut found);
        assert_eq!(found[1..], *expected, "{text:?}");
    }

    #[test]
    fn the_likeliest_tokens_are_chosen() {
        let tokens =
            vec![("<unk>", 0, 0.0), ("a", 1, -2.0), ("b", 2, -2.0), ("ab", 3, -3.0), ("abab", 4, -7.0)];
        let unigram = Unigram::new(tokens, &|_| true, Some(0), None).unwrap();
        check(&unigram, "ab", &[3]);
        check(&unigram, "abab", &[3, 3]);
        check(&unigram, "bab", &[2, 3]);
        check(&unigram, "", &[]);
        check(&unigram, "xéab", &[0, 3]);
        check(&unigram, "axa", &[1, 0, 1]);
    }

    #[test]
    fn unknown_characters_become_byte_tokens_if_there_are_any() {
        let bytes = Box::new(std::array::from_fn(|byte| byte as u32 + 10));
        let unigram = Unigram::new(vec![("a", 1, -2.0)], &|_| true, None, Some(bytes)).unwrap();
        check(&unigram, "aéa", &[1, 0xc3 + 10, 0xa9 + 10, 1]);
        let lost = Unigram::new(vec![("a", 1, -2.0)], &|_| true, None, None).unwrap();
        check(&lost, "xa", &[1]);
    }

    #[test]
    fn scores_that_are_not_finite_are_refused() {
        let error = Unigram::new(vec![("a", 1, f64::NAN)], &|_| true, None, None).unwrap_err();
        assert_eq!(error.to_string(), "the tokenizer's token or score \"a\" is not supported");
    }
}
