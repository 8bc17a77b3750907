//! Server-sent events, read as WHATWG defines them, from chunks cut anywhere.

/// What a stream may begin with, and what then means nothing.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Turns a byte stream into the `data` of its events.
///
/// Lines end in `\n`, `\r\n` or `\r`. Comments and fields of unknown names are skipped. An event larger than the limit is
/// an error, not a growing buffer.
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
    /// The last line ended in `\r`: a `\n` right behind it belongs to that end.
    after_return: bool,
    /// The first bytes were looked at for a byte order mark.
    has_begun: bool,
    has_fields: bool,
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
    /// The data of an event is not UTF-8.
    #[error("an event is not UTF-8")]
    NotUtf8,
}

impl SseReader {
    /// Returns a reader that refuses events larger than `event_bytes_max`.
    pub const fn new(event_bytes_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            event_bytes_max,
            event: None,
            data: None,
            after_return: false,
            has_begun: false,
            has_fields: false,
        }
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
        if !self.has_begun && !self.skip_byte_order_mark() {
            return Ok(None);
        }
        loop {
            if self.after_return
                && let Some(byte) = self.buffer.get(self.start)
            {
                self.after_return = false;
                if *byte == b'\n' {
                    self.start += 1;
                }
            }
            let from = self.searched.max(self.start);
            let unread = self.buffer.get(from..).unwrap_or_default();
            let Some(offset) = unread.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.searched = self.buffer.len();
                self.check_size()?;
                return Ok(None);
            };
            let end = from + offset;
            self.after_return = self.buffer.get(end) == Some(&b'\r');
            let finished = self.take_line(end)?;
            self.start = end + 1;
            self.searched = self.start;
            if finished {
                self.compact();
                let event = self.event.take();
                if let Some(data) = self.data.take() {
                    return Ok(Some(SseEvent { event, data }));
                }
            }
            self.check_size()?;
        }
    }

    /// Returns whether there were bytes, but no comment and no field that is known: then it is no stream of events.
    pub const fn is_foreign(&self) -> bool {
        self.has_begun && !self.has_fields
    }

    /// Returns whether enough is there to know, and then no mark is left in front.
    fn skip_byte_order_mark(&mut self) -> bool {
        let first = self.buffer.get(self.start..).unwrap_or_default();
        if first.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(first) {
            return false;
        }
        if first.starts_with(BYTE_ORDER_MARK) {
            self.start += BYTE_ORDER_MARK.len();
        }
        self.has_begun = true;
        true
    }

    fn check_size(&self) -> Result<(), ReadSseError> {
        let unread = self.buffer.len() - self.start;
        let data = self.data.as_ref().map_or(0, String::len);
        let limit = self.event_bytes_max;
        if unread > limit || data > limit { Err(ReadSseError::TooLarge(limit)) } else { Ok(()) }
    }

    fn compact(&mut self) {
        if self.start > 64 * 1024 {
            self.buffer.drain(..self.start);
            self.searched = self.searched.saturating_sub(self.start);
            self.start = 0;
        }
    }

    /// Reads the line up to `end`; returns whether it ends an event.
    fn take_line(&mut self, end: usize) -> Result<bool, ReadSseError> {
        let line = self.buffer.get(self.start..end).unwrap_or_default();
        if line.is_empty() {
            return Ok(true);
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                let value = std::str::from_utf8(value).map_err(|_| ReadSseError::NotUtf8)?;
                match &mut self.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => self.data = Some(value.to_owned()),
                }
            }
            b"event" => self.event = Some(String::from_utf8_lossy(value).into_owned()),
            b"id" | b"retry" | b"" => {}
            _ => return Ok(false),
        }
        self.has_fields = true;
        Ok(false)
    }
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
    fn lines_end_in_any_of_three_ways_and_a_byte_order_mark_is_skipped() {
        for end in ["\n", "\r", "\r\n"] {
            let lines = [
                "\u{feff}: hi",
                "",
                "event: ping",
                "data: {}",
                "",
                "odd",
                "odder: x",
                "data: a",
                "data:b",
                "",
                "",
                "id: 7",
            ];
            let bytes = lines.map(|line| format!("{line}{end}")).concat();
            for step in 1..=bytes.len() {
                let events = read_all(bytes.as_bytes(), step).unwrap();
                assert_eq!(events, ["ping|{}", "|a\nb"], "lines end in {end:?}, cut every {step}");
            }
        }
        assert_eq!(
            read_all("data: a\n\n\u{feff}data: b\n\n".as_bytes(), 4).unwrap(),
            ["|a"],
            "a mark only leads"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_cost_only_what_nobody_reads() {
        let bytes = b": \xff\n\xfe: x\nevent: \xff\ndata: a\n\n";
        assert_eq!(read_all(bytes, 3).unwrap(), ["\u{fffd}|a"]);
    }

    #[test]
    fn tells_a_stream_of_events_from_anything_else() {
        for (bytes, expected) in [("<html>\n\n", true), ("", false), (": hi\n", false), ("data: x\n", false)]
        {
            let mut reader = SseReader::new(1000);
            reader.push(bytes.as_bytes());
            assert_eq!(reader.next_event(), Ok(None));
            assert_eq!(reader.is_foreign(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn refuses_binary_and_events_without_end() {
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
            reader.push(b"ta: x\n\n");
            assert!(reader.next_event().unwrap().is_some());
        }
        assert!(reader.buffer.capacity() < 1 << 20);
    }
}
