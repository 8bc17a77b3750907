//! US social security numbers and the taxpayer numbers that share their shape.

use bantam_types::Label;

use super::number::Sequence;
use super::phone::is_date;
use crate::findings::{FindingKind, Tally};
use crate::view::looked_at;

/// Words that mark nine bare digits as a social security number.
const CUES: [&str; 7] = ["ssn", "social sec", "soc sec", "soc. sec", "social number", "taxpayer", "itin"];

/// How far from the digits a cue may be.
const CUE_BYTES: usize = 64;

/// Looks for groups of 3-2-4 digits, and for nine digits near a cue.
pub(super) fn propose(sequence: &Sequence<'_>, tally: &mut Tally) {
    let count = sequence.groups.len();
    for start in 0..count.saturating_sub(2) {
        let part = sequence.slice(start..start + 3);
        let shaped = [part.size(0), part.size(1), part.size(2)] == [3, 2, 4];
        if shaped && is_gap(part.gap(0)) && part.gap(0) == part.gap(1) && part.stands_alone() {
            note(part.own_digits(), tally);
        }
    }
    if sequence.own_digits().len() == 9 && has_cue(sequence) && !is_date(sequence) {
        note(sequence.own_digits(), tally);
        return;
    }
    for index in 0..count {
        let part = sequence.slice(index..index + 1);
        if count > 1 && part.size(0) == 9 && has_cue(&part) {
            note(part.own_digits(), tally);
        }
    }
}

fn is_gap(gap: &[u8]) -> bool {
    matches!(gap, b"-" | b" " | b"." | b"/" | b" - " | b"_" | b"--")
}

fn has_cue(sequence: &Sequence<'_>) -> bool {
    let span = sequence.span();
    let start = span.start.saturating_sub(CUE_BYTES);
    let end = (span.end + CUE_BYTES).min(sequence.bytes.len());
    let around = &sequence.bytes[start..end];
    looked_at(around.len() * CUES.len());
    CUES.iter().any(|cue| around.windows(cue.len()).any(|window| window == cue.as_bytes()))
}

fn note(digits: &[u8], tally: &mut Tally) {
    if is_issued(digits) {
        tally.add(FindingKind::UsSsn, Label::Restricted, digits);
    } else {
        tally.add(FindingKind::SsnLike, Label::Confidential, digits);
    }
}

/// Returns whether such a number can be issued: not area 000 or 666, group 00 or serial 0000; from area 900 on, only
/// with the groups of taxpayer numbers.
fn is_issued(digits: &[u8]) -> bool {
    let number = |range: std::ops::Range<usize>| {
        digits[range].iter().fold(0u32, |n, &digit| n * 10 + u32::from(digit))
    };
    let (area, group, serial) = (number(0..3), number(3..5), number(5..9));
    let area_fits = match area {
        0 | 666 => false,
        900.. => matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99),
        _ => true,
    };
    area_fits && group != 0 && serial != 0
}
