//! What is kept beside settlements.

use bantam_types::{TaskName, Template};

/// One teacher answer, kept so that a student can learn from it.
///
/// It holds prompt text. Books keep one only when they are given one: the decision, which is per task and opt-in, is
/// the gateway's.
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
/// The three texts are the parts that stay the same over requests. They come from prompts, so they are empty unless
/// the owner asked to keep them.
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
