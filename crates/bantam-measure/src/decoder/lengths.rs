//! How many tokens the cases have: as many as usual, or as many as the model's context takes.

use super::LABELS;
use crate::report::CaseLengths;

/// The shortest context that cases of some meaning fit into.
pub(super) const CONTEXT_MIN: usize = 32;

/// Tokens of the cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    /// Of one prompt that is read in one go.
    pub(super) prefill: usize,
    /// Behind each sequence when decoding begins.
    pub(super) behind: usize,
    /// Of the beginning that requests of a task share.
    pub(super) cached: usize,
    /// Of what is new to each.
    pub(super) new: usize,
    /// Of the prompt of a caller that talks.
    pub(super) talk: usize,
    /// Of an answer.
    pub(super) answer: usize,
}

/// What cases have unless the context is too short.
const USUAL: Lengths = Lengths { prefill: 512, behind: 64, cached: 300, new: 60, talk: 100, answer: 32 };

impl Lengths {
    /// Returns the lengths for a model that takes `context` tokens, at least [`CONTEXT_MIN`].
    pub(super) fn fitting(context: usize) -> Self {
        let within = |usual: usize, whole: usize| usual.min(usual * context / whole).max(1);
        // Each part of a request keeps its share; a token is left for what follows.
        let request = USUAL.cached + USUAL.new + 1;
        let talk = USUAL.talk + USUAL.answer;
        Self {
            prefill: USUAL.prefill.min(context),
            behind: USUAL.behind.min(context / 2),
            cached: within(USUAL.cached, request),
            new: within(USUAL.new, request),
            talk: within(USUAL.talk, talk),
            answer: within(USUAL.answer, talk),
        }
    }

    /// Says that cases are shorter than usual, where they are.
    pub(super) fn note(&self, context: usize) -> Option<String> {
        (*self != USUAL).then(|| {
            format!(
                "the model takes {context} tokens, so cases are shorter than usual, and not to be compared with those of \
                 other models: {} in place of {} to read in one go, {} + {} in place of {} + {} to score",
                self.prefill, USUAL.prefill, self.cached, self.new, USUAL.cached, USUAL.new
            )
        })
    }

    pub(super) fn report(&self) -> CaseLengths {
        let Self { prefill, behind, cached, new, talk, answer } = *self;
        CaseLengths { prefill, behind, cached, new, talk, answer, labels: LABELS as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_context_changes_nothing_and_a_short_one_holds_every_case() {
        assert_eq!((Lengths::fitting(512), Lengths::fitting(512).note(512)), (USUAL, None));
        for context in CONTEXT_MIN..512 {
            let lengths = Lengths::fitting(context);
            assert!(lengths.prefill <= context && lengths.behind < context, "{context}");
            assert!(lengths.cached + lengths.new < context, "{context}");
            assert!(lengths.talk + lengths.answer <= context, "{context}");
            assert!(lengths.cached > lengths.new && lengths.new > 0 && lengths.answer > 0, "{context}");
            assert!(lengths.note(context).unwrap().contains(&format!("takes {context} tokens")));
        }
    }
}
