//! Turns an answer and its certificate into a verdict.

use bantam_types::{EscalationReason, Verdict};

/// The lowest probability at which a student's answer may be returned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gate {
    /// A certificate is valid for this student.
    Certified {
        /// The certificate's threshold.
        threshold: f32,
    },
    /// No certificate is valid, but the configuration allows answering without one.
    Uncertified {
        /// The configured threshold.
        threshold: f32,
    },
    /// No certificate is valid: the student never answers alone.
    Closed,
}

/// What a student reports about its own answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StudentFacts {
    /// The calibrated probability of its answer.
    pub probability: f32,
    /// Whether the request looked as if it did not belong to the task.
    pub out_of_scope: bool,
    /// Whether the task allows its answer.
    pub allowed: bool,
}

/// Judges a student's answer.
///
/// The order of the tests is part of the contract: an answer that the task does not allow is never
/// returned, however confident the student is, and a closed gate is reported before low confidence.
pub fn judge_student(facts: StudentFacts, gate: Gate) -> Verdict {
    if !facts.allowed {
        return Verdict::Escalate(EscalationReason::InvalidOutput);
    }
    let threshold = match gate {
        Gate::Closed => return Verdict::Escalate(EscalationReason::Uncertified),
        Gate::Certified { threshold } | Gate::Uncertified { threshold } => threshold,
    };
    // NaN compares false with everything, so it must not pass.
    let confident = facts.probability >= threshold;
    match (confident, facts.out_of_scope) {
        (false, _) => Verdict::Escalate(EscalationReason::LowConfidence),
        (true, true) => Verdict::Escalate(EscalationReason::OutOfScope),
        (true, false) => Verdict::Accept,
    }
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
    fn accepts_only_answers_that_pass_every_test() {
        let gate = Gate::Certified { threshold: 0.9 };
        check(0.9, false, true, gate, None);
        check(0.89, false, true, gate, Some(EscalationReason::LowConfidence));
        check(f32::NAN, false, true, gate, Some(EscalationReason::LowConfidence));
        check(1.0, true, true, gate, Some(EscalationReason::OutOfScope));
        check(1.0, false, false, gate, Some(EscalationReason::InvalidOutput));
        check(1.0, false, true, Gate::Closed, Some(EscalationReason::Uncertified));
        check(0.6, false, true, Gate::Uncertified { threshold: 0.5 }, None);
    }
}
