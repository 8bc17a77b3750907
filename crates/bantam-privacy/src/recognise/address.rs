//! IPv6 and MAC addresses.

use std::net::{IpAddr, Ipv6Addr};

use bantam_types::Label;

use super::{is_word, network};
use crate::findings::{FindingKind, Tally};
use crate::view::{Triggers, View, next_position};

/// The longest textual IPv6 address, with an IPv4 tail.
const ADDRESS_BYTES_MAX: usize = 45;

/// The length of a MAC address in pairs, and in the three groups that some routers use.
const MAC_BYTES: usize = 17;
const MAC_DOTTED_BYTES: usize = 14;

/// Examines runs of hex digits and colons, pairs of hex digits with dashes, and groups of four with full stops.
pub(super) fn scan(view: View<'_>, triggers: Triggers, tally: &mut Tally) {
    let bytes = view.bytes();
    if triggers.colon {
        each_run(bytes, b':', |run| {
            if !mac(run, MAC_BYTES, 3, tally) {
                ipv6(run, tally);
            }
        });
    }
    if triggers.digit {
        // Dashes and full stops are common; a second one at the right distance is rare.
        for (mark, step, length) in [(b'-', 3, MAC_BYTES), (b'.', 5, MAC_DOTTED_BYTES)] {
            let mut from = 0;
            while let Some(at) = next_position(bytes, from, |byte| byte == mark) {
                from = at + 1;
                let start = (at + 1).checked_sub(step);
                if bytes.get(at + step) == Some(&mark)
                    && let Some(run) = start.and_then(|start| bytes.get(start..start + length))
                    && stands_alone(bytes, at + 1 - step, at + 1 - step + length)
                {
                    mac(run, length, step, tally);
                }
            }
        }
    }
}

fn stands_alone(bytes: &[u8], start: usize, end: usize) -> bool {
    !is_word(start.checked_sub(1).and_then(|before| bytes.get(before))) && !is_word(bytes.get(end))
}

/// Passes every run of hex digits and `mark`s that holds at least two marks and stands alone to `look`.
fn each_run(bytes: &[u8], mark: u8, mut look: impl FnMut(&[u8])) {
    let mut from = 0;
    while let Some(at) = next_position(bytes, from, |byte| byte == mark) {
        // The full stops of an IPv4 tail belong to the run.
        let is_part =
            |byte: &&u8| byte.is_ascii_hexdigit() || **byte == mark || (mark == b':' && **byte == b'.');
        let start = at - bytes[from..at].iter().rev().take(5).take_while(is_part).count();
        let end = at + bytes[at..].iter().take_while(is_part).count();
        from = end.max(at + 1);
        let run = &bytes[start..end];
        let alone =
            !is_word(start.checked_sub(1).and_then(|before| bytes.get(before))) && !is_word(bytes.get(end));
        if alone && run.iter().filter(|&&byte| byte == mark).count() >= 2 {
            look(run);
        }
    }
}

/// Counts a MAC address, which has a mark after every `step - 1` hex digits, and returns whether there is one.
fn mac(run: &[u8], length: usize, step: usize, tally: &mut Tally) -> bool {
    let run = trimmed(run);
    let shaped = run.len() == length
        && run.iter().enumerate().all(|(at, byte)| byte.is_ascii_hexdigit() == (at % step != step - 1));
    if shaped {
        let digits: Vec<u8> = run.iter().copied().filter(u8::is_ascii_hexdigit).collect();
        tally.add(FindingKind::MacAddress, Label::Confidential, &digits);
    }
    shaped
}

/// Counts an IPv6 address; a `::` between words of code does not count.
fn ipv6(run: &[u8], tally: &mut Tally) {
    let run = trimmed(run);
    if run.len() > ADDRESS_BYTES_MAX {
        return;
    }
    let groups = run.split(|&byte| byte == b':').filter(|group| !group.is_empty()).count();
    let plausible = groups >= 3 || run.iter().any(u8::is_ascii_digit);
    let address = std::str::from_utf8(run).ok().and_then(|run| run.parse::<Ipv6Addr>().ok());
    if let Some(address) = address.filter(|_| plausible) {
        network::note(IpAddr::V6(address), tally);
    }
}

/// Removes the full stop or colon that ends a sentence.
fn trimmed(run: &[u8]) -> &[u8] {
    let run = run.strip_suffix(b".").unwrap_or(run);
    match run.strip_suffix(b":") {
        Some(rest) if !rest.ends_with(b":") => rest,
        _ => run,
    }
}
