//! The characters that byte-level tokenizers use for bytes, so that every token is printable text.

/// Whether a byte stands for itself; the others map to U+0100 and up, in order.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, 33..=126 | 161..=172 | 174..=255)
}

const COUNT: usize = 256 + 68;

/// The byte of each character below U+0144; 256 for a character that stands for no byte.
const BYTES: [u16; COUNT] = {
    let mut bytes = [256; COUNT];
    let (mut byte, mut next) = (0, 256);
    while byte < 256 {
        if is_printable(byte as u8) {
            bytes[byte] = byte as u16;
        } else {
            bytes[next] = byte as u16;
            next += 1;
        }
        byte += 1;
    }
    bytes
};

/// Returns the bytes of a token, or `None` if a character stands for no byte.
pub(super) fn bytes_of(token: &str) -> Option<Vec<u8>> {
    let byte = |character| BYTES.get(character as usize).and_then(|&byte| u8::try_from(byte).ok());
    token.chars().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let all: Vec<u8> = (0..COUNT as u32)
            .filter_map(|code| bytes_of(&char::from_u32(code).unwrap().to_string()))
            .flatten()
            .collect();
        assert_eq!(all.len(), 256);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 256);
        assert_eq!(bytes_of("ĠHiĊ").unwrap(), b" Hi\n");
        assert_eq!(bytes_of("é").unwrap(), [0xe9]);
        assert_eq!(bytes_of("a b"), None);
        assert_eq!(bytes_of("漢"), None);
    }
}
