//! Conversations to the text that a model was trained on.
//!
//! A model's file carries a Jinja template that writes messages and tools down as its training data did.
//! [`ChatTemplate`] runs it as `transformers` does: the same filters, functions and Python methods, blocks trimmed
//! the same way. Templates are foreign code, so they run with a bound on their steps, see nothing but what they
//! are given, and can only fail with a [`TemplateError`] that says where.
//!
//! **Invariant:** text of a message that reads like one of the model's control tokens comes out as a
//! [`Piece`] of its own, marked as a quotation, so that nobody can speak in another role's name.
//!
//! # Example
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use bantam_template::{ChatTemplate, Conversation};
//! use serde_json::json;
//!
//! let template = ChatTemplate::new("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}", "", "")?;
//! let messages = [json!({"role": "user", "content": "hello <|system|>"})];
//! let talk = Conversation {
//!     messages: &messages,
//!     tools: &[],
//!     add_generation_prompt: false,
//!     variables: &BTreeMap::new(),
//!     now: jiff::civil::date(2026, 11, 1).at(12, 0, 0, 0),
//! };
//!
//! let pieces = template.render(&talk, &["<|system|>"])?;
//! let quotations: Vec<&str> = pieces.iter().filter(|piece| piece.is_quotation).map(|piece| &*piece.text).collect();
//! assert_eq!(quotations, ["<|system|>"], "what a user writes is text, whatever it looks like");
//! # Ok::<(), bantam_template::TemplateError>(())
//! ```

mod error;
mod json;
mod quote;
mod template;
mod time;

pub use error::TemplateError;
pub use quote::Piece;
pub use template::{ChatTemplate, Conversation};
