//! A decoder student as a folder: its parts, its prompt, and what it was trained with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_student::{SeenTexts, Verifier};
use bantam_weights::write_file;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AnswerForm, StudentTask};

/// The format that is written and read.
const FORMAT: &str = "bantam-decoder-student 1";
/// The file in the folder that says what the student is.
const FILE: &str = "student.json";
/// The most bytes of it; a hundred thousand training texts take less than one million.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The most further answers.
const SAMPLES_MAX: usize = 16;

/// What `student.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderStudentFile {
    /// The version of the format, which reading checks.
    pub format: String,
    /// The model that the weights adapt; nothing where they are a whole model.
    pub base: Option<StudentBase>,
    /// The weights in the folder.
    pub weights: StudentWeights,
    /// The system message of every request.
    pub instructions: String,
    /// What an answer looks like.
    pub answer: StudentAnswerForm,
    /// The most tokens of an answer.
    pub answer_tokens_max: usize,
    /// How many further answers are drawn to measure confidence; 0 where that did not rank answers better.
    #[serde(default)]
    pub samples: usize,
    /// Turns an answer and its tokens' probabilities into a confidence; none where that did not rank answers better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<Arc<Verifier>>,
    /// The most tokens of prompt and answer that it was trained with.
    pub row_tokens_max: usize,
    /// SHA-256 of the rows, in hex.
    pub rows_sha256: String,
    /// The settings of the training.
    pub config: Value,
    /// What the training measured.
    pub report: DecoderReport,
    /// The texts of all rows, held-out ones included: no certificate may be proved on them.
    pub seen: SeenTexts,
}

/// The model that a student's adapter belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudentBase {
    /// A GGUF file, or a folder with safetensors, seen from the folder that the student's folder is in.
    pub path: PathBuf,
    /// SHA-256 of the file, in hex; of a folder, that of its files' names, sizes and contents.
    pub sha256: String,
}

/// The weights of a student.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudentWeights {
    /// `adapter.gguf`, or `model.gguf` where the student stands on no base.
    pub file: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}

/// What an answer looks like, as the file has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StudentAnswerForm {
    /// One of these labels.
    Labels(Vec<String>),
    /// JSON that this schema allows.
    Schema(Value),
    /// Free text.
    Text,
}

/// What training measured. The `held_out_` figures come from rows that were not learnt from, answered by the student as
/// it is served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderReport {
    /// Rows that were trained on.
    pub rows: usize,
    /// Numbers that were trained.
    pub parameters: usize,
    /// The step that these parameters are from.
    pub step: u64,
    /// Steps taken in all.
    pub steps: u64,
    /// Rows held out.
    pub held_out_rows: usize,
    /// Mean loss of a token (of a pair, for preferences) on them, as the trainer sees it.
    pub held_out_loss: Option<f64>,
    /// Of these, the rows with a text that can be asked and a known answer.
    pub asked_rows: usize,
    /// The share of them that is answered exactly; JSON is compared as JSON.
    pub exact_match: Option<f64>,
    /// The largest share that can be accepted by confidence with at most 2 % of errors among the accepted.
    pub accepted_at_2_percent_error: Option<f64>,
    /// How likely a right answer has a higher confidence than a wrong one.
    pub confidence_auc: Option<f64>,
    /// The same where the agreement of further answers counts, if they were tried.
    #[serde(default)]
    pub sampled_auc: Option<f64>,
    /// The same by a verifier, where one could be fitted: each fifth of the rows judged by one fitted on the others.
    #[serde(default)]
    pub verified_auc: Option<f64>,
    /// Tokens whose logits were compared between trainer and engine.
    pub replayed_tokens: usize,
    /// The largest difference of a logit, as a share of the largest logit.
    pub replay_difference: f64,
}

/// Why a student's folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("read the student {}", .path.display())]
pub struct ReadDecoderStudentError {
    /// The folder.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub kind: ReadDecoderStudentErrorKind,
}

