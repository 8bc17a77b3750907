//! Event files as TensorBoard reads them: records of a length, its checksum, an `Event` of protocol buffers, and its
//! checksum (<https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto>).

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// A file that events are appended to.
pub(crate) struct EventFile {
    file: File,
}

impl EventFile {
    /// Makes a file in `folder`, which is made too. `seconds` is the time since 1970, which names it.
    pub(crate) fn create(folder: &Path, seconds: f64) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let name = format!("events.out.tfevents.{}.{}.bantam", seconds as u64, std::process::id());
        let file = File::options().create(true).append(true).open(folder.join(name))?;
        let mut events = Self { file };
        let mut event = Vec::new();
        fixed64(&mut event, 1, seconds.to_bits());
        bytes(&mut event, 3, b"brain.Event:2");
        events.record(&event)?;
        Ok(events)
    }

    /// Appends the values of a step.
    pub(crate) fn scalars(&mut self, seconds: f64, step: u64, values: &[(&str, f64)]) -> io::Result<()> {
        self.record(&event(seconds, step, values))
    }

    fn record(&mut self, event: &[u8]) -> io::Result<()> {
        self.file.write_all(&record(event))
    }
}

/// An event with a summary of scalars.
fn event(seconds: f64, step: u64, values: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, number) in values {
        let mut value = Vec::new();
        bytes(&mut value, 1, tag.as_bytes());
        // A float: field 2, of four bytes.
        value.push(2 << 3 | 5);
        value.extend_from_slice(&(*number as f32).to_le_bytes());
        bytes(&mut summary, 1, &value);
    }
    let mut event = Vec::new();
    fixed64(&mut event, 1, seconds.to_bits());
    event.push(2 << 3);
    varint(&mut event, step);
    bytes(&mut event, 5, &summary);
    event
}

fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend_from_slice(&masked(crc32c(&length)).to_le_bytes());
    record.extend_from_slice(event);
    record.extend_from_slice(&masked(crc32c(event)).to_le_bytes());
    record
}

fn fixed64(out: &mut Vec<u8>, field: u8, bits: u64) {
    out.push(field << 3 | 1);
    out.extend_from_slice(&bits.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u8, content: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A checksum of bytes that may hold checksums themselves.
const fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The cyclic redundancy check of Castagnoli's polynomial.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_castagnoli_s() {
        // From RFC 3720, B.4, and the usual check value.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn an_event_has_the_fields_of_its_protocol() {
        let found = event(1.5, 300, &[("loss", 0.5)]);
        let expected: &[u8] = &[
            0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, // wall time 1.5
            0x10, 0xac, 0x02, // step 300
            0x2a, 13, // summary
            0x0a, 11, // value
            0x0a, 4, b'l', b'o', b's', b's', 0x15, 0, 0, 0, 0x3f, // tag and number
        ];
        assert_eq!(found, expected);
        let whole = record(&found);
        assert_eq!(whole.len(), 8 + 4 + found.len() + 4);
        assert_eq!(whole[..8], (found.len() as u64).to_le_bytes());
        assert_eq!(whole[whole.len() - 4..], masked(crc32c(&found)).to_le_bytes());
    }

    #[test]
    fn a_file_begins_with_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(&folder.path().join("runs/one"), 7.0).unwrap();
        events.scalars(8.0, 1, &[("loss", 2.0)]).unwrap();
        let entry = std::fs::read_dir(folder.path().join("runs/one")).unwrap().next().unwrap().unwrap();
        assert!(entry.file_name().to_string_lossy().starts_with("events.out.tfevents.7."));
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(bytes.windows(13).any(|part| part == b"brain.Event:2"));
    }
}
