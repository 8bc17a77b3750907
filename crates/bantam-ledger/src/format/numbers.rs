//! Numbers and texts as bytes: LEB128 varints, signed ones zigzag, texts behind their length.

use super::DecodeError;

#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(out, (number << 1 ^ number >> 63).cast_unsigned());
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Returns the flags as bits, the first one lowest.
pub(crate) fn flags<const N: usize>(flags: [bool; N]) -> u8 {
    const { assert!(N <= 8) };
    flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag))
}

/// What is left of a body. Every method takes bytes from its front or says which field lacks them.
pub(crate) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Field(field))?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(DecodeError::Field(field))?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(crate) fn byte(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn flags<const N: usize>(&mut self) -> Result<[bool; N], DecodeError> {
        let bits = self.byte("flags")?;
        if bits.checked_shr(N as u32).unwrap_or(0) != 0 {
            return Err(DecodeError::Field("flags"));
        }
        Ok(std::array::from_fn(|at| bits >> at & 1 == 1))
    }

    pub(crate) fn number(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(field)?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeError::Field(field))
    }

    pub(crate) fn signed(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        let number = self.number(field)?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let length = usize::try_from(self.number(field)?).map_err(|_| DecodeError::Field(field))?;
        let bytes = self.take(length, field)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Field(field))
    }
}
