//! The values that are written: what one journal record holds.

use bantam_types::{Settlement, TaskName, Template};

/// One teacher answer, kept so that a student can learn from it.
///
/// It holds prompt text. The ledger writes one only when it is given one: the decision, which is per
/// task and opt-in, is the gateway's, and no other record of the ledger holds a byte of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExampleRecord {
    /// The request that was answered.
    pub request_id: u128,
    /// The task it belonged to.
    pub task: TaskName,
    /// What the model was asked, as the task's student will see it. What was said before is not kept, so a student that
    /// learns from recorded answers reads no context.
    pub text: String,
    /// What the teacher answered.
    pub answer: String,
    /// The teacher.
    pub model: String,
    /// When it was recorded, milliseconds since the Unix epoch.
    pub recorded_ms: i64,
}

/// A prompt template that was found in the traffic: a task that nobody has named yet.
///
/// The three texts are the parts that stay the same over requests. They come from prompts, so the
/// gateway decides whether to fill them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateRecord {
    /// The fingerprint.
    pub template: Template,
    /// The beginning of the system prompt.
    pub system_preview: String,
    /// What stands before the part that changes.
    pub prefix: String,
    /// What stands after the part that changes.
    pub suffix: String,
    /// When it was first seen, milliseconds since the Unix epoch.
    pub first_seen_ms: i64,
}

/// One journal record: what is written together or not at all.
#[derive(Clone, Debug, PartialEq)]
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
