//! Sequences of digit groups, in which cards, phones, social security numbers and IPv4 addresses are found.

use std::ops::Range;

use super::{card, iban, is_word, network, phone, ssn};
use crate::findings::Tally;
use crate::view::{View, looked_at, next_position};

/// The fewest digits that a sequence needs; an IPv4 address has four.
const DIGITS_MIN: usize = 4;

/// The most bytes between two groups of one sequence.
const GAP_BYTES_MAX: usize = 3;

/// Groups of digits with short gaps between them, such as `(555) 010-0199`.
pub(super) struct Sequence<'a> {
    /// The lower-case text of the view.
    pub(super) bytes: &'a [u8],
    /// The range of each group in `bytes`.
    pub(super) groups: &'a [Range<usize>],
    /// The digits of all groups, 0 to 9 each.
    pub(super) digits: &'a [u8],
    /// Where each group's digits begin in `digits`, and one more entry for the end.
    pub(super) offsets: &'a [usize],
}

impl<'a> Sequence<'a> {
    /// Returns the sequence of some of the groups.
    pub(super) fn slice(&self, range: Range<usize>) -> Sequence<'a> {
        Sequence {
            bytes: self.bytes,
            groups: &self.groups[range.clone()],
            digits: self.digits,
            offsets: &self.offsets[range.start..=range.end],
        }
    }

    /// Returns the digits of these groups only.
    pub(super) fn own_digits(&self) -> &'a [u8] {
        match (self.offsets.first(), self.offsets.last()) {
            (Some(&start), Some(&end)) => &self.digits[start..end],
            _ => &[],
        }
    }

    /// Returns the digits of one group.
    pub(super) fn group(&self, index: usize) -> &'a [u8] {
        &self.digits[self.offsets[index]..self.offsets[index + 1]]
    }

    /// Returns the number of digits of one group.
    pub(super) fn size(&self, index: usize) -> usize {
        self.groups[index].len()
    }

    /// Returns the text between a group and the next.
    pub(super) fn gap(&self, index: usize) -> &'a [u8] {
        &self.bytes[self.groups[index].end..self.groups[index + 1].start]
    }

    /// Returns the range of the sequence in the text.
    pub(super) fn span(&self) -> Range<usize> {
        let start = self.groups.first().map_or(0, |group| group.start);
        start..self.groups.last().map_or(start, |group| group.end)
    }

    /// Returns the byte before the first group.
    pub(super) fn before(&self) -> Option<&'a u8> {
        self.span().start.checked_sub(1).and_then(|at| self.bytes.get(at))
    }

    /// Returns the byte after the last group.
    pub(super) fn after(&self) -> Option<&'a u8> {
        self.bytes.get(self.span().end)
    }

    /// Returns whether it is not part of a word.
    pub(super) fn stands_alone(&self) -> bool {
        !is_word(self.before()) && !is_word(self.after())
    }
}

/// Reads every sequence of the view and passes it to the recognisers of numbers.
pub(super) fn scan(view: View<'_>, tally: &mut Tally) {
    let bytes = view.bytes();
    let (mut groups, mut digits, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    let mut from = 0;
    while let Some(start) = next_position(bytes, from, |byte| byte.is_ascii_digit()) {
        groups.clear();
        digits.clear();
        offsets.clear();
        from = read(bytes, start, &mut groups, &mut digits, &mut offsets);
        iban::propose(bytes, &groups, tally);
        if digits.len() < DIGITS_MIN || in_hash(bytes, start, from) {
            continue;
        }
        let sequence = Sequence { bytes, groups: &groups, digits: &digits, offsets: &offsets };
        network::ipv4(&sequence, tally);
        if digits.len() >= 7 {
            ssn::propose(&sequence, tally);
            phone::propose(&sequence, tally);
            card::propose(&sequence, tally);
        }
    }
}

/// Reads one sequence from its first digit and returns where it ends.
fn read(
    bytes: &[u8],
    start: usize,
    groups: &mut Vec<Range<usize>>,
    digits: &mut Vec<u8>,
    offsets: &mut Vec<usize>,
) -> usize {
    let mut at = start;
    loop {
        let group = at;
        offsets.push(digits.len());
        while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10)
        {
            digits.push(digit);
            at += 1;
        }
        groups.push(group..at);
        let gap = bytes[at..].iter().take(GAP_BYTES_MAX + 1).take_while(|&&byte| is_gap(byte)).count();
        if gap == 0 || gap > GAP_BYTES_MAX || !bytes.get(at + gap).is_some_and(u8::is_ascii_digit) {
            offsets.push(digits.len());
            return at;
        }
        at += gap;
    }
}

const fn is_gap(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'.' | b'-' | b'(' | b')' | b'/' | b'+' | b'_' | b'*' | b'|' | b'\t' | b'\n' | b'\r'
    )
}

/// Returns whether the digits are part of a UUID or of a hash in hex.
///
/// Both contain long runs of digits by chance. A sensitive number could only be
/// hidden in one by adding letters, and then it is no longer that number.
fn in_hash(bytes: &[u8], start: usize, end: usize) -> bool {
    const LOOK_BYTES: usize = 130;
    let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || **byte == b'-';
    let before = bytes[..start].iter().rev().take(LOOK_BYTES).take_while(is_part).count();
    let after = bytes[end..].iter().take(LOOK_BYTES).take_while(is_part).count();
    looked_at(before + after);
    let token = &bytes[start - before..end + after];
    let is_hash = matches!(token.len(), 32 | 40 | 56 | 64 | 96 | 128);
    if is_hash && !token.contains(&b'-') {
        return token.iter().filter(|byte| byte.is_ascii_alphabetic()).count() >= 4;
    }
    let dashes = [8, 13, 18, 23];
    token.len() == 36 && token.iter().enumerate().all(|(at, &byte)| (byte == b'-') == dashes.contains(&at))
}
