//! What a simulated upstream receives, and how it responds.

use std::time::Duration;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// The request line and headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
    /// The number of requests before it.
    pub number: u64,
}

impl Received {
    /// Returns the body as JSON, or null.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns the text of the last message.
    pub fn last_text(&self) -> String {
        let json = self.json();
        let messages = json["messages"].as_array();
        let last = messages.and_then(|messages| messages.last());
        last.and_then(|message| message["content"].as_str()).unwrap_or_default().to_owned()
    }

    /// Returns whether the request asks for a stream.
    pub fn wants_stream(&self) -> bool {
        self.json()["stream"] == true
    }
}

/// How one request is answered.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Sends a whole body after a delay.
    Answer {
        /// The status.
        status: u16,
        /// Further header lines, each `name: value`.
        headers: Vec<String>,
        /// The body.
        body: String,
        /// The pause before the answer.
        delay: Duration,
    },
    /// Sends server-sent events.
    Events {
        /// The `data` of each event.
        events: Vec<String>,
        /// The pause before the first event.
        delay: Duration,
        /// The pause between events.
        gap: Duration,
        /// How the stream ends.
        end: StreamEnd,
    },
    /// Sends these bytes instead of a well-formed answer and closes the connection.
    Raw(Vec<u8>),
    /// Sends these bytes and then nothing more.
    RawThenHang(Vec<u8>),
    /// Never answers.
    Hang,
    /// Closes the connection.
    Close,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// With `[DONE]`.
    Done,
    /// The connection closes without it.
    Cut,
    /// The last event is repeated forever.
    Endless,
    /// Nothing more is sent, but the connection stays open.
    Hang,
}

impl Behaviour {
    /// Returns a 200 with `body`.
    pub fn ok(body: String) -> Self {
        Self::Answer { status: 200, headers: Vec::new(), body, delay: Duration::ZERO }
    }

    /// Returns an error status with a small body.
    pub fn status(status: u16) -> Self {
        let body = "{\"error\":{\"message\":\"simulated\"}}".to_owned();
        Self::Answer { status, headers: Vec::new(), body, delay: Duration::ZERO }
    }

    /// Returns a stream of `events` without pauses.
    pub fn events(events: Vec<String>, end: StreamEnd) -> Self {
        Self::Events { events, delay: Duration::ZERO, gap: Duration::ZERO, end }
    }
}
