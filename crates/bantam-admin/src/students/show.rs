//! What a student says of itself.

use std::path::Path;

use bantam_deploy::{ModelMemory, StudentError, decoder_hash, read_decoder};
use bantam_local::DecoderStudentFile;
use bantam_student::{Student, StudentDescription};
use serde::Serialize;
use serde_json::{Map, Value};

/// What a student's file says, and what names the student.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudentDetails {
    /// The description in its file; its shape depends on the kind of student. Of the texts that it was trained on it says
    /// only how many there are.
    #[serde(flatten)]
    pub description: Map<String, Value>,
    /// The SHA-256 of everything that its answers depend on, in hex.
    pub sha256: String,
}

/// Why a student cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShowStudentError {
    /// It cannot be used.
    #[error("cannot use the student")]
    Student(#[from] StudentError),
    /// It is of a kind that this program does not know.
    #[error("this program does not know this kind of student")]
    UnknownKind,
    /// Its description cannot be written as JSON.
    #[error("cannot describe the student")]
    Describe(#[from] serde_json::Error),
}

/// Returns what a student says of itself.
///
/// # Errors
/// When it cannot be used.
pub fn show_student(path: &Path) -> Result<StudentDetails, ShowStudentError> {
    if DecoderStudentFile::is_at(path) {
        let file = read_decoder(path)?;
        let sha256 = decoder_hash(&file, path, None, &ModelMemory::with_threads(1))?;
        return Ok(StudentDetails { description: described(&file, file.seen.len())?, sha256 });
    }
    let (description, hash) = Student::read_description(path).map_err(StudentError::from)?;
    let description = match &description {
        StudentDescription::Linear(of) => described(of, of.seen.len())?,
        StudentDescription::Encoder(of) => described(of, of.seen.len())?,
        StudentDescription::Tagger(of) => with_context(described(of, of.seen.len())?, of.reads_context),
        StudentDescription::LinearTagger(of) => with_context(described(of, of.seen.len())?, of.reads_context),
        _ => return Err(ShowStudentError::UnknownKind),
    };
    Ok(StudentDetails { description, sha256: hash.to_hex() })
}

/// Returns a description as JSON, with a count in place of the hashes of texts, which say nothing to people.
fn described(description: &impl Serialize, seen: usize) -> Result<Map<String, Value>, ShowStudentError> {
    let Value::Object(mut described) = serde_json::to_value(description)? else {
        return Err(ShowStudentError::UnknownKind);
    };
    described.insert("seen".to_owned(), seen.into());
    Ok(described)
}

/// Adds whether a student reads what was said before a text, which is said of the kinds that can.
fn with_context(mut described: Map<String, Value>, reads_context: bool) -> Map<String, Value> {
    described.insert("reads_context".to_owned(), reads_context.into());
    described
}
