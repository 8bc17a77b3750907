//! What the gateway hands back to the server.

use bantam_wire::{ApiError, RoutingNote};
use bytes::Bytes;
use futures_util::stream::BoxStream;

/// The chunks of a streamed reply. It never fails: a failure after the first byte is an error event.
pub type ReplyStream = BoxStream<'static, Bytes>;

/// A reply without HTTP.
pub struct Reply {
    /// The request's id, for `x-request-id`.
    pub request_id: u128,
    /// How the answer came about, when there is one.
    pub note: Option<RoutingNote>,
    /// The body.
    pub body: ReplyBody,
}

/// A reply's body.
pub enum ReplyBody {
    /// A JSON document.
    Whole(Bytes),
    /// Server-sent events.
    Stream(ReplyStream),
    /// No answer.
    Error(ApiError),
}
