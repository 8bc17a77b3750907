//! Reads a segment back, a bounded batch at a time.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::entry::Entry;
use crate::format::{DecodeError, Frame, Known, SEGMENT_HEADER_BYTES, check_segment_header, decode, split};

/// How much is read at once. A longer record is read alone. Whoever is behind catches up in large transactions: each
/// writes the sums of its hour once, however many requests it takes.
const CHUNK_BYTES: usize = 1 << 20;
/// How many records one batch holds at most: decoded they take about four times their bytes.
const BATCH_RECORDS_MAX: usize = 8192;

/// Why a journal segment cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file cannot be read.
    #[error("cannot read journal segment {path}")]
    Read {
        /// The segment.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A record in it is damaged.
    #[error(
        "journal segment {path} is damaged at byte {offset}; all records before it are safe: restore the file \
         from a backup, or open the ledger with `Damage::SetAside`, which keeps the file aside and goes on"
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the damaged record begins.
        offset: u64,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// It ends before a record that was appended whole.
    #[error("journal segment {path} was cut at byte {offset} by somebody else while it was in use")]
    Cut {
        /// The segment.
        path: PathBuf,
        /// Where the cut record begins.
        offset: u64,
    },
}

/// Some whole records of a segment, in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) entries: Vec<Entry>,
    /// How many bytes the records take in the segment.
    pub(crate) bytes: u64,
    /// Whether half a record follows, and nothing after it.
    pub(crate) torn: bool,
}

/// A place in a segment.
pub(crate) struct SegmentReader {
    path: PathBuf,
    file: File,
    offset: u64,
    buffer: Vec<u8>,
    known: Known,
}

impl SegmentReader {
    /// Opens a segment and checks its header. Returns `None` when it is too short to have one: its
    /// creation was cut off, so nothing was ever appended to it.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, JournalError> {
        let read = |source| JournalError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read)?;
        let mut header = [0; SEGMENT_HEADER_BYTES];
        match file.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result.map_err(read)?,
        }
        check_segment_header(&header).map_err(|source| JournalError::Damaged {
            path: path.to_owned(),
            offset: 0,
            source,
        })?;
        let offset = header.len() as u64;
        Ok(Some(Self { path: path.to_owned(), file, offset, buffer: Vec::new(), known: Known::default() }))
    }

    /// Returns the length of the file as it is now.
    pub(crate) fn length(&self) -> Result<u64, JournalError> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|source| self.read_error(source))
    }

    /// Returns where the next batch begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes past a batch that was dealt with.
    pub(crate) fn advance(&mut self, batch: &Batch) {
        self.offset += batch.bytes;
    }

    /// Returns the next records before `end`; none when there are no more. Asking again without
    /// [`advance`](Self::advance) returns the same.
    ///
    /// Damage is reported only by a batch that would begin with it, so that everything before it is
    /// dealt with first.
    pub(crate) fn batch(&mut self, end: u64) -> Result<Batch, JournalError> {
        let mut batch = self.read_batch(end, CHUNK_BYTES)?;
        if let (None, Some(bytes)) = (batch.entries.first(), self.next_record_bytes(&batch)?) {
            batch = self.read_batch(end, bytes)?;
        }
        Ok(batch)
    }

    /// Returns the length of the record that begins here when it did not fit in a chunk.
    fn next_record_bytes(&self, batch: &Batch) -> Result<Option<usize>, JournalError> {
        if batch.torn || self.buffer.is_empty() {
            return Ok(None);
        }
        let frame = split(&self.buffer).map_err(|source| self.damaged(source))?;
        Ok(Some(frame.bytes()))
    }

    fn read_batch(&mut self, end: u64, chunk_bytes: usize) -> Result<Batch, JournalError> {
        let left = end.saturating_sub(self.offset);
        self.fill(left.min(chunk_bytes as u64))?;
        let mut batch = Batch::default();
        let mut rest = self.buffer.as_slice();
        while batch.entries.len() < BATCH_RECORDS_MAX && !rest.is_empty() {
            let next = split(rest).and_then(|frame| match frame {
                Frame::Whole(body) => Ok((Some(decode(body, &mut self.known)?), frame.bytes())),
                Frame::Partial(bytes) => Ok((None, bytes)),
            });
            match next {
                Ok((Some(entry), bytes)) => {
                    batch.entries.push(entry);
                    batch.bytes += bytes as u64;
                    rest = &rest[bytes..];
                }
                Ok((None, bytes)) => {
                    batch.torn = batch.bytes + bytes as u64 > left;
                    break;
                }
                Err(source) if batch.entries.is_empty() => return Err(self.damaged(source)),
                Err(_) => break,
            }
        }
        Ok(batch)
    }

    fn fill(&mut self, bytes: u64) -> Result<(), JournalError> {
        self.buffer.clear();
        self.buffer.shrink_to(CHUNK_BYTES);
        let result = self.file.seek(SeekFrom::Start(self.offset)).and_then(|_| {
            let mut file = &self.file;
            file.by_ref().take(bytes).read_to_end(&mut self.buffer)
        });
        result.map(drop).map_err(|source| self.read_error(source))
    }

    /// Returns whether nothing but zeros follows: what some file systems leave after a power loss
    /// where bytes were appended and never reached the disk.
    pub(crate) fn only_zeros_follow(&mut self) -> Result<bool, JournalError> {
        self.file.seek(SeekFrom::Start(self.offset)).map_err(|source| self.read_error(source))?;
        let mut chunk = [0; 4096];
        loop {
            match self.file.read(&mut chunk).map_err(|source| self.read_error(source))? {
                0 => return Ok(true),
                read if chunk[..read].iter().any(|byte| *byte != 0) => return Ok(false),
                _ => {}
            }
        }
    }

    fn read_error(&self, source: io::Error) -> JournalError {
        JournalError::Read { path: self.path.clone(), source }
    }

    fn damaged(&self, source: DecodeError) -> JournalError {
        JournalError::Damaged { path: self.path.clone(), offset: self.offset, source }
    }
}
