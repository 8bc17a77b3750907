//! Renders conversations into the text format a model was trained on.
//!
//! A model file carries a Jinja template that formats messages and tools like its training data. [`ChatTemplate`]
//! runs it like `transformers`: same filters, functions and Python methods, same block trimming. Templates are
//! untrusted code, so they run with a limit on steps and bytes, see only what they are given, and can fail only with a
//! [`TemplateError`] that names the line.
//!
//! **Invariant:** message text that looks like one of the model's control tokens comes out as a separate [`Piece`]
//! marked as a quotation, so that no message can speak in another role.
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
mod kept;
mod paying;
mod quote;
mod template;
mod time;

pub use error::TemplateError;
pub use quote::Piece;
pub use template::{ChatTemplate, Conversation};
