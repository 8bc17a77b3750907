//! Payment cards: Luhn and the networks' prefixes.

use bantam_types::Label;

use super::number::Sequence;
use crate::findings::{FindingKind, Tally};
use crate::view::looked_at;

/// Looks for card numbers in whole sequences, in single groups and in evenly grouped stretches.
///
/// Not every stretch of a table of numbers is tried, because some would pass Luhn by chance.
pub(super) fn propose(sequence: &Sequence<'_>, tally: &mut Tally) {
    let count = sequence.groups.len();
    if sequence.own_digits().len() < 12 {
        return;
    }
    let whole = judge(sequence, tally);
    for index in 0..count {
        if count > 1 && sequence.size(index) >= 12 {
            judge(&sequence.slice(index..index + 1), tally);
        }
        if sequence.size(index) > 19 {
            long_run(sequence.group(index), tally);
        }
    }
    if whole {
        return;
    }
    if count <= SHORT_GROUPS_MAX {
        written_shapes(sequence, tally);
    }
    let mut start = 0;
    while start + 1 < count {
        let end = even_stretch(sequence, start);
        for (first, last) in
            [(start, end), (start, start + 4), (start, start + 3), (end.saturating_sub(4), end)]
        {
            if first < last && last <= count && last - first > 1 {
                judge(&sequence.slice(first..last), tally);
            }
        }
        start = if end > start + 2 { end - 1 } else { start + 1 };
    }
}

/// Longer sequences are tables, in which cards are only looked for at the ends of even stretches.
const SHORT_GROUPS_MAX: usize = 12;

/// The group sizes in which cards are written, also next to an expiry date or a house number.
const SHAPES: [&[usize]; 5] = [&[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 5, 6], &[8, 8]];

fn written_shapes(sequence: &Sequence<'_>, tally: &mut Tally) {
    let count = sequence.groups.len();
    for shape in SHAPES {
        for start in 0..(count + 1).saturating_sub(shape.len()) {
            if shape.iter().enumerate().all(|(index, &size)| sequence.size(start + index) == size) {
                judge(&sequence.slice(start..start + shape.len()), tally);
            }
        }
    }
}

/// Returns the end of the stretch from `start` whose groups have one size and one gap; the last may be shorter.
fn even_stretch(sequence: &Sequence<'_>, start: usize) -> usize {
    let mut end = start + 1;
    while end < sequence.groups.len() && sequence.gap(end - 1) == sequence.gap(start) {
        end += 1;
        if sequence.size(end - 1) != sequence.size(start) {
            break;
        }
    }
    end
}

/// Counts the sequence if it is a card number or shaped like one, and returns whether it is one.
fn judge(sequence: &Sequence<'_>, tally: &mut Tally) -> bool {
    let digits = sequence.own_digits();
    if !(12..=19).contains(&digits.len()) {
        return false;
    }
    let cued = has_cue(sequence);
    if !has_network(digits) && !cued {
        return false;
    }
    if passes_luhn(digits) {
        tally.add(FindingKind::PaymentCard, Label::Restricted, digits);
        return true;
    }
    // Inside a word, or at a length that few cards have, only the checksum can identify a card.
    if (cued || usual_length(digits)) && sequence.stands_alone() && grouped_as_card(sequence) {
        tally.add(FindingKind::CardLike, Label::Confidential, digits);
    }
    false
}

/// Returns whether a word before the digits says that they are a card number.
fn has_cue(sequence: &Sequence<'_>) -> bool {
    const CUES: [&str; 6] = ["card", "visa", "maestro", "amex", "american express", "debit"];
    const CUE_BYTES: usize = 32;
    let start = sequence.span().start;
    let before = &sequence.bytes[start.saturating_sub(CUE_BYTES)..start];
    looked_at(before.len() * CUES.len());
    CUES.iter().any(|cue| before.windows(cue.len()).any(|window| window == cue.as_bytes()))
}

/// Counts a long run of digits, which is of no known kind, and any card number inside it.
fn long_run(digits: &[u8], tally: &mut Tally) {
    tally.add(FindingKind::CardLike, Label::Confidential, digits);
    for length in [15, 16] {
        for window in digits.windows(length) {
            let usual = usual_length(window) && has_network(window);
            if usual && passes_luhn(window) {
                tally.add(FindingKind::PaymentCard, Label::Restricted, window);
            }
        }
    }
}

/// Returns whether the groups are ones that a person would write: no single digits among longer groups.
fn grouped_as_card(sequence: &Sequence<'_>) -> bool {
    let sizes = || (0..sequence.groups.len()).map(|index| sequence.size(index));
    sizes().all(|size| size >= 3) || sizes().all(|size| size == 1) || sizes().all(|size| size == 2)
}

fn prefix(digits: &[u8], length: usize) -> u32 {
    digits.iter().take(length).fold(0, |number, &digit| number * 10 + u32::from(digit))
}

/// Returns whether a card network issues numbers with this prefix and length.
fn has_network(digits: &[u8]) -> bool {
    let (one, two, four) = (prefix(digits, 1), prefix(digits, 2), prefix(digits, 4));
    match digits.len() {
        12 => matches!(two, 50 | 56..=58 | 60 | 63 | 67),
        13 => one == 4 || matches!(two, 50 | 56..=58 | 60 | 63 | 67),
        14 => matches!(two, 30 | 36 | 38 | 39) || matches!(two, 50 | 56..=58 | 60 | 63 | 67),
        15 => {
            matches!(two, 34 | 37 | 50 | 56..=58 | 60 | 63 | 67 | 30 | 36 | 38 | 39)
                || matches!(four, 1800 | 2131 | 2014 | 2149)
        }
        _ => matches!(one, 3..=6) || matches!(four, 2200..=2205 | 2221..=2720) || matches!(two, 81 | 82 | 97),
    }
}

/// Returns whether the digits have a length and a network that nearly all cards have.
fn usual_length(digits: &[u8]) -> bool {
    match digits.len() {
        14 => matches!(prefix(digits, 2), 30 | 36 | 38),
        15 => matches!(prefix(digits, 2), 34 | 37),
        16 => true,
        _ => false,
    }
}

fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, &digit)| match index % 2 {
            0 => u32::from(digit),
            _ => u32::from(digit * 2 / 10 + digit * 2 % 10),
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|&digit| digit != 0)
}
