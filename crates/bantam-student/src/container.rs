//! The outside of every student file: magic, version, kind, length, hash, body.
//!
//! | Bytes | Content |
//! |---|---|
//! | 8 | `BANTAMST` |
//! | 4 | version of the format, little-endian like every number here |
//! | 4 | kind of student |
//! | 8 | length of the body |
//! | 32 | SHA-256 of all bytes but these |
//! | rest | the body, in the kind's own form |

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::encoder::LoadBaseError;
use crate::hash::FileHash;

const MAGIC: &[u8; 8] = b"BANTAMST";
const VERSION: u32 = 3;
const PREFIX_BYTES: usize = 24;
const HEADER_BYTES: usize = PREFIX_BYTES + 32;
/// Bytes of a file at most.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// What the body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// [`crate::linear`].
    Linear,
    /// [`crate::encoder`].
    Encoder,
    /// [`crate::encoder`], with changes of its base. Since version 2.
    Tuned,
    /// [`crate::tagger`], over an encoder. Since version 2.
    Tagger,
    /// [`crate::tagger`], without a base. Since version 3.
    LinearTagger,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Linear, Self::Encoder, Self::Tuned, Self::Tagger, Self::LinearTagger];

    /// What people call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Linear | Self::Encoder | Self::Tuned => "a classifier",
            Self::Tagger | Self::LinearTagger => "a tagger",
        }
    }

    /// The number in the file, and the version of the format that is the first to have it: files that older programs
    /// can read are written as they read them.
    const fn code(self) -> (u32, u32) {
        match self {
            Self::Linear => (1, 1),
            Self::Encoder => (2, 1),
            Self::Tuned => (3, 2),
            Self::Tagger => (4, 2),
            Self::LinearTagger => (5, 3),
        }
    }
}

/// Why a student file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("load the student {}", .path.display())]
pub struct LoadStudentError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub kind: LoadStudentErrorKind,
}

/// What is wrong with a student file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadStudentErrorKind {
    /// The file could not be read.
    #[error("cannot read the file")]
    Read(#[from] std::io::Error),
    /// Some other file.
    #[error("this is not a student file")]
    NotStudent,
    /// Written by a later program.
    #[error("the file has format version {found}, and this program reads up to {VERSION}")]
    NewerVersion {
        /// The file's version.
        found: u32,
    },
    /// A kind this program does not know.
    #[error("the file holds a student of unknown kind {found}")]
    UnknownKind {
        /// The file's kind.
        found: u32,
    },
    /// Beyond any sensible length.
    #[error("the file has {bytes} bytes; at most {FILE_BYTES_MAX} are read")]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
    /// Bytes are missing at the end.
    #[error("the file ends after {found} of {expected} bytes")]
    Truncated {
        /// Bytes there should be.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Bytes follow the end.
    #[error("the file goes on after its {expected} bytes")]
    TooLong {
        /// Bytes there should be.
        expected: u64,
    },
    /// The content is not what was written.
    #[error("the content does not match its hash")]
    HashMismatch,
    /// Sizes that do not fit each other.
    #[error("inconsistent size: {what}")]
    Size {
        /// Which.
        what: &'static str,
    },
    /// A number no training gives.
    #[error("number out of range: {what}")]
    Number {
        /// Which.
        what: &'static str,
    },
    /// The description is not what it must be.
    #[error("cannot read the description")]
    Description(#[source] serde_json::Error),
    /// The base that the student stands on cannot be used.
    #[error(transparent)]
    Base(#[from] Box<LoadBaseError>),
    /// A student of another kind than the caller can use.
    #[error("this is {found}, where {wanted} is needed")]
    OtherKind {
        /// What it is.
        found: &'static str,
        /// What would do.
        wanted: &'static str,
    },
}

impl LoadStudentErrorKind {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read(_) => "check that the path is right and may be read",
            Self::NotStudent => "give the file that training wrote",
            Self::NewerVersion { .. } | Self::UnknownKind { .. } => {
                "update this program, or train again with it"
            }
            Self::TooLarge { .. } | Self::Truncated { .. } | Self::TooLong { .. } | Self::HashMismatch => {
                "the file is damaged: copy it again from its source, or train again"
            }
            Self::Size { .. } | Self::Number { .. } | Self::Description(_) => {
                "the file was not written by this program: train again"
            }
            Self::Base(error) => error.kind.hint(),
            Self::OtherKind { .. } => {
                "give the file of a student of that kind: a tagger extracts, all others classify"
            }
        }
    }
}

/// Why a student could not be written.
#[derive(Debug, thiserror::Error)]
#[error("save the student {}", .path.display())]
pub struct SaveStudentError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

/// A file's bytes, its length checked before anything is allocated.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LoadStudentErrorKind> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > FILE_BYTES_MAX {
        return Err(LoadStudentErrorKind::TooLarge { bytes: length });
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The body and its kind, once header, length and hash are known to be right.
pub(crate) fn open(bytes: &[u8]) -> Result<(Kind, &[u8], FileHash), LoadStudentErrorKind> {
    let truncated = |expected| LoadStudentErrorKind::Truncated { expected, found: bytes.len() as u64 };
    let magic = &bytes[..bytes.len().min(MAGIC.len())];
    if magic.is_empty() || !MAGIC.starts_with(magic) {
        return Err(LoadStudentErrorKind::NotStudent);
    }
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(truncated(HEADER_BYTES as u64));
    };
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if number(8) > VERSION {
        return Err(LoadStudentErrorKind::NewerVersion { found: number(8) });
    }
    let length = u64::from(number(16)) | u64::from(number(20)) << 32;
    let expected = length.saturating_add(HEADER_BYTES as u64);
    match (bytes.len() as u64).cmp(&expected) {
        std::cmp::Ordering::Less => return Err(truncated(expected)),
        std::cmp::Ordering::Greater => return Err(LoadStudentErrorKind::TooLong { expected }),
        std::cmp::Ordering::Equal => {}
    }
    let hash = FileHash::of(&[&header[..PREFIX_BYTES], body]);
    if hash.as_bytes()[..] != header[PREFIX_BYTES..] {
        return Err(LoadStudentErrorKind::HashMismatch);
    }
    let found = number(12);
    match Kind::ALL.into_iter().find(|kind| kind.code().0 == found) {
        Some(kind) => Ok((kind, body, hash)),
        None => Err(LoadStudentErrorKind::UnknownKind { found }),
    }
}

