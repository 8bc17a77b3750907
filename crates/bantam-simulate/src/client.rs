//! A simulated application: one keep-alive connection that posts requests and reads whole answers.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection of a simulated application.
pub struct Client {
    address: SocketAddr,
    socket: TcpStream,
    buffer: Vec<u8>,
}

/// The answer that an application receives.
#[derive(Clone, Debug)]
pub struct ClientAnswer {
    /// The status.
    pub status: u16,
    /// The status line and headers in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl ClientAnswer {
    /// Returns a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(known, _)| *known == name).map(|(_, value)| value.trim())
    }

    /// Returns the body as JSON, or null.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Client {
    /// Connects to `address`.
    ///
    /// # Errors
    /// If nothing listens there.
    pub async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self { address, socket, buffer: Vec::new() })
    }

    /// Posts a JSON `body` to `path` and returns the whole answer, which must have a content length.
    ///
    /// # Errors
    /// If the connection breaks or the answer is not HTTP.
    pub async fn post(&mut self, path: &str, body: &str) -> std::io::Result<ClientAnswer> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.socket.write_all(request.as_bytes()).await?;
        let head_end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.read_more().await?;
        };
        let head = String::from_utf8_lossy(self.buffer.get(..head_end).unwrap_or_default()).to_lowercase();
        let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(invalid)?;
        let mut answer = ClientAnswer { status, head, body: Vec::new() };
        let length: usize =
            answer.header("content-length").and_then(|length| length.parse().ok()).ok_or_else(invalid)?;
        while self.buffer.len() < head_end + length {
            self.read_more().await?;
        }
        answer.body = self.buffer.get(head_end..head_end + length).unwrap_or_default().to_vec();
        self.buffer.drain(..head_end + length);
        Ok(answer)
    }

    async fn read_more(&mut self) -> std::io::Result<()> {
        if self.socket.read_buf(&mut self.buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
