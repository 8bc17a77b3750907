//! What a file is, by its first bytes. Its name is never asked.

use std::fmt;

use crate::gguf;
use crate::safetensors::HEADER_BYTES_MAX;

/// What can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Gguf,
    Safetensors,
    /// JSON: a list of shards, if anything.
    Index,
}

/// What a file is that is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedContent {
    /// No bytes.
    Empty,
    /// A Python pickle: a program, which runs when it is read.
    Pickle,
    /// A zip archive with a pickle inside, as PyTorch writes `.bin`, `.pt` and `.ckpt`.
    PickleInZip,
    /// Some other zip archive, such as NumPy's `.npz`.
    Zip,
    /// A tar archive, which old PyTorch wrote.
    Tar,
    /// What llama.cpp wrote before GGUF.
    OldGgml,
    /// Keras and TensorFlow.
    Hdf5,
    /// ONNX, or another protocol buffer.
    Onnx,
    /// TensorFlow Lite.
    TfLite,
    /// A NumPy array.
    Numpy,
    /// A gzip archive.
    Gzip,
    /// A program.
    Executable,
    /// The stand-in that Git LFS leaves where the file was not fetched.
    LfsPointer,
    /// A web page, such as an error in place of a download.
    Html,
    /// None of these.
    Unknown,
}

impl RefusedContent {
    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Pickle | Self::PickleInZip | Self::Tar => {
                "get the model as safetensors, or convert it on a machine you can lose: reading a pickle runs it"
            }
            Self::LfsPointer => "fetch the file itself with `git lfs pull`",
            Self::Html | Self::Empty => "the download failed: download the file again",
            Self::Gzip | Self::Zip => "unpack it and give the model file inside",
            Self::OldGgml => "convert it to GGUF with a current llama.cpp",
            Self::Hdf5 | Self::Onnx | Self::TfLite | Self::Numpy => "get the model as safetensors or GGUF",
            Self::Executable | Self::Unknown => "give a safetensors or GGUF file",
        }
    }
}

impl fmt::Display for RefusedContent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Empty => "the file is empty",
            Self::Pickle => "the file is a Python pickle",
            Self::PickleInZip => {
                "the file is a PyTorch checkpoint, a zip archive with a Python pickle inside"
            }
            Self::Zip => "the file is a zip archive",
            Self::Tar => "the file is a tar archive",
            Self::OldGgml => "the file is in a format from before GGUF",
            Self::Hdf5 => "the file is HDF5, as Keras writes it",
            Self::Onnx => "the file looks like ONNX",
            Self::TfLite => "the file is TensorFlow Lite",
            Self::Numpy => "the file is a NumPy array",
            Self::Gzip => "the file is a gzip archive",
            Self::Executable => "the file is a program",
            Self::LfsPointer => "the file is a Git LFS pointer, not the file it points to",
            Self::Html => "the file is a web page",
            Self::Unknown => "the file is neither GGUF nor safetensors",
        })
    }
}

impl std::error::Error for RefusedContent {}

/// How far into a zip archive the name of a pickle is looked for.
const ZIP_PREFIX_BYTES: usize = 4096;
/// Where tar says what it is.
const TAR_MAGIC_AT: usize = 257;

/// Says what a whole file is.
pub(crate) fn content(bytes: &[u8]) -> Result<Content, RefusedContent> {
    if bytes.starts_with(gguf::MAGIC) {
        return Ok(Content::Gguf);
    }
    // Before the others, since its first bytes are a number and may look like anything.
    if is_safetensors(bytes) {
        return Ok(Content::Safetensors);
    }
    if let Some(refused) = refused(bytes) {
        return Err(refused);
    }
    match bytes.trim_ascii_start().first() {
        Some(b'{') => Ok(Content::Index),
        // A length that is out of range still deserves the name of what is wrong.
        _ if bytes.get(8) == Some(&b'{') => Ok(Content::Safetensors),
        _ => Err(RefusedContent::Unknown),
    }
}

fn is_safetensors(bytes: &[u8]) -> bool {
    let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
    bytes.get(8) == Some(&b'{') && length.is_some_and(|length| length <= HEADER_BYTES_MAX)
}

fn refused(bytes: &[u8]) -> Option<RefusedContent> {
    const MAGICS: [(&[u8], RefusedContent); 17] = [
        (b"ggml", RefusedContent::OldGgml),
        (b"lmgg", RefusedContent::OldGgml),
        (b"fmgg", RefusedContent::OldGgml),
        (b"tjgg", RefusedContent::OldGgml),
        (b"algg", RefusedContent::OldGgml),
        (b"\x89HDF", RefusedContent::Hdf5),
        (b"\x93NUMPY", RefusedContent::Numpy),
        (b"\x1f\x8b", RefusedContent::Gzip),
        (b"\x7fELF", RefusedContent::Executable),
        (b"MZ", RefusedContent::Executable),
        (b"#!", RefusedContent::Executable),
        (b"\xcf\xfa\xed\xfe", RefusedContent::Executable),
        (b"version https://git-lfs", RefusedContent::LfsPointer),
        (b"<!", RefusedContent::Html),
        (b"<html", RefusedContent::Html),
        (b"<HTML", RefusedContent::Html),
        (b"<?xml", RefusedContent::Html),
    ];
    if bytes.is_empty() {
        return Some(RefusedContent::Empty);
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        let prefix = &bytes[..bytes.len().min(ZIP_PREFIX_BYTES)];
        let has_pickle = prefix.windows(4).any(|name| name == b".pkl");
        return Some(if has_pickle { RefusedContent::PickleInZip } else { RefusedContent::Zip });
    }
    if let Some((_, refused)) = MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(*refused);
    }
    if is_pickle(bytes) {
        return Some(RefusedContent::Pickle);
    }
    if bytes.get(TAR_MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar")) {
        return Some(RefusedContent::Tar);
    }
    if bytes.get(4..).is_some_and(|rest| rest.starts_with(b"TFL3")) {
        return Some(RefusedContent::TfLite);
    }
    // The first field of an ONNX model is its version, a small number, and its producer's name follows.
    match bytes {
        [0x08, version, 0x12 | 0x1a | 0x22, ..] if *version < 32 => Some(RefusedContent::Onnx),
        _ => None,
    }
}

/// Protocols 2 to 5 say so; 0 and 1 are text, known by an import or a mark at their start and a stop at their end.
fn is_pickle(bytes: &[u8]) -> bool {
    match bytes {
        [0x80, 2..=5, ..] => true,
        [b'c', name, .., b'.'] => name.is_ascii_alphabetic() || *name == b'_',
        [b'(' | b']' | b'}', .., b'.'] => true,
        _ => false,
    }
}
