//! What the gateway hands back to the server.

use bantam_wire::{ApiError, Endpoint, RoutingNote};
use bytes::Bytes;
use futures_util::stream::BoxStream;

/// The pieces of a streamed reply. It never fails: a failure after the first byte is told in the stream.
pub type ReplyStream = BoxStream<'static, Bytes>;

/// A reply without HTTP.
pub struct Reply {
    /// The request's id, for `x-request-id`.
    pub request_id: u128,
    /// Where it was asked: it knows how errors are written there, and which media types bodies have.
    pub endpoint: &'static dyn Endpoint,
    /// How the answer came about, when there is one.
    pub note: Option<RoutingNote>,
    /// The body.
    pub body: ReplyBody,
}

/// A reply's body, in the caller's dialect.
pub enum ReplyBody {
    /// A whole answer.
    Whole(Bytes),
    /// A stream.
    Stream(ReplyStream),
    /// No answer.
    Error(ApiError),
}
