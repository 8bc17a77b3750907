//! Detects the format of a file from its first bytes, never from its name.

use std::fmt;

use crate::gguf;
use crate::safetensors::HEADER_BYTES_MAX;

/// A supported format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Gguf,
    Safetensors,
    /// JSON, which can only be a shard index.
    Index,
}

/// The format of a file that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedContent {
    /// An empty file.
    Empty,
    /// A Python pickle: a program that runs when it is loaded.
    Pickle,
    /// A zip archive with a pickle inside, PyTorch's format for `.bin`, `.pt` and `.ckpt`.
    PickleInZip,
    /// Another zip archive, such as NumPy's `.npz`.
    Zip,
    /// A tar archive, PyTorch's oldest format.
    Tar,
    /// A format of llama.cpp older than GGUF.
    OldGgml,
    /// HDF5, used by Keras and TensorFlow.
    Hdf5,
    /// ONNX, or another protocol buffer.
    Onnx,
    /// TensorFlow Lite.
    TfLite,
    /// A NumPy array.
    Numpy,
    /// A gzip archive.
    Gzip,
    /// An executable or a script.
    Executable,
    /// The placeholder that Git LFS leaves if the file was not fetched.
    LfsPointer,
    /// A web page, such as an error page instead of a download.
    Html,
    /// Another format.
    Unknown,
}

impl RefusedContent {
    /// Returns what the user can do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Pickle | Self::PickleInZip | Self::Tar => {
                "use the safetensors version of the model, or convert it in a sandbox: loading a pickle runs code"
            }
            Self::LfsPointer => "fetch the file itself with `git lfs pull`",
            Self::Html | Self::Empty => "the download failed: download the file again",
            Self::Gzip | Self::Zip => "unpack it and use the model file inside",
            Self::OldGgml => "convert it to GGUF with a current llama.cpp",
            Self::Hdf5 | Self::Onnx | Self::TfLite | Self::Numpy => {
                "use a safetensors or GGUF version of the model"
            }
            Self::Executable | Self::Unknown => "use a safetensors or GGUF file",
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
            Self::OldGgml => "the file is in a llama.cpp format older than GGUF",
            Self::Hdf5 => "the file is HDF5, a format of Keras",
            Self::Onnx => "the file looks like ONNX",
            Self::TfLite => "the file is TensorFlow Lite",
            Self::Numpy => "the file is a NumPy array",
            Self::Gzip => "the file is a gzip archive",
            Self::Executable => "the file is an executable",
            Self::LfsPointer => "the file is a Git LFS pointer, not the file it points to",
            Self::Html => "the file is a web page",
            Self::Unknown => "the file is neither GGUF nor safetensors",
        })
    }
}

impl std::error::Error for RefusedContent {}

/// Number of bytes at the start of a zip archive in which a pickle's name is searched.
const ZIP_PREFIX_BYTES: usize = 4096;
/// Offset of tar's magic number.
const TAR_MAGIC_AT: usize = 257;

/// Returns the format of a file, given all its bytes.
pub(crate) fn content(bytes: &[u8]) -> Result<Content, RefusedContent> {
    if bytes.starts_with(gguf::MAGIC) {
        return Ok(Content::Gguf);
    }
    // Checked before the others, because a safetensors file starts with a number that can look like any format.
    if is_safetensors(bytes) {
        return Ok(Content::Safetensors);
    }
    if let Some(refused) = refused(bytes) {
        return Err(refused);
    }
    match bytes.trim_ascii_start().first() {
        Some(b'{') => Ok(Content::Index),
        // A safetensors file with an invalid length: its reader gives a better error.
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
    // An ONNX model starts with its version, a small number, followed by its producer's name.
    match bytes {
        [0x08, version, 0x12 | 0x1a | 0x22, ..] if *version < 32 => Some(RefusedContent::Onnx),
        _ => None,
    }
}

/// Protocols 2 to 5 have a magic number. Protocols 0 and 1 are text, recognised by an import or a mark at the start
/// and a stop at the end.
fn is_pickle(bytes: &[u8]) -> bool {
    match bytes {
        [0x80, 2..=5, ..] => true,
        [b'c', name, .., b'.'] => name.is_ascii_alphabetic() || *name == b'_',
        [b'(' | b']' | b'}', .., b'.'] => true,
        _ => false,
    }
}
