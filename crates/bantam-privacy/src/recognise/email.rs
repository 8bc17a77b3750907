//! E-mail addresses and URL credentials around an `@`.

use bantam_types::Label;

use crate::findings::{FindingKind, Tally};
use crate::view::{View, looked_at, next_position};

/// The longest local part and the longest domain that mail allows.
const LOCAL_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 255;

/// The most spaces on either side of an `@`.
const SPACES_MAX: usize = 2;

/// Examines the text around every `@`; each side ends at the next one, so the work is linear.
pub(super) fn scan(view: View<'_>, tally: &mut Tally) {
    let bytes = view.bytes();
    let mut from = 0;
    while let Some(at) = next_position(bytes, from, |byte| byte == b'@') {
        from = at + 1;
        around(bytes, at, tally);
    }
}

fn around(bytes: &[u8], at: usize, tally: &mut Tally) {
    let before = bytes[..at].iter().rev().take(SPACES_MAX).take_while(|&&byte| byte == b' ').count();
    let after = bytes[at + 1..].iter().take(SPACES_MAX).take_while(|&&byte| byte == b' ').count();
    let (local_end, domain_start) = (at - before, at + 1 + after);
    if credentials(bytes, at, tally) {
        return;
    }
    let local =
        bytes[..local_end].iter().rev().take(LOCAL_BYTES_MAX).take_while(|&&byte| is_local(byte)).count();
    let local = &bytes[local_end - local..local_end];
    let (local, quoted) = match local.strip_suffix(b"\"") {
        Some(local) => (local, true),
        None => (local, false),
    };
    if !local.iter().any(|&byte| is_letter_or_digit(byte)) {
        return;
    }
    let domain = domain(&bytes[domain_start..]);
    looked_at(local.len() + domain.len());
    let dotted = is_dotted(&domain);
    let plain_host = before + after == 0 && !quoted && domain.first().is_some_and(u8::is_ascii_alphabetic);
    let mut canonical = local.to_vec();
    canonical.push(b'@');
    canonical.extend_from_slice(&domain);
    if dotted {
        tally.add(FindingKind::Email, Label::Confidential, &canonical);
    } else if plain_host && local.first().is_some_and(|&byte| is_letter_or_digit(byte)) {
        tally.add(FindingKind::Email, Label::Internal, &canonical);
    }
}

/// Reads host labels and the dots between them, with or without spaces around a dot.
fn domain(bytes: &[u8]) -> Vec<u8> {
    let mut domain = Vec::new();
    let bytes = &bytes[..bytes.len().min(DOMAIN_BYTES_MAX)];
    let bytes = bytes.strip_prefix(b"[").unwrap_or(bytes);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if is_host(byte) {
            domain.push(byte);
            at += 1;
        } else if let Some(length) = dot(&bytes[at..]) {
            domain.push(b'.');
            at += length;
        } else {
            break;
        }
    }
    while matches!(domain.last(), Some(b'.' | b'-')) {
        domain.pop();
    }
    domain
}

/// Returns the length of a dot (`.` or ` . `) before another label.
fn dot(bytes: &[u8]) -> Option<usize> {
    let length = if bytes.starts_with(b" . ") { 3 } else { usize::from(bytes.starts_with(b".")) };
    (length > 0 && bytes.get(length).is_some_and(|&byte| is_letter_or_digit(byte))).then_some(length)
}

/// Returns whether the last label could be a top-level domain, or the whole domain is an IPv4 address.
fn is_dotted(domain: &[u8]) -> bool {
    let mut labels = domain.rsplit(|&byte| byte == b'.');
    let last = labels.next().unwrap_or_default();
    let named = last.len() >= 2 && last.iter().all(|&byte| !byte.is_ascii_digit());
    let known = last.starts_with(b"xn--");
    let rest = labels.filter(|label| !label.is_empty()).count();
    let address = rest == 3 && domain.iter().all(|&byte| byte.is_ascii_digit() || byte == b'.');
    rest >= 1 && (named || known || address)
}

/// Counts the password of `scheme://user:password@host` as a secret, and returns whether there is one.
fn credentials(bytes: &[u8], at: usize, tally: &mut Tally) -> bool {
    let length =
        bytes[..at].iter().rev().take(DOMAIN_BYTES_MAX).take_while(|&&byte| is_authority(byte)).count();
    looked_at(length);
    let authority = &bytes[at - length..at];
    let Some(user_start) = authority.windows(3).rposition(|window| window == b"://") else { return false };
    let user_and_password = &authority[user_start + 3..];
    let colon = user_and_password.iter().position(|&byte| byte == b':');
    let Some(password) = colon.map(|colon| &user_and_password[colon + 1..]) else { return false };
    let is_placeholder = password.is_empty() || password.starts_with(b"$") || password.starts_with(b"<");
    if !is_placeholder {
        tally.add(FindingKind::Secret, Label::Restricted, password);
    }
    !is_placeholder
}

const fn is_authority(byte: u8) -> bool {
    byte > b' ' && !matches!(byte, b'@' | b'"' | b'\'' | b'`')
}

const fn is_letter_or_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

const fn is_local(byte: u8) -> bool {
    is_letter_or_digit(byte)
        || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'!' | b'#' | b'$' | b'&' | b'*' | b'/')
        || matches!(byte, b'=' | b'?' | b'^' | b'{' | b'|' | b'}' | b'~' | b'"')
}

const fn is_host(byte: u8) -> bool {
    is_letter_or_digit(byte) || matches!(byte, b'-' | b'_')
}
