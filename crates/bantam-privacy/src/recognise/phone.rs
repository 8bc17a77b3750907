//! Telephone numbers, found by international prefix, by national shape, or by a word next to them.

use bantam_types::Label;

use super::is_word;
use super::number::Sequence;
use crate::findings::{FindingKind, Tally};
use crate::view::looked_at;

/// Words that mark a bare number of 7 to 15 digits as a telephone number.
const CUES: [&str; 14] = [
    "phone", "telef", "mobile", "mobil", "cell", "fax", "whatsapp", "sms", "tel:", "tel.", "call me", "dial",
    "text me", "reach me",
];

/// Words that mark a number of a weak shape as something else.
const COUNTER_CUES: [&str; 10] =
    ["order", "invoice", "ticket", "ref", "isbn", "version", "zip", "account", "article", "part"];

/// How far before the digits a cue may be.
const CUE_BYTES: usize = 32;

/// Looks for telephone numbers in the parts of a sequence.
pub(super) fn propose(sequence: &Sequence<'_>, tally: &mut Tally) {
    let count = sequence.groups.len();
    let mut start = 0;
    for end in 1..=count {
        if end == count || !is_gap(sequence.gap(end - 1)) {
            part(&sequence.slice(start..end), tally);
            start = end;
        }
    }
}

/// Returns whether a gap can be inside one number; a plus begins the next.
fn is_gap(gap: &[u8]) -> bool {
    gap.iter().all(|byte| matches!(byte, b' ' | b'.' | b'-' | b'(' | b')' | b'/' | b'\t'))
}

fn part(sequence: &Sequence<'_>, tally: &mut Tally) {
    let mut rest = sequence.slice(0..sequence.groups.len());
    while rest.groups.len() >= 3 && is_date(&rest) {
        rest = rest.slice(3..rest.groups.len());
    }
    if rest.own_digits().len() < 7 || is_word(rest.before()) || !ends_well(&rest) {
        return;
    }
    if is_whole_number(&rest) {
        tally.add(FindingKind::Phone, Label::Confidential, rest.own_digits());
        return;
    }
    for start in 0..rest.groups.len() {
        for groups in [3, 4] {
            let end = start + groups;
            if end <= rest.groups.len() && is_north_american(&rest.slice(start..end)) {
                tally.add(FindingKind::Phone, Label::Confidential, rest.slice(start..end).own_digits());
            }
        }
    }
}

/// Returns whether the number ends at a word boundary or an extension.
fn ends_well(sequence: &Sequence<'_>) -> bool {
    let end = sequence.span().end;
    match sequence.after() {
        Some(b'x') => sequence.bytes.get(end + 1).is_some_and(u8::is_ascii_digit),
        after => !is_word(after),
    }
}

fn is_whole_number(sequence: &Sequence<'_>) -> bool {
    let digits = sequence.own_digits();
    if !(7..=15).contains(&digits.len()) {
        return false;
    }
    if follows_plus(sequence) {
        return digits.len() >= 8 && digits[0] != 0;
    }
    let cued = has_word(sequence, &CUES) || names_phone_after(sequence);
    match sequence.groups.len() {
        1 => cued || is_bare(digits),
        _ => is_north_american(sequence) || is_grouped(sequence, cued),
    }
}

fn follows_plus(sequence: &Sequence<'_>) -> bool {
    let before = &sequence.bytes[..sequence.span().start];
    before.ends_with(b"+") || before.ends_with(b"+(") || before.ends_with(b"+ ")
}

/// Returns whether bare digits follow the North American plan or have a leading zero; others are more often orders and
/// ids.
fn is_bare(digits: &[u8]) -> bool {
    match digits {
        [0, 0, country, ..] => *country != 0 && digits.len() >= 11,
        [0, area, ..] => *area != 0 && matches!(digits.len(), 10 | 11),
        [1, rest @ ..] => rest.len() == 10 && is_plan(rest),
        _ => digits.len() == 10 && is_plan(digits),
    }
}

fn is_plan(digits: &[u8]) -> bool {
    digits[0] >= 2 && digits[3] >= 2
}

/// Returns whether the groups are 3-3-4, perhaps after a country code, with gaps of one mark or a bracket and a space.
fn is_north_american(sequence: &Sequence<'_>) -> bool {
    let count = sequence.groups.len();
    let sizes = |index: usize| sequence.size(count - index);
    let shaped = count >= 3 && (sizes(3), sizes(2), sizes(1)) == (3, 3, 4);
    let gaps = (0..count.saturating_sub(1)).all(|index| sequence.gap(index).len() <= 2);
    shaped && gaps && (count == 3 || (count == 4 && sequence.size(0) <= 3))
}

