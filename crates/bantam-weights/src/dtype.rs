//! The types of tensor elements and their sizes in bytes.

use std::fmt;

/// The storage type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// bfloat16: the upper half of a single.
    BF16,
    /// 32 signed bytes and an f16 scale.
    Q8_0,
    /// 32 nibbles with offset 8 and an f16 scale.
    Q4_0,
    /// 32 nibbles, an f16 scale and an f16 minimum.
    Q4_1,
    /// 32 five-bit values with offset 16 and an f16 scale.
    Q5_0,
    /// 32 five-bit values, an f16 scale and an f16 minimum.
    Q5_1,
    /// 256 nibbles in eight groups with six-bit scales and minima.
    Q4K,
    /// 256 five-bit values in eight groups with six-bit scales and minima.
    Q5K,
    /// 256 six-bit values in sixteen groups with eight-bit scales.
    Q6K,
    /// IEEE 754 double precision.
    F64,
    /// Signed, 1 byte.
    I8,
    /// Signed, 2 bytes.
    I16,
    /// Signed, 4 bytes.
    I32,
    /// Signed, 8 bytes.
    I64,
    /// Unsigned, 1 byte.
    U8,
    /// Unsigned, 2 bytes.
    U16,
    /// Unsigned, 4 bytes.
    U32,
    /// Unsigned, 8 bytes.
    U64,
    /// A byte of 0 or 1.
    Bool,
}

/// The properties of a type.
struct DtypeInfo {
    dtype: Dtype,
    name: &'static str,
    gguf_number: Option<u32>,
    safetensors_name: Option<&'static str>,
    /// Values and bytes per block.
    block: (usize, usize),
}

const fn info(
    dtype: Dtype,
    name: &'static str,
    gguf_number: Option<u32>,
    safetensors_name: Option<&'static str>,
    block: (usize, usize),
) -> DtypeInfo {
    DtypeInfo { dtype, name, gguf_number, safetensors_name, block }
}

/// Every type, in the order of the enum.
const TYPES: [DtypeInfo; 21] = [
    info(Dtype::F32, "F32", Some(0), Some("F32"), (1, 4)),
    info(Dtype::F16, "F16", Some(1), Some("F16"), (1, 2)),
    info(Dtype::BF16, "BF16", Some(30), Some("BF16"), (1, 2)),
    info(Dtype::Q8_0, "Q8_0", Some(8), None, (32, 34)),
    info(Dtype::Q4_0, "Q4_0", Some(2), None, (32, 18)),
    info(Dtype::Q4_1, "Q4_1", Some(3), None, (32, 20)),
    info(Dtype::Q5_0, "Q5_0", Some(6), None, (32, 22)),
    info(Dtype::Q5_1, "Q5_1", Some(7), None, (32, 24)),
    info(Dtype::Q4K, "Q4_K", Some(12), None, (256, 144)),
    info(Dtype::Q5K, "Q5_K", Some(13), None, (256, 176)),
    info(Dtype::Q6K, "Q6_K", Some(14), None, (256, 210)),
    info(Dtype::F64, "F64", Some(28), Some("F64"), (1, 8)),
    info(Dtype::I8, "I8", Some(24), Some("I8"), (1, 1)),
    info(Dtype::I16, "I16", Some(25), Some("I16"), (1, 2)),
    info(Dtype::I32, "I32", Some(26), Some("I32"), (1, 4)),
    info(Dtype::I64, "I64", Some(27), Some("I64"), (1, 8)),
    info(Dtype::U8, "U8", None, Some("U8"), (1, 1)),
    info(Dtype::U16, "U16", None, Some("U16"), (1, 2)),
    info(Dtype::U32, "U32", None, Some("U32"), (1, 4)),
    info(Dtype::U64, "U64", None, Some("U64"), (1, 8)),
    info(Dtype::Bool, "BOOL", None, Some("BOOL"), (1, 1)),
];

impl Dtype {
    fn info(self) -> &'static DtypeInfo {
        // The table has a row for every variant in the order of the enum, which a test checks.
        &TYPES[self as usize]
    }

    /// Returns the name that GGUF tools print.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Returns the number of values per block; 1 for types without blocks.
    pub fn block_len(self) -> usize {
        self.info().block.0
    }

    /// Returns the number of bytes per block.
    pub fn block_bytes(self) -> usize {
        self.info().block.1
    }

    /// Returns the bytes of a tensor, or `None` if a row is not a whole number of blocks or the size overflows.
    pub fn bytes_of(self, shape: &[usize]) -> Option<usize> {
        let row = shape.last().copied().unwrap_or(1);
        if row % self.block_len() != 0 {
            return None;
        }
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size))?;
        (count / self.block_len()).checked_mul(self.block_bytes())
    }

    pub(crate) fn gguf_number(self) -> Option<u32> {
        self.info().gguf_number
    }

    pub(crate) fn from_gguf_number(number: u32) -> Option<Self> {
        TYPES.iter().find(|row| row.gguf_number == Some(number)).map(|row| row.dtype)
    }

    pub(crate) fn safetensors_name(self) -> Option<&'static str> {
        self.info().safetensors_name
    }

    pub(crate) fn from_safetensors_name(name: &str) -> Option<Self> {
        TYPES.iter().find(|row| row.safetensors_name == Some(name)).map(|row| row.dtype)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_order_of_the_enum() {
        for (index, row) in TYPES.iter().enumerate() {
            assert_eq!(row.dtype as usize, index, "{}", row.name);
        }
        assert_eq!(Dtype::Bool as usize + 1, TYPES.len());
    }

    #[test]
    fn sizes_are_whole_blocks_and_overflow_is_refused() {
        assert_eq!(Dtype::Q4K.bytes_of(&[3, 512]), Some(3 * 2 * 144));
        assert_eq!(Dtype::F32.bytes_of(&[]), Some(4));
        assert_eq!(Dtype::F32.bytes_of(&[0, 5]), Some(0));
        assert_eq!(Dtype::Q8_0.bytes_of(&[64, 16]), None);
        assert_eq!(Dtype::F32.bytes_of(&[usize::MAX / 2, 2]), None);
        assert_eq!(Dtype::U8.bytes_of(&[usize::MAX, 2]), None);
    }
}
