//! The mock upstream: a fixed answer of about 200 tokens, or 50 chunks 10 ms apart.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

use crate::http::{LAST_CHUNK, chunk, parse_head};

/// Chunks in a stream, not counting `[DONE]`.
pub(crate) const CHUNKS: usize = 50;
/// Words that every whole answer contains.
pub(crate) const WORDS: &str = "The quick brown fox jumps over the lazy dog near the river bank. ";
const GAP: Duration = Duration::from_millis(10);
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// A running mock, on its own thread that ends with the process.
pub(crate) struct Mock {
    /// The address it listens on.
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Mock {
    /// Starts a mock on a free port.
    pub(crate) fn start() -> Result<Self, String> {
        let requests = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn({
            let requests = Arc::clone(&requests);
            move || {
                if let Err(error) = listen(&requests, &sender) {
                    // The receiver may be gone.
                    let _ = sender.send(Err(error.to_string()));
                }
            }
        });
        let address = receiver.recv().map_err(|error| error.to_string()).flatten();
        let address = address.map_err(|error| format!("cannot start the mock upstream: {error}"))?;
        Ok(Self { address, requests })
    }

    /// Returns the number of requests received so far.
    pub(crate) fn count(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Sends its address to `sender` and then serves forever.
fn listen(
    requests: &Arc<AtomicU64>,
    sender: &mpsc::Sender<Result<SocketAddr, String>>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answers = Arc::new(Answers::new());
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let _ = sender.send(Ok(listener.local_addr()?));
        loop {
            let (socket, _) = listener.accept().await?;
            let (answers, requests) = (Arc::clone(&answers), Arc::clone(requests));
            // A caller that disconnects is not an error.
            tokio::spawn(async move { drop(serve(socket, &answers, &requests).await) });
        }
    })
}

/// The answers as bytes, ready to be written.
struct Answers {
    whole: Vec<u8>,
    stream_head: &'static [u8],
    chunks: Vec<Vec<u8>>,
    done: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        let text = WORDS.repeat(14);
        let body = format!(
            "{{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1760000000,\"model\":\"mock\",\
             \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{}\",\"refusal\":null}},\
             \"logprobs\":null,\"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":50,\
             \"completion_tokens\":200,\"total_tokens\":250}},\"system_fingerprint\":\"fp_bench\"}}",
            text.trim_end()
        );
        let whole = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let event = |number: usize| {
            let (delta, finish) = match number {
                0 => ("{\"role\":\"assistant\",\"content\":\"The quick\"}", "null"),
                last if last + 1 == CHUNKS => ("{}", "\"stop\""),
                _ => ("{\"content\":\" brown fox jumps over\"}", "null"),
            };
            chunk(&format!(
                "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\
                 \"model\":\"mock\",\"system_fingerprint\":\"fp_bench\",\"choices\":[{{\"index\":0,\
                 \"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
            ))
        };
        Self {
            whole: whole.into_bytes(),
            stream_head: b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n",
            chunks: (0..CHUNKS).map(event).collect(),
            done: [chunk("data: [DONE]\n\n"), LAST_CHUNK.to_vec()].concat(),
        }
    }
}

async fn serve(mut socket: TcpStream, answers: &Answers, requests: &AtomicU64) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        let end = loop {
            let head = parse_head(&buffer);
            let end = head.map(|head| (head.end, head.end + head.content_length.unwrap_or(0)));
            match end {
                Some((start, end)) if buffer.len() >= end => break (start, end),
                _ if buffer.len() > REQUEST_BYTES_MAX => return Ok(()),
                _ if socket.read_buf(&mut buffer).await? == 0 => return Ok(()),
                _ => {}
            }
        };
        requests.fetch_add(1, Ordering::SeqCst);
        let is_stream = buffer.get(end.0..end.1).is_some_and(wants_stream);
        buffer.drain(..end.1);
        if is_stream {
            stream(&mut socket, answers).await?;
        } else {
            socket.write_all(&answers.whole).await?;
        }
    }
}

async fn stream(socket: &mut TcpStream, answers: &Answers) -> std::io::Result<()> {
    let mut next = Instant::now();
    for (number, chunk) in answers.chunks.iter().enumerate() {
        if number == 0 {
            socket.write_all(&[answers.stream_head, chunk].concat()).await?;
        } else {
            next += GAP;
            sleep_until(next).await;
            socket.write_all(chunk).await?;
        }
    }
    socket.write_all(&answers.done).await
}

/// Finds `"stream": true` in one pass without a JSON parser. The benchmark's prompts contain no quotes.
fn wants_stream(body: &[u8]) -> bool {
    let mut strings = body.split(|byte| *byte == b'"');
    while let Some(string) = strings.next() {
        if string == b"stream" {
            let value = strings.next().unwrap_or_default().trim_ascii_start();
            return value
                .strip_prefix(b":")
                .is_some_and(|value| value.trim_ascii_start().starts_with(b"true"));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::join_chunks;

    #[test]
    fn recognises_requests_for_a_stream() {
        let check =
            |body: &str, expected: bool| assert_eq!(wants_stream(body.as_bytes()), expected, "{body}");
        check(r#"{"model":"mock","stream":true}"#, true);
        check(r#"{"stream" : true, "model":"mock"}"#, true);
        check(r#"{"stream":false}"#, false);
        check(r#"{"stream_options":{},"model":"stream "}"#, false);
        check(r#"{"stream"#, false);
        check("", false);
    }

    #[test]
    fn the_answers_match_what_the_load_expects() {
        let answers = Answers::new();
        let head = parse_head(&answers.whole).unwrap();
        assert_eq!(Some(answers.whole.len() - head.end), head.content_length);
        let body: serde_json::Value = serde_json::from_slice(&answers.whole[head.end..]).unwrap();
        assert!(body["choices"][0]["message"]["content"].as_str().unwrap().starts_with(WORDS));
        let stream = join_chunks(&[answers.chunks.concat(), answers.done].concat()).unwrap();
        let stream = String::from_utf8(stream).unwrap();
        let events: Vec<&str> = stream.split_terminator("\n\n").collect();
        assert_eq!(events.len(), CHUNKS + 1);
        for event in &events[..CHUNKS] {
            serde_json::from_str::<serde_json::Value>(event.strip_prefix("data: ").unwrap()).unwrap();
        }
        assert_eq!(events[CHUNKS], "data: [DONE]");
    }
}
