//! Conversations to the text that a model was trained on.
//!
//! A model's file carries a Jinja template that writes messages and tools down as its training data did.
//! [`ChatTemplate`] runs it as `transformers` does: the same filters, functions and Python methods, blocks trimmed
//! the same way. Templates are foreign code, so they run with a bound on their steps, see nothing but what they
//! are given, and can only fail with a [`TemplateError`] that says where.
//!
//! **Invariant:** text of a message that reads like one of the model's control tokens comes out as a
//! [`Piece`] of its own, marked as a quotation, so that nobody can speak in another role's name.

mod error;
mod json;
mod quote;
mod template;
mod time;

pub use error::TemplateError;
pub use quote::Piece;
pub use template::{ChatTemplate, Conversation};
