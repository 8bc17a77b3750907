//! Server-sent events, read strictly from chunks cut anywhere.

/// Turns a byte stream into the `data` of its events.
///
/// Only what LLM APIs send is understood: `data:` and `event:` lines, comments and blank lines, ended by
/// `\n` or `\r\n`. An event larger than the limit is an error, not a growing buffer.
#[derive(Debug)]
pub struct SseReader {
    buffer: Vec<u8>,
    /// Where unread bytes begin in `buffer`.
    start: usize,
    /// Up to where the buffer was searched for line ends.
    searched: usize,
    event_bytes_max: usize,
    event: Option<String>,
    data: Option<String>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event:` line, if there was one.
    pub event: Option<String>,
    /// The `data:` lines, joined by newlines.
    pub data: String,
}

/// A stream that is not made of server-sent events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadSseError {
    /// An event does not end within the limit.
    #[error("an event is larger than {0} bytes")]
    TooLarge(usize),
    /// A line is not UTF-8.
    #[error("an event is not UTF-8")]
    NotUtf8,
    /// A line is neither a field nor a comment.
    #[error("a line is not an event field")]
    NotAField,
}

impl SseReader {
    /// Returns a reader that refuses events larger than `event_bytes_max`.
    pub const fn new(event_bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, searched: 0, event_bytes_max, event: None, data: None }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
            self.searched = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next whole event, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the stream is not made of events; the reader is of no further use then.
    pub fn next_event(&mut self) -> Result<Option<SseEvent>, ReadSseError> {
        loop {
            let unread = self.buffer.get(self.searched.max(self.start)..).unwrap_or_default();
            let Some(offset) = unread.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                return self.check_size();
            };
            let end = self.searched.max(self.start) + offset;
            let line = self.buffer.get(self.start..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = std::str::from_utf8(line).map_err(|_| ReadSseError::NotUtf8)?;
            let finished = take_line(line, &mut self.event, &mut self.data)?;
            self.start = end + 1;
            self.searched = self.start;
            if finished {
                self.compact();
                if let Some(data) = self.data.take() {
                    return Ok(Some(SseEvent { event: self.event.take(), data }));
                }
                self.event = None;
            }
            self.check_size()?;
        }
    }

    /// Returns whether the stream could end here, because no event is half read.
    pub fn is_between_events(&self) -> bool {
        self.start == self.buffer.len() && self.data.is_none()
    }

    fn check_size(&self) -> Result<Option<SseEvent>, ReadSseError> {
        let pending = self.buffer.len() - self.start + self.data.as_ref().map_or(0, String::len);
        if self.buffer.len() - self.start > self.event_bytes_max
            || self.data.as_ref().is_some_and(|data| data.len() > self.event_bytes_max)
        {
            return Err(ReadSseError::TooLarge(self.event_bytes_max.min(pending)));
        }
        Ok(None)
    }

    fn compact(&mut self) {
        if self.start > 64 * 1024 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
    }
}

/// Returns whether `line` ends an event.
fn take_line(
    line: &str,
    event: &mut Option<String>,
    data: &mut Option<String>,
) -> Result<bool, ReadSseError> {
    if line.is_empty() {
        return Ok(true);
    }
    if line.starts_with(':') {
        return Ok(false);
    }
    let (field, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.strip_prefix(' ').unwrap_or(value);
    match field {
        "data" => match data {
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
            None => *data = Some(value.to_owned()),
        },
        "event" => *event = Some(value.to_owned()),
        "id" | "retry" => {}
        _ => return Err(ReadSseError::NotAField),
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8], step: usize) -> Result<Vec<String>, ReadSseError> {
        let mut reader = SseReader::new(1000);
        let mut events = Vec::new();
        for piece in bytes.chunks(step) {
            reader.push(piece);
            while let Some(event) = reader.next_event()? {
                events.push(format!("{}|{}", event.event.unwrap_or_default(), event.data));
            }
        }
        Ok(events)
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let bytes = ": hi\n\nevent: ping\ndata: {}\r\n\r\ndata:a\ndata: ü\n\ndata: [DONE]\n\n".as_bytes();
        for step in 1..=bytes.len() {
            assert_eq!(read_all(bytes, step).unwrap(), ["ping|{}", "|a\nü", "|[DONE]"], "cut every {step}");
        }
    }

    #[test]
    fn refuses_garbage_binary_and_events_without_end() {
        assert_eq!(read_all(b"<html>\n\n", 8), Err(ReadSseError::NotAField));
        assert_eq!(read_all(b"data: \xff\xfe\n\n", 3), Err(ReadSseError::NotUtf8));
        assert_eq!(read_all(&[b'd'; 5000], 100), Err(ReadSseError::TooLarge(1000)));
        let endless = "data: x\n".repeat(5000);
        assert_eq!(read_all(endless.as_bytes(), 100), Err(ReadSseError::TooLarge(1000)));
    }

    #[test]
    fn a_long_stream_of_small_events_keeps_a_small_buffer() {
        let mut reader = SseReader::new(1000);
        for _ in 0..20_000 {
            reader.push(b"data: 0123456789\n\nda");
            assert!(reader.next_event().unwrap().is_some());
            assert!(!reader.is_between_events());
            reader.push(b"ta: x\n\n");
            assert!(reader.next_event().unwrap().is_some());
            assert!(reader.is_between_events());
        }
        assert!(reader.buffer.capacity() < 1 << 20);
    }
}
