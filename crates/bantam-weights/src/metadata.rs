//! What a file says about its model: typed values by key.

use std::ops::Range;

/// A value of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// A float; singles are widened.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(&'a str),
    /// Several values of one type.
    Array(Array<'a>),
}

/// Several values of one type, left in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Array<'a> {
    element: ValueType,
    len: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values in their order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let Self { element, len, mut bytes } = *self;
        (0..len).map_while(move |_| element.split(&mut bytes))
    }
}

/// The texts of an array, in their order, borrowed from the file.
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

/// What a file says about its model. A GGUF file has keys like `llama.block_count`; safetensors has texts only.
#[derive(Debug, Clone, Copy)]
pub struct Metadata<'a> {
    pub(crate) entries: &'a Entries,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Metadata<'a> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let found = self.entries.binary_search_by(|entry| (*entry.key).cmp(key)).ok()?;
        self.entries.get(found)?.stored.value(self.bytes)
    }

    /// The keys, sorted.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        self.entries.iter().map(|entry| &*entry.key)
    }

    /// The value of a key as it stands in a GGUF file, to be written to another one unchanged.
    pub fn stored(&self, key: &str) -> Option<StoredValue<'a>> {
        let found = self.entries.binary_search_by(|entry| (*entry.key).cmp(key)).ok()?;
        match &self.entries.get(found)?.stored {
            Stored::Plain { value, range } => {
                Some(StoredValue { value: *value, head: None, bytes: self.bytes.get(range.clone())? })
            }
            Stored::Array { element, len, range } => Some(StoredValue {
                value: ValueType::Array,
                head: Some((*element, *len)),
                bytes: self.bytes.get(range.clone())?,
            }),
            Stored::Own(_) => None,
        }
    }

    /// An integer of any width and signedness, where it fits.
    pub fn u64(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Unsigned(value) => Some(value),
            Value::Signed(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// An integer of any width and signedness, where it fits.
    pub fn u32(&self, key: &str) -> Option<u32> {
        self.u64(key)?.try_into().ok()
    }

    /// An integer of any width and signedness, where it fits.
    pub fn usize(&self, key: &str) -> Option<usize> {
        self.u64(key)?.try_into().ok()
    }

    /// A float; a double is rounded.
    pub fn f32(&self, key: &str) -> Option<f32> {
        match self.get(key)? {
            Value::Float(value) => Some(value as f32),
            _ => None,
        }
    }

    /// True or false.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::Text(value) => Some(value),
            _ => None,
        }
    }

    /// An array of any type.
    pub fn array(&self, key: &str) -> Option<Array<'a>> {
        match self.get(key)? {
            Value::Array(array) => Some(array),
            _ => None,
        }
    }

    /// An array of texts.
    pub fn texts(&self, key: &str) -> Option<Strings<'a>> {
        let array = self.array(key)?;
        (array.element == ValueType::Text).then_some(Strings { left: array.len, bytes: array.bytes })
    }
}

/// A value as it stands in a GGUF file.
#[derive(Debug, Clone, Copy)]
pub struct StoredValue<'a> {
    pub(crate) value: ValueType,
    /// What the values of an array are, and how many.
    pub(crate) head: Option<(ValueType, usize)>,
    pub(crate) bytes: &'a [u8],
}

/// All keys of a file, sorted, each once.
pub(crate) type Entries = Vec<MetadataEntry>;

#[derive(Debug)]
pub(crate) struct MetadataEntry {
    pub(crate) key: Box<str>,
    pub(crate) stored: Stored,
}

/// A checked value: its bytes lie at a range of the file, or it is a text of its own.
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

/// GGUF's types of values.
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

    /// The bytes that every value of the type takes, where they all take the same.
    pub(crate) fn fixed_bytes(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Text | Self::Array => None,
        }
    }

    /// Takes one value off the front of bytes that were checked when the file was opened.
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

/// An array inside an array. Its end is only known by walking it, which its depth's limit keeps cheap.
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
