//! The values that are written: what one journal record holds.

use bantam_books::{ExampleRecord, TemplateRecord};
use bantam_types::Settlement;

/// One journal record: what is written together or not at all.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every entry is a settlement: a box would cost each of them"
)]
pub(crate) enum Entry {
    /// One request with its attempts, and the teacher's answer where it is recorded.
    Settlement {
        /// The request.
        settlement: Settlement,
        /// The answer to learn from.
        example: Option<ExampleRecord>,
    },
    /// One discovered template.
    Template(TemplateRecord),
}
