//! Segment headers and record frames: lengths and checksums, nothing of what they hold.

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 16;
/// Bytes of a record's header.
pub(super) const RECORD_HEADER_BYTES: usize = 12;
/// The largest record body. A longer one is refused when it is written, so that a reader never has
/// to hold more than this.
pub(super) const RECORD_BYTES_MAX: usize = 16 << 20;

const MAGIC: [u8; 8] = *b"bantam-j";
const FRAMING_VERSION: u32 = 1;

/// Why bytes of a journal are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The file does not begin like a journal segment.
    #[error("it does not begin like a journal segment")]
    NoSegment,
    /// The file is framed in a way this version does not know.
    #[error("its framing is version {0}, which a newer bantam wrote")]
    NewerFraming(u32),
    /// A record's header does not match its checksum.
    #[error("a record's header does not match its checksum")]
    Header,
    /// A record's length is more than any record may have.
    #[error("a record claims {0} bytes, more than any record has")]
    TooLong(usize),
    /// A record's body does not match its checksum.
    #[error("a record's body does not match its checksum")]
    Body,
    /// A record is of a kind or version that this version does not know.
    #[error("a record is of kind {kind} version {version}, which a newer bantam wrote")]
    Unknown {
        /// The kind.
        kind: u8,
        /// Its version.
        version: u8,
    },
    /// A record's checksum holds and its fields make no sense.
    #[error("a record's {0} is not valid")]
    Field(&'static str),
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A whole record: its body, checksum verified.
    Whole(&'a [u8]),
    /// The beginning of a record that takes this many bytes in all, as far as can be said.
    Partial(usize),
}

impl Frame<'_> {
    /// Returns how many bytes the record takes, its header included.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Whole(body) => RECORD_HEADER_BYTES + body.len(),
            Self::Partial(bytes) => *bytes,
        }
    }
}

/// Returns the first record of `bytes`, which may be cut anywhere.
pub(crate) fn split(bytes: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let Some((header, rest)) = bytes.split_at_checked(RECORD_HEADER_BYTES) else {
        return Ok(Frame::Partial(RECORD_HEADER_BYTES));
    };
    if crc32fast::hash(&header[..8]) != number(&header[8..]) {
        return Err(DecodeError::Header);
    }
    let length = number(header) as usize;
    if length > RECORD_BYTES_MAX {
        return Err(DecodeError::TooLong(length));
    }
    let Some(body) = rest.get(..length) else {
        return Ok(Frame::Partial(RECORD_HEADER_BYTES + length));
    };
    if crc32fast::hash(body) != number(&header[4..]) {
        return Err(DecodeError::Body);
    }
    Ok(Frame::Whole(body))
}

/// Fills in the header of the record whose body stands behind the room left for it.
///
/// Returns the body's length when it is more than a record may have.
pub(super) fn seal(record: &mut [u8]) -> Result<(), usize> {
    let (header, body) = record.split_at_mut(RECORD_HEADER_BYTES);
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= RECORD_BYTES_MAX);
    let length = length.ok_or(body.len())?;
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..8].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    let check = crc32fast::hash(&header[..8]);
    header[8..].copy_from_slice(&check.to_le_bytes());
    Ok(())
}

/// Returns the header that every segment begins with.
pub(crate) fn segment_header() -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FRAMING_VERSION.to_le_bytes());
    let check = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&check.to_le_bytes());
    header
}

/// Accepts the header of a segment that this version can read.
pub(crate) fn check_segment_header(header: &[u8; SEGMENT_HEADER_BYTES]) -> Result<(), DecodeError> {
    if header[..8] != MAGIC || crc32fast::hash(&header[..12]) != number(&header[12..]) {
        return Err(DecodeError::NoSegment);
    }
    match number(&header[8..]) {
        FRAMING_VERSION => Ok(()),
        version => Err(DecodeError::NewerFraming(version)),
    }
}

/// Returns the little-endian number in the first four bytes, zero where they are missing.
fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
