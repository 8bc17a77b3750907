//! What few attempts have, as the bytes of one column.
//!
//! ```text
//! u8 version  u8 flags  audio input  audio output  searches  rate limits
//! ```
//!
//! What is not there takes no byte, and an attempt without any of it has no bytes at all.

use bantam_types::{AnswerUsage, AttemptRecord, RateLimits};

use super::DecodeError;
use super::decode::rate_limits;
use super::encode::put_rate_limits;
use super::numbers::{Body, flags, put_number};

const VERSION: u8 = 1;

/// What few attempts have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extra {
    /// Input tokens that stand for sound.
    pub(crate) audio_input: u64,
    /// Output tokens that stand for sound.
    pub(crate) audio_output: u64,
    /// Searches of the web.
    pub(crate) web_searches: u64,
    /// What the upstream said of its rate limits.
    pub(crate) rate_limits: Option<RateLimits>,
}

impl Extra {
    /// Returns what is there of an attempt.
    pub(crate) fn of(attempt: &AttemptRecord) -> Self {
        let AnswerUsage { audio_input, audio_output, web_searches, .. } = attempt.usage.unwrap_or_default();
        Self { audio_input, audio_output, web_searches, rate_limits: attempt.rate_limits }
    }

    /// Returns the bytes; `None` when nothing is there.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        if *self == Self::default() {
            return None;
        }
        let counts = [self.audio_input, self.audio_output, self.web_searches];
        let [has_input, has_output, has_searches] = counts.map(|count| count > 0);
        let mut out = vec![VERSION, flags([has_input, has_output, has_searches, self.rate_limits.is_some()])];
        counts.into_iter().filter(|count| *count > 0).for_each(|count| put_number(&mut out, count));
        self.rate_limits.iter().for_each(|limits| put_rate_limits(&mut out, limits));
        Some(out)
    }

    /// Returns what the bytes hold.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut body = Body::new(bytes);
        match body.byte("version")? {
            VERSION => {}
            version => return Err(DecodeError::Unknown { kind: 0, version }),
        }
        let [has_input, has_output, has_searches, has_limits] = body.flags()?;
        let mut count = |is_there: bool, field| if is_there { body.number(field) } else { Ok(0) };
        let found = Self {
            audio_input: count(has_input, "audio input")?,
            audio_output: count(has_output, "audio output")?,
            web_searches: count(has_searches, "searches")?,
            rate_limits: has_limits.then(|| rate_limits(&mut body)).transpose()?,
        };
        if body.is_empty() { Ok(found) } else { Err(DecodeError::Field("end")) }
    }
}
