//! A file's metadata: typed values by key.

use std::ops::Range;

/// The value of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A signed integer of any width.
    Signed(i64),
    /// A float, converted to a double.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string.
    Text(&'a str),
    /// An array of one type.
    Array(Array<'a>),
}

/// An array of one type, borrowed from the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Array<'a> {
    element: ValueType,
    len: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the array is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the values in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let Self { element, len, mut bytes } = *self;
        (0..len).map_while(move |_| element.split(&mut bytes))
    }
}

/// The strings of an array in order, borrowed from the file.
#[derive(Debug, Clone)]
pub struct Strings<'a> {
    left: usize,
    bytes: &'a [u8],
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.left = self.left.checked_sub(1)?;
        split_text(&mut self.bytes)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Strings<'_> {}

/// A file's metadata. A GGUF file has keys like `llama.block_count`; safetensors has only strings.
#[derive(Debug, Clone, Copy)]
pub struct Metadata<'a> {
    pub(crate) entries: &'a MetadataEntries,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Metadata<'a> {
    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let found = self.entries.binary_search_by(|entry| (*entry.key).cmp(key)).ok()?;
        self.entries.get(found)?.stored.value(self.bytes)
    }

    /// Returns the keys, sorted.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        self.entries.iter().map(|entry| &*entry.key)
    }

    /// Returns the raw value of a key in a GGUF file, for writing it unchanged to another one.
    pub fn raw(&self, key: &str) -> Option<RawValue<'a>> {
        let found = self.entries.binary_search_by(|entry| (*entry.key).cmp(key)).ok()?;
        match &self.entries.get(found)?.stored {
            Stored::Plain { value, range } => {
                Some(RawValue { value: *value, head: None, bytes: self.bytes.get(range.clone())? })
            }
            Stored::Array { element, len, range } => Some(RawValue {
                value: ValueType::Array,
                head: Some((*element, *len)),
                bytes: self.bytes.get(range.clone())?,
            }),
            Stored::Own(_) => None,
        }
    }

    /// Returns an integer of any width and signedness, if it fits.
    pub fn u64(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Unsigned(value) => Some(value),
            Value::Signed(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// Returns an integer of any width and signedness, if it fits.
    pub fn u32(&self, key: &str) -> Option<u32> {
        self.u64(key)?.try_into().ok()
    }

    /// Returns an integer of any width and signedness, if it fits.
    pub fn usize(&self, key: &str) -> Option<usize> {
        self.u64(key)?.try_into().ok()
    }

    /// Returns a float; doubles are rounded.
    pub fn f32(&self, key: &str) -> Option<f32> {
        match self.get(key)? {
            Value::Float(value) => Some(value as f32),
            _ => None,
        }
    }

    /// Returns a boolean.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// Returns a string.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::Text(value) => Some(value),
            _ => None,
        }
    }

    /// Returns an array of any type.
    pub fn array(&self, key: &str) -> Option<Array<'a>> {
        match self.get(key)? {
            Value::Array(array) => Some(array),
            _ => None,
        }
    }

    /// Returns an array of strings.
    pub fn texts(&self, key: &str) -> Option<Strings<'a>> {
        let array = self.array(key)?;
        (array.element == ValueType::Text).then_some(Strings { left: array.len, bytes: array.bytes })
    }
}

/// A raw value of a GGUF file.
#[derive(Debug, Clone, Copy)]
pub struct RawValue<'a> {
    pub(crate) value: ValueType,
    /// The element type and length, if it is an array.
    pub(crate) head: Option<(ValueType, usize)>,
    pub(crate) bytes: &'a [u8],
}

/// The keys of a file, sorted and unique.
pub(crate) type MetadataEntries = Vec<MetadataEntry>;

#[derive(Debug)]
pub(crate) struct MetadataEntry {
    pub(crate) key: Box<str>,
    pub(crate) stored: Stored,
}

/// A checked value: a byte range of the file, or an owned string.
#[derive(Debug)]
pub(crate) enum Stored {
    Plain { value: ValueType, range: Range<usize> },
    Array { element: ValueType, len: usize, range: Range<usize> },
    Own(Box<str>),
}

impl Stored {
    fn value<'a>(&'a self, bytes: &'a [u8]) -> Option<Value<'a>> {
        match self {
            Self::Plain { value, range } => value.split(&mut bytes.get(range.clone())?),
            Self::Array { element, len, range } => {
                Some(Value::Array(Array { element: *element, len: *len, bytes: bytes.get(range.clone())? }))
            }
            Self::Own(text) => Some(Value::Text(text)),
        }
    }
}

/// GGUF's value types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::Text,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    pub(crate) fn number(self) -> u32 {
        self as u32
    }

    /// Returns the size of a value in bytes, if all values of the type have the same.
    pub(crate) fn fixed_bytes(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Text | Self::Array => None,
        }
    }

    /// Reads one value from the front of bytes that were checked when the file was opened.
    fn split<'a>(self, bytes: &mut &'a [u8]) -> Option<Value<'a>> {
        Some(match self {
            Self::U8 => Value::Unsigned(u64::from(u8::from_le_bytes(split_array(bytes)?))),
            Self::I8 => Value::Signed(i64::from(i8::from_le_bytes(split_array(bytes)?))),
            Self::U16 => Value::Unsigned(u64::from(u16::from_le_bytes(split_array(bytes)?))),
            Self::I16 => Value::Signed(i64::from(i16::from_le_bytes(split_array(bytes)?))),
            Self::U32 => Value::Unsigned(u64::from(u32::from_le_bytes(split_array(bytes)?))),
            Self::I32 => Value::Signed(i64::from(i32::from_le_bytes(split_array(bytes)?))),
            Self::F32 => Value::Float(f64::from(f32::from_le_bytes(split_array(bytes)?))),
            Self::Bool => Value::Bool(split_array::<1>(bytes)? != [0]),
            Self::Text => Value::Text(split_text(bytes)?),
            Self::Array => Value::Array(split_nested(bytes)?),
            Self::U64 => Value::Unsigned(u64::from_le_bytes(split_array(bytes)?)),
            Self::I64 => Value::Signed(i64::from_le_bytes(split_array(bytes)?)),
            Self::F64 => Value::Float(f64::from_le_bytes(split_array(bytes)?)),
        })
    }
}

fn split_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

fn split_length(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(split_array(bytes)?)).ok()
}

fn split_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let length = split_length(bytes)?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}

/// Reads an array inside an array. Only walking it finds its end, which the depth limit keeps cheap.
fn split_nested<'a>(bytes: &mut &'a [u8]) -> Option<Array<'a>> {
    let element = ValueType::from_number(u32::from_le_bytes(split_array(bytes)?))?;
    let len = split_length(bytes)?;
    let whole = *bytes;
    if let Some(size) = element.fixed_bytes() {
        let (_, rest) = bytes.split_at_checked(usize::try_from(size).ok()?.checked_mul(len)?)?;
        *bytes = rest;
    } else {
        for _ in 0..len {
            element.split(bytes)?;
        }
    }
    let bytes = &whole[..whole.len() - bytes.len()];
    Some(Array { element, len, bytes })
}
