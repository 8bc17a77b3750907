//! Just enough hand-written HTTP/1.1: a library would cost more than the gateway under test.

/// What the mock and the load need from the head of a request or answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Where the body begins.
    pub(crate) end: usize,
    /// An answer's status; 0 for a request.
    pub(crate) status: u16,
    /// The body's length, if the head states it.
    pub(crate) content_length: Option<usize>,
    /// Whether the body is chunked.
    pub(crate) is_chunked: bool,
    /// Whether the gateway reports that a local model answered.
    pub(crate) is_local: bool,
}

/// Parses a head in one pass; returns `None` if it is incomplete.
pub(crate) fn parse_head(buffer: &[u8]) -> Option<Head> {
    let mut head = Head::default();
    loop {
        let rest = buffer.get(head.end..)?;
        let length = rest.iter().position(|byte| *byte == b'\n')?;
        let line = rest.get(..length)?.trim_ascii_end();
        let is_first = head.end == 0;
        head.end += length + 1;
        if line.is_empty() {
            return Some(head);
        }
        if is_first {
            head.status =
                line.strip_prefix(b"HTTP/1.1 ").and_then(|rest| number(rest.get(..3)?)).unwrap_or(0);
            continue;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?.trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            head.content_length = number(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            head.is_chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"x-bantam-tier") {
            head.is_local = value == b"local";
        }
    }
}

/// Returns the whole request that posts `body`.
pub(crate) fn post(address: std::net::SocketAddr, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Returns one chunk of a chunked body.
pub(crate) fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

/// The end of a chunked body.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Returns the data of a chunked body, or `None` if it is incomplete or invalid.
pub(crate) fn join_chunks(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let line = body.iter().position(|byte| *byte == b'\n')?;
        let size = std::str::from_utf8(body.get(..line)?.trim_ascii_end()).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(data);
        }
        let start = line + 1;
        data.extend_from_slice(body.get(start..start.checked_add(size)?)?);
        body = body.get(start + size..)?.strip_prefix(b"\r\n")?;
    }
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_head_only_once_it_is_complete() {
        let answer =
            b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-Bantam-Tier: local\r\nx-other: a:b\r\n\r\nbody";
        let expected = Head {
            end: answer.len() - 4,
            status: 200,
            content_length: Some(12),
            is_chunked: false,
            is_local: true,
        };
        assert_eq!(parse_head(answer), Some(expected));
        for cut in 0..answer.len() - 4 {
            assert_eq!(parse_head(&answer[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn missing_and_invalid_headers_are_not_assumed() {
        let check = |head: &[u8]| {
            let head = parse_head(head).unwrap();
            (head.status, head.content_length, head.is_chunked, head.is_local)
        };
        assert_eq!(check(b"HTTP/1.1 502 Bad\r\n\r\n"), (502, None, false, false));
        assert_eq!(check(b"POST / HTTP/1.1\r\nhost: a\r\n\r\n"), (0, None, false, false));
        assert_eq!(
            check(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nx-bantam-tier: frontier\r\n\r\n"),
            (200, None, true, false)
        );
        assert_eq!(check(b"HTTP/1.1 20\r\ncontent-length: x\r\nno colon\r\n\r\n"), (0, None, false, false));
    }

    #[test]
    fn a_posted_request_can_be_parsed() {
        let request = post("127.0.0.1:80".parse().unwrap(), "{\"a\":1}");
        let head = parse_head(&request).unwrap();
        assert_eq!(head.content_length, Some(7));
        assert_eq!(&request[head.end..], b"{\"a\":1}");
    }

    #[test]
    fn joins_chunks_completely_or_not_at_all() {
        let body = [chunk("data: a\n\n"), chunk(&"b".repeat(300)), LAST_CHUNK.to_vec()].concat();
        let joined = join_chunks(&body).unwrap();
        assert_eq!(joined.len(), 309);
        assert!(joined.starts_with(b"data: a\n\nbb"));
        for cut in 0..body.len() - 4 {
            assert_eq!(join_chunks(&body[..cut]), None, "{cut}");
        }
        assert_eq!(join_chunks(b"zz\r\n\r\n"), None);
        assert_eq!(join_chunks(b"ffffffffffffffff\r\nab\r\n"), None);
    }
}
