//! OpenAI and Anthropic JSON and streams, to and from Bantam's types.
//!
//! Everything here is a pure function from bytes to values or back. Foreign bytes are read strictly:
//! no duplicate keys, bounded depth, unknown parameters refused by name. What Bantam does not need to
//! understand is carried as the caller wrote it, so that a pass-through stays faithful.

pub mod anthropic;
pub mod chat;
pub mod chunk;
pub mod completion;
pub mod endpoint;
pub mod error;
pub mod json;
pub mod note;
pub mod slug;
pub mod sse;

pub use chat::{ChatRequest, DecodeChatError, DecodeLimits, Edits, Message, Role};
pub use endpoint::Endpoint;
pub use error::{ApiError, ErrorCode};
pub use note::RoutingNote;
pub use slug::{SLUGS, Slug};