/// What is wrong with a student's folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadDecoderStudentErrorKind {
    /// No `student.json`, or not readable.
    #[error("read student.json")]
    Read(#[from] std::io::Error),
    /// Longer than any student's.
    #[error("student.json has {bytes} bytes; at most {FILE_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: u64,
    },
    /// Not JSON, or with other fields than are read.
    #[error("use student.json")]
    Parse(#[from] serde_json::Error),
    /// Of another version, or not a decoder student.
    #[error("student.json has the format {found:?}; only {FORMAT:?} can be read")]
    Format {
        /// What it says.
        found: String,
    },
    /// A field that no student can have.
    #[error("`{field}` in student.json {what}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What is wrong.
        what: &'static str,
    },
}

impl ReadDecoderStudentErrorKind {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Format { .. } => "train it again with this version, or use the version that wrote it",
            _ => "train it again",
        }
    }
}

impl DecoderStudentFile {
    /// Returns the description of a student that is about to be written.
    pub fn new(weights: StudentWeights, instructions: String, answer: StudentAnswerForm) -> Self {
        Self {
            format: FORMAT.to_owned(),
            base: None,
            weights,
            instructions,
            answer,
            answer_tokens_max: 0,
            samples: 0,
            verifier: None,
            row_tokens_max: 0,
            rows_sha256: String::new(),
            config: Value::Null,
            report: DecoderReport::default(),
            seen: SeenTexts::of_texts(std::iter::empty()),
        }
    }

    /// Returns whether `path` is a student of this kind, or was meant to be one.
    pub fn is_at(path: &Path) -> bool {
        path.is_dir()
    }

    /// Reads the description in the folder `path`. Its weights and its base are not looked at.
    ///
    /// # Errors
    /// [`ReadDecoderStudentError`], when there is no description or it cannot be used.
    pub fn read(path: &Path) -> Result<Self, ReadDecoderStudentError> {
        read(path).map_err(|kind| ReadDecoderStudentError { path: path.to_owned(), kind })
    }

    /// Writes the description into the folder `path`, whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        write_file(path.join(FILE), |file| file.write_all(format!("{text}\n").as_bytes()))
    }

    /// Returns what the task `name` asks of this student.
    pub fn task(&self, name: &str) -> StudentTask {
        let form = match &self.answer {
            StudentAnswerForm::Labels(labels) => AnswerForm::Labels(labels.clone().into()),
            StudentAnswerForm::Schema(schema) => AnswerForm::Json(schema.clone()),
            StudentAnswerForm::Text => AnswerForm::Text,
        };
        let instructions: Arc<str> = self.instructions.as_str().into();
        StudentTask {
            name: name.into(),
            instructions,
            form,
            tokens_max: self.answer_tokens_max,
            samples: self.samples,
            verifier: self.verifier.clone(),
        }
    }

    /// Returns its labels; none where its answers are not labels.
    pub fn labels(&self) -> &[String] {
        match &self.answer {
            StudentAnswerForm::Labels(labels) => labels,
            StudentAnswerForm::Schema(_) | StudentAnswerForm::Text => &[],
        }
    }

    /// Returns the model to run, given the student's folder: `other_base` if there is one, else the student's base, or its
    /// own model.
    pub fn model_path(&self, path: &Path, other_base: Option<&Path>) -> PathBuf {
        match (&self.base, other_base) {
            (Some(_), Some(base)) => base.to_owned(),
            (Some(base), None) => path.parent().unwrap_or(Path::new("")).join(&base.path),
            (None, _) => self.weights_path(path),
        }
    }

    /// Returns the adapter to run it with, if it stands on a base.
    pub fn adapter_path(&self, path: &Path) -> Option<PathBuf> {
        self.base.is_some().then(|| self.weights_path(path))
    }

    fn weights_path(&self, path: &Path) -> PathBuf {
        path.join(&self.weights.file)
    }
}

