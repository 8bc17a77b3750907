//! A hub on loopback that speaks the real protocol and misbehaves on request.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bantam_store::{Digest, HubSettings};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How the hub misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not at all.
    None,
    /// The first downloads break off: how many, and after how many bytes.
    BreaksOff(usize, usize),
    /// Downloads start, then nothing more arrives.
    Stalls,
    /// A file does not match its hash.
    Lies,
    /// A file is longer than announced.
    IsLonger,
    /// Like `BreaksOff`, and range requests get the whole file.
    BreaksOffAndIgnoresRange(usize, usize),
    /// The first responses have an error status: how many, and which status.
    Status(usize, u16),
    /// The model is gated.
    Gated,
}

#[derive(Default)]
pub(crate) struct Seen {
    /// File bytes sent.
    pub(crate) bytes: usize,
    /// Offsets at which downloads started.
    pub(crate) starts: Vec<usize>,
    /// Whether the target of redirects received the token.
    pub(crate) leaked: bool,
    /// Whether the hub itself received the token.
    pub(crate) was_told: bool,
    answers: usize,
}

pub(crate) struct Hub {
    pub(crate) port: u16,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

#[derive(Clone)]
struct Shared {
    files: Arc<BTreeMap<String, Vec<u8>>>,
    fault: Fault,
    seen: Arc<Mutex<Seen>>,
    content_port: u16,
    architecture: &'static str,
}

impl Hub {
    /// Starts a hub whose repository `org/tiny` has these files. Large files are served from another port.
    pub(crate) fn start(files: &[(&str, &[u8])], fault: Fault) -> Self {
        Self::of_architecture(files, fault, "llama")
    }

    pub(crate) fn of_architecture(files: &[(&str, &[u8])], fault: Fault, architecture: &'static str) -> Self {
        let (hub, content) = (listener(), listener());
        let (port, content_port) = (hub.local_addr().unwrap().port(), content.local_addr().unwrap().port());
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        let seen = Arc::<Mutex<Seen>>::default();
        let shared =
            Shared { files: Arc::new(files), fault, seen: Arc::clone(&seen), content_port, architecture };
        for (listener, is_content) in [(hub, false), (content, true)] {
            let shared = shared.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let shared = shared.clone();
                    std::thread::spawn(move || shared.answer(stream, is_content));
                }
            });
        }
        Self { port, seen }
    }

    pub(crate) fn settings(&self) -> HubSettings {
        HubSettings {
            endpoint: format!("http://127.0.0.1:{}", self.port),
            token: Some("hf_secret".to_owned()),
            stall: Duration::from_millis(400),
            attempts: 4,
            backoff: Duration::from_millis(1),
            ..HubSettings::public()
        }
    }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Whether a file is in large-file storage.
fn is_large(name: &str) -> bool {
    name.ends_with(".gguf") || name.ends_with(".safetensors")
}

fn git_hash(bytes: &[u8]) -> String {
    use sha1::Digest as _;
    let mut hasher = sha1::Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Shared {
    fn answer(&self, stream: TcpStream, is_content: bool) {
        let mut reader = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        let Some(path) = lines.first().and_then(|line| line.split(' ').nth(1)).map(str::to_owned) else {
            return;
        };
        let header = |name: &str| {
            let line =
                lines.iter().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let has_token = header("authorization").is_some();
        let start = header("range")
            .and_then(|range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().ok());
        let mut stream = reader.into_inner();
        if let Some(refusal) = self.refusal(is_content, has_token) {
            let _ = stream.write_all(refusal.as_bytes());
            return;
        }
        if path.starts_with("/api/models/org/tiny/revision/main?") {
            let body = self.listing();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        } else if let Some(name) = path.strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/")) {
            if is_large(name) && !is_content {
                let target = format!("http://127.0.0.1:{}{path}", self.content_port);
                let _ =
                    write!(stream, "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n");
            } else {
                self.send_file(&mut stream, name, start);
            }
        } else {
            let _ = stream.write_all(
                b"HTTP/1.1 404 Not Found\r\nX-Error-Code: RepoNotFound\r\nContent-Length: 0\r\n\r\n",
            );
        }
    }

    fn refusal(&self, is_content: bool, has_token: bool) -> Option<String> {
        let mut seen = self.seen.lock().unwrap();
        seen.leaked |= is_content && has_token;
        seen.was_told |= !is_content && has_token;
        seen.answers += 1;
        match self.fault {
            Fault::Status(times, status) if seen.answers <= times => {
                Some(format!("HTTP/1.1 {status} x\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"))
            }
            Fault::Gated => {
                Some("HTTP/1.1 403 x\r\nX-Error-Code: GatedRepo\r\nContent-Length: 0\r\n\r\n".to_owned())
            }
            _ => None,
        }
    }

    fn listing(&self) -> String {
        let siblings: Vec<String> = self
            .files
            .iter()
            .map(|(name, bytes)| {
                let (size, hash) = (bytes.len(), git_hash(bytes));
                let lfs = match is_large(name) {
                    true => format!(
                        r#","lfs":{{"sha256":"{}","size":{size},"pointerSize":1}}"#,
                        Digest::of(bytes)
                    ),
                    false => String::new(),
                };
                format!(r#"{{"rfilename":"{name}","size":{size},"blobId":"{hash}"{lfs}}}"#)
            })
            .collect();
        let gguf = format!(r#""gguf":{{"architecture":"{}"}}"#, self.architecture);
        format!(r#"{{"id":"org/tiny","sha":"{COMMIT}","siblings":[{}],{gguf}}}"#, siblings.join(","))
    }

    fn send_file(&self, stream: &mut TcpStream, name: &str, start: Option<usize>) {
        let Some(bytes) = self.files.get(name) else {
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            return;
        };
        let mut bytes = bytes.clone();
        match self.fault {
            Fault::Lies => *bytes.last_mut().unwrap() ^= 1,
            Fault::IsLonger => bytes.push(0),
            _ => {}
        }
        let ignores = matches!(self.fault, Fault::BreaksOffAndIgnoresRange(..));
        let start = start.filter(|_| !ignores);
        let from = start.unwrap_or(0).min(bytes.len());
        let begun = {
            let mut seen = self.seen.lock().unwrap();
            seen.starts.push(from);
            seen.starts.len()
        };
        let head = match start {
            Some(_) => format!(
                "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
                bytes.len() - 1,
                bytes.len()
            ),
            None => "200 OK".to_owned(),
        };
        let rest = &bytes[from..];
        let _ = write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", rest.len());
        let sent = match self.fault {
            Fault::BreaksOff(times, after) | Fault::BreaksOffAndIgnoresRange(times, after)
                if begun <= times =>
            {
                &rest[..after.min(rest.len())]
            }
            Fault::Stalls => &rest[..rest.len().min(100)],
            _ => rest,
        };
        if stream.write_all(sent).is_ok() {
            self.seen.lock().unwrap().bytes += sent.len();
        }
        let _ = stream.flush();
        if self.fault == Fault::Stalls {
            std::thread::sleep(Duration::from_secs(2));
        }
    }
}
