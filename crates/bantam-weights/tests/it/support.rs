//! Builds files byte by byte, and finds shared files.

use std::error::Error;
use std::path::PathBuf;

use bantam_weights::{OpenWeightsErrorKind, WeightFile};

/// Returns an error's message with its causes, as a user sees it.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut messages = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        messages.push(error.to_string());
        cause = error.source();
    }
    messages.dedup();
    messages.join(": ")
}

/// Opens bytes that must be refused, and returns the error.
#[track_caller]
pub(crate) fn refused(bytes: &[u8]) -> (String, OpenWeightsErrorKind) {
    let error = WeightFile::from_bytes(bytes.to_vec()).expect_err("should be refused");
    assert!(!error.hint().is_empty());
    (chain(&error), error)
}

/// A GGUF file built from parts, which need not be valid.
#[derive(Clone)]
pub(crate) struct Gguf {
    pub(crate) version: u32,
    pub(crate) counts: Option<(u64, u64)>,
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) tensors: Vec<Vec<u8>>,
    pub(crate) data: Vec<u8>,
}

impl Gguf {
    pub(crate) fn new() -> Self {
        Self { version: 3, counts: None, keys: Vec::new(), tensors: Vec::new(), data: Vec::new() }
    }

    pub(crate) fn key(mut self, name: &str, kind: u32, value: &[u8]) -> Self {
        self.keys.push([text(name), kind.to_le_bytes().to_vec(), value.to_vec()].concat());
        self
    }

    /// Adds a tensor. `dimensions` are in file order: fastest first.
    pub(crate) fn tensor(mut self, name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Self {
        let mut bytes = text(name);
        bytes.extend((dimensions.len() as u32).to_le_bytes());
        bytes.extend(dimensions.iter().flat_map(|size| size.to_le_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        self.tensors.push(bytes);
        self
    }

    pub(crate) fn data(mut self, bytes: usize) -> Self {
        self.data = (0..bytes).map(|byte| byte as u8).collect();
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (tensors, keys) = self.counts.unwrap_or((self.tensors.len() as u64, self.keys.len() as u64));
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(keys.to_le_bytes());
        bytes.extend(self.keys.concat());
        bytes.extend(self.tensors.concat());
        if !self.tensors.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(32), 0);
        }
        bytes.extend(&self.data);
        bytes
    }
}

/// Returns a string in GGUF's encoding.
pub(crate) fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// Returns an array in GGUF's encoding.
pub(crate) fn array(element: u32, len: u64, values: &[u8]) -> Vec<u8> {
    [&element.to_le_bytes()[..], &len.to_le_bytes(), values].concat()
}

/// Returns a safetensors file with a header and some bytes of data.
pub(crate) fn safetensors_bytes(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![7; data]].concat()
}

/// Returns the path of a shared file, or `None` with a printed note if it does not exist.
#[expect(clippy::disallowed_methods, reason = "a test reads its environment itself")]
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let path = std::env::var_os("BANTAM_SHARED_DATA").map_or_else(beside, PathBuf::from).join(name);
    if !path.exists() {
        println!("SKIPPED: no {} (set BANTAM_SHARED_DATA to its folder)", path.display());
        return None;
    }
    Some(path)
}

/// Returns the content of a golden file.
pub(crate) fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name);
    std::fs::read(path).unwrap()
}

/// Returns a small valid GGUF file with several kinds of values and two tensors.
pub(crate) fn small_gguf() -> Vec<u8> {
    Gguf::new()
        .key("general.architecture", 8, &text("tiny"))
        .key("tiny.block_count", 4, &2u32.to_le_bytes())
        .key("tiny.flag", 7, &[1])
        .key("tiny.words", 9, &array(8, 2, &[text("a"), text("bc")].concat()))
        .key("tiny.nested", 9, &array(9, 2, &[array(0, 1, &[1]), array(4, 1, &[1, 0, 0, 0])].concat()))
        .tensor("a", &[4, 2], 0, 0)
        .tensor("b", &[32], 8, 32)
        .data(66)
        .bytes()
}

/// Returns a small valid safetensors file.
pub(crate) fn small_safetensors() -> Vec<u8> {
    let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"I64","shape":[],"data_offsets":[16,24]}}"#;
    safetensors_bytes(header, 24)
}
