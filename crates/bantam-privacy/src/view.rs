//! The text as recognisers see it, and the cheap checks made on it first.

/// A text as the recognisers see it: folded, and in ASCII lower case.
///
/// Recognisers work with byte ranges of the view, so that redaction could later
/// map them back to the request with an offset table.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The text in lower case.
    pub(crate) lower: &'a str,
}

impl<'a> View<'a> {
    /// Returns the bytes of the text.
    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.lower.as_bytes()
    }
}

/// Which trigger characters a view contains, and so which recognisers it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Triggers {
    /// Contains a decimal digit.
    pub(crate) digit: bool,
    /// Contains `@`.
    pub(crate) at: bool,
    /// Contains `:`.
    pub(crate) colon: bool,
    /// Contains `%`, `&` or a backslash.
    pub(crate) escape: bool,
}

impl Triggers {
    /// Checks for all triggers in one pass without branches, which the compiler vectorises.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let (mut digit, mut at, mut colon, mut escape) = (0u8, 0u8, 0u8, 0u8);
        for &byte in bytes {
            digit |= u8::from(byte.wrapping_sub(b'0') < 10);
            at |= u8::from(byte == b'@');
            colon |= u8::from(byte == b':');
            escape |= u8::from(byte == b'%') | u8::from(byte == b'&') | u8::from(byte == b'\\');
        }
        Self { digit: digit != 0, at: at != 0, colon: colon != 0, escape: escape != 0 }
    }
}

/// Returns the first position at or after `from` whose byte is `wanted`.
///
/// Checks 32 bytes at a time without branching, because most chunks have no match.
pub(crate) fn next_position(bytes: &[u8], from: usize, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let mut start = from;
    while let Some(chunk) = bytes.get(start..start + 32) {
        if chunk.iter().fold(false, |any, &byte| any | wanted(byte)) {
            break;
        }
        start += 32;
    }
    let rest = bytes.get(start..)?;
    rest.iter().position(|&byte| wanted(byte)).map(|offset| start + offset)
}

/// Counts bytes that are looked at beyond one pass over the text, so that tests can tell that the work is linear.
#[cfg_attr(not(test), inline(always))]
pub(crate) fn looked_at(bytes: usize) {
    #[cfg(test)]
    LOOKED_AT.with(|count| count.set(count.get() + bytes));
    #[cfg(not(test))]
    let _ = bytes;
}

#[cfg(test)]
thread_local! {
    pub(crate) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The shortest run that may be encoded text or a key: ten bytes in base64.
pub(crate) const TOKEN_BYTES_MIN: usize = 14;

/// Returns whether `byte` may stand inside a key or an encoded text.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/' | b'.')
}

/// Returns the next run of at least [`TOKEN_BYTES_MIN`] token bytes that ends after `from`.
///
/// Every such run covers a multiple of that distance from `from`, so only those positions are probed.
pub(crate) fn next_long_token(bytes: &[u8], from: usize) -> Option<std::ops::Range<usize>> {
    let mut probe = from + TOKEN_BYTES_MIN - 1;
    while let Some(&byte) = bytes.get(probe) {
        if !is_token_byte(byte) {
            probe += TOKEN_BYTES_MIN;
            continue;
        }
        let start = bytes[from..probe].iter().rposition(|&byte| !is_token_byte(byte));
        let start = start.map_or(from, |before| from + before + 1);
        let end = bytes[probe..].iter().position(|&byte| !is_token_byte(byte));
        let end = end.map_or(bytes.len(), |length| probe + length);
        if end - start >= TOKEN_BYTES_MIN {
            return Some(start..end);
        }
        probe = end + TOKEN_BYTES_MIN;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_tokens(text: &str) -> Vec<&str> {
        let mut tokens = Vec::new();
        let mut from = 0;
        while let Some(range) = next_long_token(text.as_bytes(), from) {
            from = range.end;
            tokens.push(&text[range]);
        }
        tokens
    }

    #[test]
    fn finds_long_tokens_at_any_position() {
        for lead in 0..40 {
            let text =
                format!("{} abcdefghijklmnop {} 0123456789abcdefXYZ", "a ".repeat(lead), "no ".repeat(lead));
            assert_eq!(long_tokens(&text), ["abcdefghijklmnop", "0123456789abcdefXYZ"], "lead {lead}");
        }
    }

    #[test]
    fn ignores_short_words() {
        assert!(long_tokens("all of these words are short enough, every single one").is_empty());
    }

    #[test]
    fn finds_the_next_position_in_any_chunk() {
        for at in 0..100 {
            let text = format!("{}@{}", "x".repeat(at), "y".repeat(50));
            assert_eq!(next_position(text.as_bytes(), 0, |byte| byte == b'@'), Some(at));
        }
        assert_eq!(next_position(b"nothing", 0, |byte| byte == b'@'), None);
        assert_eq!(next_position(b"nothing", 99, |byte| byte == b'@'), None);
    }
}
