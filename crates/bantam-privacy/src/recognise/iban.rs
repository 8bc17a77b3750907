//! International bank account numbers, checked by country length and mod 97.

use std::ops::Range;

use bantam_types::Label;

use super::is_word;
use crate::findings::{FindingKind, Tally};
use crate::view::looked_at;

/// The length of account numbers by country code.
const LENGTHS: [(&[u8; 2], usize); 84] = [
    (b"ad", 24),
    (b"ae", 23),
    (b"al", 28),
    (b"at", 20),
    (b"az", 28),
    (b"ba", 20),
    (b"be", 16),
    (b"bg", 22),
    (b"bh", 23),
    (b"bi", 27),
    (b"br", 29),
    (b"by", 28),
    (b"ch", 21),
    (b"cr", 22),
    (b"cy", 28),
    (b"cz", 24),
    (b"de", 22),
    (b"dj", 27),
    (b"dk", 18),
    (b"do", 28),
    (b"ee", 20),
    (b"eg", 29),
    (b"es", 24),
    (b"fi", 18),
    (b"fk", 18),
    (b"fo", 18),
    (b"fr", 27),
    (b"gb", 22),
    (b"ge", 22),
    (b"gi", 23),
    (b"gl", 18),
    (b"gr", 27),
    (b"gt", 28),
    (b"hr", 21),
    (b"hu", 28),
    (b"ie", 22),
    (b"il", 23),
    (b"iq", 23),
    (b"is", 26),
    (b"it", 27),
    (b"jo", 30),
    (b"kw", 30),
    (b"kz", 20),
    (b"lb", 28),
    (b"lc", 32),
    (b"li", 21),
    (b"lt", 20),
    (b"lu", 20),
    (b"lv", 21),
    (b"ly", 25),
    (b"mc", 27),
    (b"md", 24),
    (b"me", 22),
    (b"mk", 19),
    (b"mn", 20),
    (b"mr", 27),
    (b"mt", 31),
    (b"mu", 30),
    (b"ni", 28),
    (b"nl", 18),
    (b"no", 15),
    (b"om", 23),
    (b"pk", 24),
    (b"pl", 28),
    (b"ps", 29),
    (b"pt", 25),
    (b"qa", 29),
    (b"ro", 24),
    (b"rs", 22),
    (b"ru", 33),
    (b"sa", 24),
    (b"sc", 31),
    (b"sd", 18),
    (b"se", 24),
    (b"si", 19),
    (b"sk", 24),
    (b"sm", 27),
    (b"so", 23),
    (b"st", 25),
    (b"sv", 28),
    (b"tl", 23),
    (b"tn", 24),
    (b"tr", 26),
    (b"ua", 29),
];

/// Territories outside the alphabetical order of the table above.
const LENGTHS_LATER: [(&[u8; 2], usize); 3] = [(b"va", 22), (b"vg", 24), (b"xk", 20)];

const LENGTH_MIN: usize = 15;
const LENGTH_MAX: usize = 34;

/// Examines every group of digits that follows two letters.
pub(super) fn propose(bytes: &[u8], groups: &[Range<usize>], tally: &mut Tally) {
    for group in groups {
        let Some(start) = country_start(bytes, group) else { continue };
        if let Some(account) = read(bytes, start) {
            judge(&account, starts_word(bytes, start), bytes, start, tally);
        }
    }
}

/// Returns where the country code before the check digits begins.
///
/// There may be a space or dash between them if the code is a word of its own.
fn country_start(bytes: &[u8], group: &Range<usize>) -> Option<usize> {
    let apart = matches!(bytes.get(group.start.checked_sub(1)?)?, b' ' | b'-');
    let start = (group.start - usize::from(apart)).checked_sub(2)?;
    let letters = bytes[start..start + 2].iter().all(u8::is_ascii_lowercase);
    (group.len() >= 2 && letters && (!apart || starts_word(bytes, start))).then_some(start)
}

fn starts_word(bytes: &[u8], start: usize) -> bool {
    !is_word(start.checked_sub(1).and_then(|before| bytes.get(before)))
}

/// Returns the letters and digits from `start` on, across short gaps, up to the length of the longest IBAN.
fn read(bytes: &[u8], start: usize) -> Option<Vec<u8>> {
    let mut account = Vec::with_capacity(LENGTH_MAX);
    let mut gap = 0;
    looked_at(3 * LENGTH_MAX);
    for &byte in bytes.get(start..)?.iter().take(3 * LENGTH_MAX) {
        if byte.is_ascii_alphanumeric() {
            account.push(byte);
            gap = 0;
        } else if matches!(byte, b' ' | b'-' | b'.' | b'\n' | b'\t' | b'/' | b'_') && gap < 2 {
            gap += 1;
        } else {
            break;
        }
        if account.len() == LENGTH_MAX {
            break;
        }
    }
    (account.len() >= LENGTH_MIN).then_some(account)
}

fn judge(account: &[u8], starts_word: bool, bytes: &[u8], start: usize, tally: &mut Tally) {
    let tables = LENGTHS.iter().chain(&LENGTHS_LATER);
    let length = tables.into_iter().find(|(code, _)| account.starts_with(*code)).map(|&(_, length)| length);
    if let Some(own) = length.and_then(|length| account.get(..length)) {
        // Prose between two numbers passes mod 97 by chance about once in a hundred times.
        let plausible =
            digits(own) >= 10 || (starts_word && digits(own) >= 6 && unbroken(bytes, start) >= own.len());
        if plausible && passes_mod97(own) {
            tally.add(FindingKind::Iban, Label::Restricted, own);
        } else if starts_word && digits(own) >= 10 && is_written_as_one(bytes, start, own.len()) {
            tally.add(FindingKind::IbanLike, Label::Confidential, own);
        }
        return;
    }
    let run = unbroken(bytes, start);
    let sized = (LENGTH_MIN..=LENGTH_MAX).contains(&run) && run <= account.len();
    if sized && starts_word && digits(&account[..run]) >= 10 && passes_mod97(&account[..run]) {
        tally.add(FindingKind::IbanLike, Label::Confidential, &account[..run]);
    }
}

fn digits(account: &[u8]) -> usize {
    account.iter().filter(|byte| byte.is_ascii_digit()).count()
}

/// Returns whether the account is one word, or groups of four.
fn is_written_as_one(bytes: &[u8], start: usize, length: usize) -> bool {
    matches!(unbroken(bytes, start), run if run == 4 || run == length)
}

/// Returns the length of the word at `start`.
fn unbroken(bytes: &[u8], start: usize) -> usize {
    bytes[start..].iter().take(LENGTH_MAX + 1).take_while(|byte| byte.is_ascii_alphanumeric()).count()
}

/// Checks the ISO 7064 checksum: moves the first four characters to the end, reads letters as 10 to 35, takes mod 97.
fn passes_mod97(account: &[u8]) -> bool {
    let (head, tail) = account.split_at(4);
    let remainder = tail.iter().chain(head).fold(0u32, |remainder, &byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte.to_ascii_lowercase().wrapping_sub(b'a')) + 10) % 97,
    });
    remainder == 1
}
