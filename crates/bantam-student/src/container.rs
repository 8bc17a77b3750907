//! The container of every student file: magic, version, kind, length, hash, body.
//!
//! | Bytes | Content |
//! |---|---|
//! | 8 | `BANTAMST` |
//! | 4 | version of the format; all numbers are little-endian |
//! | 4 | kind of student |
//! | 8 | length of the body |
//! | 32 | SHA-256 of all other bytes |
//! | rest | the body, in the kind's own format |

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::encoder::LoadBaseError;
use crate::hash::FileHash;

const MAGIC: &[u8; 8] = b"BANTAMST";
const VERSION: u32 = 3;
const PREFIX_BYTES: usize = 24;
const HEADER_BYTES: usize = PREFIX_BYTES + 32;
/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// The kind of student in a file's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StudentKind {
    /// [`crate::linear`].
    Linear,
    /// [`crate::encoder`].
    Encoder,
    /// [`crate::encoder`] with a tuned base. Since version 2.
    Tuned,
    /// [`crate::tagger`] over an encoder. Since version 2.
    Tagger,
    /// [`crate::tagger`] without a base. Since version 3.
    LinearTagger,
}

impl StudentKind {
    const ALL: [Self; 5] = [Self::Linear, Self::Encoder, Self::Tuned, Self::Tagger, Self::LinearTagger];

    /// Returns the name for error messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Linear | Self::Encoder | Self::Tuned => "a classifier",
            Self::Tagger | Self::LinearTagger => "a tagger",
        }
    }

    /// Returns the number in the file and the first format version that has it. A file states the lowest version that
    /// its kind needs, so that older programs can read it.
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
    /// What is wrong with it.
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
    /// The file is not a student file.
    #[error("not a student file")]
    NotStudent,
    /// A newer program wrote the file.
    #[error("the file has format version {found}; this program reads versions up to {VERSION}")]
    NewerVersion {
        /// The file's version.
        found: u32,
    },
    /// This program does not know the kind of student.
    #[error("the file holds a student of unknown kind {found}")]
    UnknownKind {
        /// The file's kind.
        found: u32,
    },
    /// The file is larger than any student.
    #[error("the file has {bytes} bytes; at most {FILE_BYTES_MAX} are read")]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
    /// Bytes are missing at the end.
    #[error("the file ends after {found} of {expected} bytes")]
    Truncated {
        /// The expected length.
        expected: u64,
        /// The actual length.
        found: u64,
    },
    /// There are extra bytes at the end.
    #[error("the file continues after its {expected} bytes")]
    TooLong {
        /// The expected length.
        expected: u64,
    },
    /// The content was changed after it was written.
    #[error("the content does not match its hash")]
    HashMismatch,
    /// Sizes contradict each other.
    #[error("inconsistent size: {what}")]
    Size {
        /// Which size.
        what: &'static str,
    },
    /// Training never produces this number.
    #[error("number out of range: {what}")]
    Number {
        /// Which number.
        what: &'static str,
    },
    /// The description is invalid.
    #[error("cannot parse the description")]
    Description(#[source] serde_json::Error),
    /// The student's base cannot be used.
    #[error(transparent)]
    Base(#[from] Box<LoadBaseError>),
    /// The caller needs another kind of student.
    #[error("the student is {found}; {wanted} is needed")]
    OtherKind {
        /// The kind found.
        found: &'static str,
        /// The kind needed.
        wanted: &'static str,
    },
}

impl LoadStudentErrorKind {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read(_) => "check that the path is right and the file is readable",
            Self::NotStudent => "use a file that training wrote",
            Self::NewerVersion { .. } | Self::UnknownKind { .. } => {
                "update this program, or train again with it"
            }
            Self::TooLarge { .. } | Self::Truncated { .. } | Self::TooLong { .. } | Self::HashMismatch => {
                "the file is damaged: copy it again from its source, or train again"
            }
            Self::Size { .. } | Self::Number { .. } | Self::Description(_) => {
                "this program did not write the file: train again"
            }
            Self::Base(error) => error.kind.hint(),
            Self::OtherKind { .. } => {
                "use the file of a student of that kind: taggers extract, all others classify"
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
    /// The system's error.
    #[source]
    pub source: std::io::Error,
}

/// Reads a file, checking its length before allocating anything.
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

/// Checks header, length and hash, and returns the kind, the body and the hash.
pub(crate) fn open(bytes: &[u8]) -> Result<(StudentKind, &[u8], FileHash), LoadStudentErrorKind> {
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
    match StudentKind::ALL.into_iter().find(|kind| kind.code().0 == found) {
        Some(kind) => Ok((kind, body, hash)),
        None => Err(LoadStudentErrorKind::UnknownKind { found }),
    }
}

/// Returns the bytes of a whole file around a body, and their hash.
pub(crate) fn seal(kind: StudentKind, body: &[u8]) -> (Vec<u8>, FileHash) {
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

/// Writes a file atomically: whatever happens, the path holds either its old content or all of `bytes`.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), SaveStudentError> {
    let failed = |source| SaveStudentError { path: path.to_owned(), source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = write_through(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first failure is the one to report; a leftover file is harmless.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Sync the folder, so that the rename is durable; not every system can open a folder.
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
        let kind = open(bytes).expect_err("should be rejected");
        assert_eq!(kind.to_string(), message);
        assert!(!kind.hint().is_empty());
    }

    #[test]
    fn a_sealed_body_can_be_opened() {
        let (bytes, hash) = seal(StudentKind::Linear, b"body");
        assert_eq!(open(&bytes).unwrap(), (StudentKind::Linear, &b"body"[..], hash));
    }

    #[test]
    fn reports_what_is_wrong_with_the_container() {
        let (good, _) = seal(StudentKind::Linear, b"body");
        check(b"", "not a student file");
        check(b"GGUF and so on", "not a student file");
        check(&good[..4], "the file ends after 4 of 56 bytes");
        check(&good[..59], "the file ends after 59 of 60 bytes");
        check(&[&good[..], b"!"].concat(), "the file continues after its 60 bytes");
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        check(&changed(8, 4), "the file has format version 4; this program reads versions up to 3");
        check(&changed(12, 9), "the content does not match its hash");
        check(&changed(57, 9), "the content does not match its hash");
        check(&changed(23, 255), "the file ends after 60 of 18374686479671623740 bytes");
    }
}
