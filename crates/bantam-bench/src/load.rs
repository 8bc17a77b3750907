//! The load: connections that each send the next request as soon as they have an answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::http::{Head, LAST_CHUNK, join_chunks, parse_head};
use crate::mock;

/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Who must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The mock, directly or through the gateway.
    Upstream,
    /// The mock, with a stream.
    UpstreamStream,
    /// A student in the gateway.
    Local,
}

/// What to send where, and for how long.
#[derive(Clone)]
pub(crate) struct LoadSpec {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    /// Complete requests, sent in turn.
    pub(crate) requests: Arc<[Vec<u8>]>,
    pub(crate) expected: Expected,
    pub(crate) duration: Duration,
}

/// The results of a load.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Milliseconds to each whole answer, or to the first chunk of each stream.
    pub(crate) milliseconds: Vec<f64>,
    /// Seconds until the last connection had its last answer.
    pub(crate) seconds: f64,
    /// The failures; a connection stops at its first one.
    pub(crate) failures: Vec<String>,
}

/// Sends requests until the time is over. No request is abandoned, so requests and answers match.
pub(crate) async fn run(spec: &LoadSpec) -> Load {
    let started = Instant::now();
    let mut connections = JoinSet::new();
    for number in 0..spec.connections {
        let spec = spec.clone();
        connections.spawn(async move {
            let mut milliseconds = Vec::with_capacity(1 << 14);
            let result = send_requests(&spec, number, started + spec.duration, &mut milliseconds).await;
            (milliseconds, result)
        });
    }
    let mut load = Load::default();
    while let Some(ended) = connections.join_next().await {
        match ended {
            Ok((milliseconds, result)) => {
                load.milliseconds.extend(milliseconds);
                load.failures.extend(result.err());
            }
            Err(error) => load.failures.push(error.to_string()),
        }
    }
    load.seconds = started.elapsed().as_secs_f64();
    load
}

async fn send_requests(
    spec: &LoadSpec,
    number: usize,
    end: Instant,
    milliseconds: &mut Vec<f64>,
) -> Result<(), String> {
    let mut connection = Connection::open(spec.address).await.map_err(|error| error.to_string())?;
    let requests = spec.requests.iter().cycle().skip(number * spec.requests.len() / spec.connections.max(1));
    for request in requests {
        let sent = Instant::now();
        if sent >= end {
            break;
        }
        let is_first = milliseconds.is_empty();
        let answer = connection.exchange(request, spec.expected, is_first);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
        let answered = answer.map_err(|_| format!("no answer within {ANSWER_TIMEOUT:?}"))??;
        milliseconds.push((answered - sent).as_secs_f64() * 1000.0);
    }
    Ok(())
}

/// One keep-alive connection.
struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, buffer: Vec::with_capacity(32 * 1024) })
    }

    /// Sends one request and returns when the answer, or its first chunk, was complete.
    async fn exchange(
        &mut self,
        request: &[u8],
        expected: Expected,
        check_text: bool,
    ) -> Result<Instant, String> {
        self.buffer.clear();
        self.socket.write_all(request).await.map_err(|error| error.to_string())?;
        let head = loop {
            match parse_head(&self.buffer) {
                Some(head) => break head,
                None => self.read_more().await?,
            }
        };
        if head.status != 200 {
            // The gateway's error message helps most, so wait briefly for the body.
            let _ = tokio::time::timeout(Duration::from_millis(100), self.read_more()).await;
            return Err(String::from_utf8_lossy(self.buffer.get(..600).unwrap_or(&self.buffer)).into_owned());
        }
        if head.is_local != (expected == Expected::Local) {
            return Err(format!("expected a {expected:?} answer; answered locally: {}", head.is_local));
        }
        if expected == Expected::UpstreamStream {
            return self.read_stream(head).await;
        }
        let length = head.content_length.ok_or("the answer has no content length")?;
        while self.buffer.len() < head.end + length {
            self.read_more().await?;
        }
        let answered = Instant::now();
        if check_text && expected == Expected::Upstream && !contains(&self.buffer, mock::WORDS.as_bytes()) {
            return Err("the answer does not contain the mock's text".to_owned());
        }
        Ok(answered)
    }

    async fn read_stream(&mut self, head: Head) -> Result<Instant, String> {
        if !head.is_chunked {
            return Err("the stream is not chunked".to_owned());
        }
        while !contains(self.buffer.get(head.end..).unwrap_or_default(), b"data: ") {
            self.read_more().await?;
        }
        let first = Instant::now();
        while !self.buffer.ends_with(&[b"\r\n", LAST_CHUNK].concat()) {
            self.read_more().await?;
        }
        let body =
            join_chunks(self.buffer.get(head.end..).unwrap_or_default()).ok_or("the chunks are invalid")?;
        let events = String::from_utf8_lossy(&body);
        let count = events.split("\n\n").filter(|event| event.starts_with("data: ")).count();
        if count <= mock::CHUNKS || !events.contains("[DONE]") {
            return Err(format!("the stream has {count} events; expected {} and [DONE]", mock::CHUNKS));
        }
        Ok(first)
    }

    async fn read_more(&mut self) -> Result<(), String> {
        match self.socket.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the connection was closed".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;
    use crate::mock::Mock;

    fn load(address: SocketAddr, body: &str, expected: Expected) -> Load {
        let spec = LoadSpec {
            address,
            connections: 3,
            requests: [http::post(address, body)].into(),
            expected,
            duration: Duration::from_millis(30),
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(&spec))
    }

    #[test]
    fn every_request_is_answered_and_reaches_the_mock_once() {
        let mock = Mock::start().unwrap();
        let whole = load(mock.address, "{}", Expected::Upstream);
        assert_eq!(whole.failures, [""; 0]);
        assert!(whole.milliseconds.len() >= 3);
        assert_eq!(mock.count(), whole.milliseconds.len() as u64);
        let streams = load(mock.address, "{\"stream\":true}", Expected::UpstreamStream);
        assert_eq!(streams.failures, [""; 0]);
        assert_eq!(streams.milliseconds.len(), 3);
        assert!(streams.seconds > 0.45, "{}", streams.seconds);
    }

    #[test]
    fn an_answer_from_the_wrong_backend_is_a_failure() {
        let mock = Mock::start().unwrap();
        assert_eq!(load(mock.address, "{}", Expected::Local).failures.len(), 3);
        assert_eq!(load(mock.address, "{}", Expected::UpstreamStream).failures.len(), 3);
        assert_eq!(load("127.0.0.1:1".parse().unwrap(), "{}", Expected::Upstream).failures.len(), 3);
    }
}