/// Returns whether the groups are ones that the rest of the world uses.
fn is_grouped(sequence: &Sequence<'_>, cued: bool) -> bool {
    let count = sequence.groups.len();
    let digits = sequence.own_digits();
    let gaps = || (0..count - 1).map(|index| sequence.gap(index));
    let sizes = || (0..count).map(|index| sequence.size(index));
    if cued {
        return !gaps().all(|gap| gap == b".") || count > 2;
    }
    if gaps().any(|gap| gap == b"/" && digits[0] != 0) {
        return false;
    }
    let pairs = sizes().all(|size| size == 2);
    if gaps().all(|gap| gap == b".") {
        return pairs && count >= 4;
    }
    if gaps().any(|gap| gap.contains(&b'.')) || sizes().any(|size| !(2..=8).contains(&size)) || count > 6 {
        return false;
    }
    let national = digits[0] == 0 && digits.len() >= 8;
    let bracketed = sequence.before() == Some(&b'(') && sequence.gap(0).starts_with(b")");
    national || bracketed || is_weak_shape(sequence)
}

/// Returns whether the number has a shape that other numbers share, and nothing says that it is one of those.
fn is_weak_shape(sequence: &Sequence<'_>) -> bool {
    let count = sequence.groups.len();
    let digits = sequence.own_digits();
    let sizes = |index| sequence.size(index);
    let years = (0..count).filter(|&index| is_year(sequence.group(index))).count();
    let money = matches!(sequence.before(), Some(b'$' | b'#' | b'=' | 0x80..));
    if money || years > 0 && count == 2 || sequence.group(count - 1).iter().all(|&digit| digit == 0) {
        return false;
    }
    let shaped = match count {
        2 => matches!(
            (sizes(0), sizes(1)),
            (3, 4) | (4, 4) | (2, 6) | (3, 6) | (4, 6) | (2, 7) | (2, 8) | (3, 7) | (4, 7) | (5, 6)
        ),
        3 => digits.len() >= 8 && (0..3).all(|index| sizes(index) <= 4),
        _ => (8..=13).contains(&digits.len()) && (0..count).all(|index| sizes(index) <= 4),
    };
    let one_gap = (1..count - 1).all(|index| sequence.gap(index) == sequence.gap(0));
    shaped && one_gap && years < 2 && !has_word(sequence, &COUNTER_CUES)
}

fn is_year(digits: &[u8]) -> bool {
    matches!(digits, [1, _, _, _] | [2, 0, _, _])
}

/// Returns whether the first three groups are a date, in any order with a year of four digits.
pub(super) fn is_date(sequence: &Sequence<'_>) -> bool {
    if sequence.groups.len() < 3 {
        return false;
    }
    let number =
        |index| sequence.group(index).iter().take(4).fold(0u32, |n, &digit| n * 10 + u32::from(digit));
    let short = |index| sequence.size(index) <= 2 && (1..=31).contains(&number(index));
    let month = |index| sequence.size(index) <= 2 && (1..=12).contains(&number(index));
    let full_year = |index| matches!(sequence.group(index), [1, 9, _, _] | [2, 0, _, _]);
    let year_first = full_year(0) && short(1) && short(2) && (month(1) || month(2));
    let year_last = full_year(2) && short(0) && short(1) && (month(0) || month(1));
    year_first || year_last
}

/// Returns whether a kind of phone follows the number: `555010-Fax`, `(mobile)`.
fn names_phone_after(sequence: &Sequence<'_>) -> bool {
    let after = &sequence.bytes[sequence.span().end..];
    let word = after.iter().take(3).take_while(|byte| matches!(byte, b' ' | b'-' | b'(' | b',')).count();
    let word = &after[word..];
    ["fax", "phone", "mobile", "cell", "home", "office", "work"]
        .iter()
        .any(|kind| word.starts_with(kind.as_bytes()))
}

fn has_word(sequence: &Sequence<'_>, words: &[&str]) -> bool {
    let start = sequence.span().start;
    let before = &sequence.bytes[start.saturating_sub(CUE_BYTES)..start];
    looked_at(before.len() * words.len());
    words.iter().any(|word| before.windows(word.len()).any(|window| window == word.as_bytes()))
}
