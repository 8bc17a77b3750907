//! From an answer and what was proved to a verdict.

use bantam_types::{EscalationReason, Verdict};

/// From which probability on a student's answer may be returned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gate {
    /// A certificate holds for this very student.
    Certified {
        /// Its threshold.
        threshold: f32,
    },
    /// No certificate holds, and the configuration allows answering all the same.
    Uncertified {
        /// The threshold that the configuration names.
        threshold: f32,
    },
    /// No certificate holds: the student never answers alone.
    Closed,
}

/// What a student said of its own answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StudentFacts {
    /// The calibrated probability of its answer.
    pub probability: f32,
    /// Whether the request looked like none of its task's.
    pub out_of_scope: bool,
    /// Whether its answer is one that the task allows.
    pub allowed: bool,
}

/// Judges a student's answer.
///
/// The order of the tests is part of the contract: an answer that the task does not allow is never
/// returned however sure the student is, and a closed gate is named before a low confidence.
pub fn judge_student(facts: StudentFacts, gate: Gate) -> Verdict {
    if !facts.allowed {
        return Verdict::Escalate(EscalationReason::InvalidOutput);
    }
    let threshold = match gate {
        Gate::Closed => return Verdict::Escalate(EscalationReason::Uncertified),
        Gate::Certified { threshold } | Gate::Uncertified { threshold } => threshold,
    };
    // A probability that is no number compares false with everything and must not pass.
    let confident = facts.probability >= threshold;
    match (confident, facts.out_of_scope) {
        (false, _) => Verdict::Escalate(EscalationReason::LowConfidence),
        (true, true) => Verdict::Escalate(EscalationReason::OutOfScope),
        (true, false) => Verdict::Accept,
    }
}

/// Returns which of `labels` a model's free text names, or `None`.
///
/// Models wrap labels in quotes, full stops, code fences and case; that is forgiven. A text that holds
/// more than one label, or a label and other words, is no answer.
pub fn match_label(text: &str, labels: &[impl AsRef<str>]) -> Option<usize> {
    let trimmed = text.trim();
    let exact = labels.iter().position(|label| label.as_ref() == trimmed);
    exact.or_else(|| {
        let wrapping = |symbol: char| symbol.is_whitespace() || "\"'`*.:,;".contains(symbol);
        let bare = trimmed.trim_matches(wrapping);
        let mut matches =
            labels.iter().enumerate().filter(|(_, label)| label.as_ref().eq_ignore_ascii_case(bare));
        match (matches.next(), matches.next()) {
            (Some((index, _)), None) => Some(index),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        probability: f32,
        out_of_scope: bool,
        allowed: bool,
        gate: Gate,
        expected: Option<EscalationReason>,
    ) {
        let got = judge_student(StudentFacts { probability, out_of_scope, allowed }, gate);
        assert_eq!(got, expected.map_or(Verdict::Accept, Verdict::Escalate));
    }

    #[test]
    fn accepts_only_what_every_test_passes() {
        let gate = Gate::Certified { threshold: 0.9 };
        check(0.9, false, true, gate, None);
        check(0.89, false, true, gate, Some(EscalationReason::LowConfidence));
        check(f32::NAN, false, true, gate, Some(EscalationReason::LowConfidence));
        check(1.0, true, true, gate, Some(EscalationReason::OutOfScope));
        check(1.0, false, false, gate, Some(EscalationReason::InvalidOutput));
        check(1.0, false, true, Gate::Closed, Some(EscalationReason::Uncertified));
        check(0.6, false, true, Gate::Uncertified { threshold: 0.5 }, None);
    }

    #[test]
    fn a_label_is_found_through_wrapping_but_never_guessed() {
        let labels = ["card_lost", "Card_Lost", "refund"];
        for (text, expected) in [
            ("refund", Some(2)),
            (" \"Refund.\"\n", Some(2)),
            ("`REFUND`", Some(2)),
            ("card_lost", Some(0)),
            ("Card_Lost", Some(1)),
            ("CARD_LOST", None),
            ("refund or card_lost", None),
            ("the label is refund", None),
            ("", None),
        ] {
            assert_eq!(match_label(text, &labels), expected, "{text:?}");
        }
    }
}