fn read(path: &Path) -> Result<DecoderStudentFile, ReadDecoderStudentErrorKind> {
    let file = path.join(FILE);
    let bytes = std::fs::metadata(&file)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(ReadDecoderStudentErrorKind::TooLong { bytes });
    }
    let json: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let found = json.get("format").and_then(Value::as_str).unwrap_or_default();
    if found != FORMAT {
        return Err(ReadDecoderStudentErrorKind::Format { found: found.chars().take(80).collect() });
    }
    let student: DecoderStudentFile = serde_json::from_value(json)?;
    let weights = if student.base.is_some() { "adapter.gguf" } else { "model.gguf" };
    let labels = student.labels();
    let is_labelled = matches!(student.answer, StudentAnswerForm::Labels(_));
    let checks = [
        // A file must not make us open anything outside its folder.
        (student.weights.file == weights, "weights", "names another file than a student of this kind has"),
        ((1..=1_000_000).contains(&student.answer_tokens_max), "answer_tokens_max", "is beyond its range"),
        (student.samples <= SAMPLES_MAX, "samples", "is beyond its range"),
        (!is_labelled || labels.len() > 1, "answer", "leaves no choice"),
        (student.seen.is_sound(), "seen", "is not a list of hashes"),
        (
            student.verifier.as_ref().is_none_or(|verifier| verifier.is_sound()),
            "verifier",
            "was never fitted",
        ),
    ];
    match checks.into_iter().find(|(is_fine, _, _)| !is_fine) {
        Some((_, field, what)) => Err(ReadDecoderStudentErrorKind::Field { field, what }),
        None => Ok(student),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn student() -> DecoderStudentFile {
        let weights = StudentWeights { file: "model.gguf".into(), sha256: "00".into() };
        let labels = StudentAnswerForm::Labels(vec!["a".into(), "b".into()]);
        let seen = SeenTexts::of_texts(["one text", "another"].into_iter());
        let new = DecoderStudentFile::new(weights, "Say a or b.".into(), labels);
        DecoderStudentFile { answer_tokens_max: 9, seen, ..new }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        for answer in [student().answer, StudentAnswerForm::Text, StudentAnswerForm::Schema(json!({}))] {
            let student = DecoderStudentFile { answer, ..student() };
            student.write(folder.path()).unwrap();
            assert_eq!(DecoderStudentFile::read(folder.path()).unwrap(), student);
        }
    }

    #[test]
    fn what_is_not_a_student_is_refused_by_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let check = |change: &dyn Fn(&mut Value), expected: &str| {
            let mut json = serde_json::to_value(student()).unwrap();
            change(&mut json);
            std::fs::write(folder.path().join(FILE), json.to_string()).unwrap();
            let error = DecoderStudentFile::read(folder.path()).unwrap_err();
            let source = std::error::Error::source(&error).unwrap();
            let whole = format!("{source}: {}", source.source().map(ToString::to_string).unwrap_or_default());
            assert!(whole.contains(expected), "{whole}");
            assert!(!error.kind.hint().is_empty());
        };
        check(&|json| json["format"] = json!("bantam-decoder-student 9"), "student 9");
        check(&|json| json["weights"]["file"] = json!("../../secret"), "names another file");
        check(&|json| json["colour"] = json!("red"), "colour");
        check(&|json| json["answer"] = json!({ "labels": ["only"] }), "leaves no choice");
        check(&|json| json["seen"] = json!("zz"), "not a list of hashes");
        check(&|json| json["answer_tokens_max"] = json!(0), "beyond its range");
        let error = DecoderStudentFile::read(&folder.path().join("none")).unwrap_err();
        assert!(matches!(error.kind, ReadDecoderStudentErrorKind::Read(_)));
    }

    #[test]
    fn a_base_is_looked_for_beside_the_student() {
        let base = StudentBase { path: "models/base.gguf".into(), sha256: "00".into() };
        let weights = StudentWeights { file: "adapter.gguf".into(), sha256: "00".into() };
        let student = DecoderStudentFile { base: Some(base), weights, ..student() };
        let at = Path::new("work/desk.student");
        assert_eq!(student.model_path(at, None), Path::new("work/models/base.gguf"));
        assert_eq!(student.model_path(at, Some(Path::new("b"))), Path::new("b"));
        assert_eq!(student.adapter_path(at).unwrap(), at.join("adapter.gguf"));
    }
}
