//! What is asked and answered: one neutral language, and the dialects around it.
//!
//! A body becomes a [`Call`], a backend's answer an [`Outcome`] or the [`Delta`]s of a stream; callers' and upstreams'
//! JSON is read and written only here, by the folder of each [`dialect`]. Where caller and upstream speak the same
//! dialect, the bytes of both are passed on as they came and only facts are read of them.
//!
//! Everything here is a pure function from bytes to values or back. Foreign bytes are read strictly: no duplicate keys,
//! bounded depth, unknown parameters refused by name.

pub mod call;
pub mod dialect;
mod envelope;
mod error;
mod feature;
mod format;
pub mod json;
mod note;
pub mod outcome;
pub mod slug;
pub mod sse;
pub mod support;
mod upstream_error;

pub use call::{Call, CallKind, DecodeLimits, Input, Message, Role, Settings};
pub use dialect::{
    AnswerContext, ENDPOINTS, Edits, Endpoint, OutputLimit, Phrasing, StreamEncoder, anthropic, openai,
};
pub use envelope::{Envelope, HEADER_BYTES_MAX, PassedHeader, TraceContext};
pub use error::{ApiError, DecodeError, ErrorCode, ReadAnswerError};
pub use feature::{Feature, FeatureSet};
pub use format::{EventReader, Format};
pub use note::RoutingNote;
pub use outcome::{AnswerBody, Choice, Delta, FinishReason, Outcome, RawAnswer, RawChunk, StreamItem};
pub use slug::{SLUGS, Slug};
pub use support::{Support, Unsupported};
pub use upstream_error::{Unwanted, UpstreamError, UpstreamErrorKind};
