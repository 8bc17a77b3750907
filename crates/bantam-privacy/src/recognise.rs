//! Recognisers: each looks for candidates at a trigger, validates them, and defines the finding for either result.

mod address;
mod assignment;
mod card;
mod cue;
mod email;
mod iban;
mod network;
mod number;
mod phone;
mod prefix;
mod ssn;

pub(crate) use cue::Cues;

use crate::findings::Tally;
use crate::view::{Triggers, View};

/// What the recognisers noticed that calls for decoding.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DecodeHints {
    /// Separators are written as words or in brackets.
    pub(crate) spelled: bool,
    /// There are tokens long enough to be encoded text.
    pub(crate) long_tokens: bool,
}

/// Runs every recogniser whose trigger occurs in `view`.
pub(crate) fn recognise(view: View<'_>, triggers: Triggers, cues: &Cues, tally: &mut Tally) -> DecodeHints {
    if triggers.digit {
        number::scan(view, tally);
    }
    if triggers.at {
        email::scan(view, tally);
    }
    if triggers.colon || triggers.digit {
        address::scan(view, triggers, tally);
    }
    let long_tokens = prefix::scan(view, tally);
    DecodeHints { spelled: assignment::scan(view, cues, tally), long_tokens }
}

/// Returns whether `byte` could continue a number or word. Bytes of non-ASCII letters count.
const fn is_word(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..))
}
