//! The numbers that stand for names in a record. They are for ever: add, never renumber.
//!
//! Each goes out by an exhaustive match, so that a new variant does not compile without a number,
//! and comes back by searching the same function, so that the two cannot disagree.

use bantam_types::{AttemptOutcome, EscalationReason, Label, RequestOutcome, Tier};

const OUTCOMES: [RequestOutcome; 4] =
    [RequestOutcome::Answered, RequestOutcome::Refused, RequestOutcome::Failed, RequestOutcome::Cancelled];

pub(super) fn label_code(label: Label) -> u8 {
    match label {
        Label::Public => 0,
        Label::Internal => 1,
        Label::Confidential => 2,
        Label::Restricted => 3,
    }
}

pub(super) fn label(code: u8) -> Option<Label> {
    Label::ALL.into_iter().find(|label| label_code(*label) == code)
}

pub(super) fn outcome_code(outcome: RequestOutcome) -> u8 {
    match outcome {
        RequestOutcome::Answered => 0,
        RequestOutcome::Refused => 1,
        RequestOutcome::Failed => 2,
        RequestOutcome::Cancelled => 3,
    }
}

pub(super) fn outcome(code: u8) -> Option<RequestOutcome> {
    OUTCOMES.into_iter().find(|outcome| outcome_code(*outcome) == code)
}

pub(super) fn tier_code(tier: Tier) -> u8 {
    match tier {
        Tier::Local => 0,
        Tier::Mid => 1,
        Tier::Frontier => 2,
    }
}

pub(super) fn tier(code: u8) -> Option<Tier> {
    Tier::ALL.into_iter().find(|tier| tier_code(*tier) == code)
}

pub(crate) fn reason_code(reason: EscalationReason) -> u8 {
    match reason {
        EscalationReason::LowConfidence => 0,
        EscalationReason::Uncertified => 1,
        EscalationReason::InvalidOutput => 2,
        EscalationReason::TooLong => 3,
        EscalationReason::OutOfScope => 4,
        EscalationReason::Timeout => 5,
        EscalationReason::Error => 6,
        EscalationReason::Unavailable => 7,
        EscalationReason::Audit => 8,
    }
}

pub(crate) fn reason(code: u8) -> Option<EscalationReason> {
    EscalationReason::ALL.into_iter().find(|reason| reason_code(*reason) == code)
}

/// How an attempt ended in one byte: the outcome in the upper two bits, its reason below.
pub(super) fn attempt_outcome_code(outcome: AttemptOutcome) -> u8 {
    match outcome {
        AttemptOutcome::Accepted => 0,
        AttemptOutcome::Discarded(reason) => 0x40 | reason_code(reason),
        AttemptOutcome::Failed(reason) => 0x80 | reason_code(reason),
        AttemptOutcome::Cancelled => 0xc0,
    }
}

pub(super) fn attempt_outcome(code: u8) -> Option<AttemptOutcome> {
    match (code & 0xc0, code & 0x3f) {
        (0, 0) => Some(AttemptOutcome::Accepted),
        (0x40, low) => reason(low).map(AttemptOutcome::Discarded),
        (0x80, low) => reason(low).map(AttemptOutcome::Failed),
        (0xc0, 0) => Some(AttemptOutcome::Cancelled),
        _ => None,
    }
}