/// A whole file's bytes around a body, and their hash.
pub(crate) fn seal(kind: Kind, body: &[u8]) -> (Vec<u8>, FileHash) {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(MAGIC);
    let (kind, version) = kind.code();
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    let hash = FileHash::of(&[&bytes, body]);
    bytes.extend_from_slice(hash.as_bytes());
    bytes.extend_from_slice(body);
    (bytes, hash)
}

/// Writes a file so that, whatever happens, the path holds either what it held before or all of `bytes`.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), SaveStudentError> {
    let failed = |source| SaveStudentError { path: path.to_owned(), source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = write_through(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first failure is the one to report; a leftover file does no harm.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Not every system can open a folder; where it can, the rename itself is made to last.
    if let Ok(folder) = File::open(folder) {
        folder.sync_all().map_err(failed)?;
    }
    Ok(())
}

fn write_through(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], message: &str) {
        let kind = open(bytes).expect_err("should be refused");
        assert_eq!(kind.to_string(), message);
        assert!(!kind.hint().is_empty());
    }

    #[test]
    fn what_is_sealed_opens() {
        let (bytes, hash) = seal(Kind::Linear, b"body");
        assert_eq!(open(&bytes).unwrap(), (Kind::Linear, &b"body"[..], hash));
    }

    #[test]
    fn names_what_is_wrong_with_the_outside() {
        let (good, _) = seal(Kind::Linear, b"body");
        check(b"", "this is not a student file");
        check(b"GGUF and so on", "this is not a student file");
        check(&good[..4], "the file ends after 4 of 56 bytes");
        check(&good[..59], "the file ends after 59 of 60 bytes");
        check(&[&good[..], b"!"].concat(), "the file goes on after its 60 bytes");
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        check(&changed(8, 4), "the file has format version 4, and this program reads up to 3");
        check(&changed(12, 9), "the content does not match its hash");
        check(&changed(57, 9), "the content does not match its hash");
        check(&changed(23, 255), "the file ends after 60 of 18374686479671623740 bytes");
    }
}
