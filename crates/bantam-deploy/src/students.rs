//! The students of tasks: from a file, or a language model in this process; and what was proved of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_backend::Backend;
use bantam_config::{StudentModel, Task};
use bantam_extract::Shape;
use bantam_gateway::Rung;
use bantam_local::{AnswerForm, DecoderStudent, StudentTask};
use bantam_route::RungKind;
use bantam_student::{Bases, Student, StudentBackend, StudentDescription, Tagger, TaggerBackend};
use bantam_types::{TaskKind, TaskName, Tier};

use crate::build::{free, instructions};
use crate::certificates::{certificate_path, gate};
use crate::decoders::{self, decoder_folder};
use crate::error::{DeployError, StudentError};
use crate::files::FilesRead;
use crate::forms::{check_regex, read_grammar, read_schema, read_shape};
use crate::local::LocalModels;
use crate::memory::ModelMemory;
use crate::warning::DeployWarning;

/// The models that students stand on.
#[derive(Clone, Copy)]
pub struct ModelAccess<'m> {
    /// Encoders and language models in memory.
    pub memory: &'m ModelMemory,
    /// The language models of the configuration.
    pub local: &'m LocalModels,
}

/// A task's student, ready to answer.
pub struct TaskStudent {
    /// What answers.
    pub backend: Arc<dyn Backend>,
    /// The hash of everything that its answers depend on; a certificate holds for one hash only.
    pub sha256: String,
    /// The labels that it answers with; none where it answers otherwise.
    pub labels: Vec<Arc<str>>,
    /// The most tokens of a request, where the backend does not count them itself.
    pub context_tokens: Option<u64>,
    /// What is odd about it.
    pub warning: Option<DeployWarning>,
}

/// Returns a task's student, if it has one.
///
/// # Errors
/// When it cannot be used.
pub fn task_student(
    name: &TaskName,
    task: &Task,
    access: ModelAccess<'_>,
) -> Result<Option<TaskStudent>, StudentError> {
    let owned = |labels: &[String]| labels.iter().map(|label| label.as_str().into()).collect();
    let of_backend = |backend: Arc<dyn Backend>, sha256| TaskStudent {
        backend,
        sha256,
        labels: Vec::new(),
        context_tokens: None,
        warning: None,
    };
    let context_tokens = Some(StudentBackend::CONTEXT_TOKENS);
    Ok(Some(if let Some(folder) = decoder_folder(task) {
        let decoder = decoders::load(name, task, folder, access)?;
        let labels = owned(decoder.file.labels());
        let student = of_backend(Arc::new(decoder.student), decoder.sha256);
        TaskStudent { labels, warning: decoder.warning, ..student }
    } else if let (Some(path), TaskKind::Extract) = (&task.student, task.kind) {
        let backend = load_tagger(path, task, access.memory.bases())?;
        let sha256 = backend.fingerprint();
        TaskStudent { context_tokens, ..of_backend(Arc::new(backend), sha256) }
    } else if let Some(path) = &task.student {
        check_writer(task, path)?;
        let student = load_student(path, task.base.as_deref(), access.memory.bases())?;
        let (labels, sha256) = (owned(student.labels()), student.hash().to_hex());
        let backend = StudentBackend::new(Arc::new(student), task.answer_key.is_some());
        TaskStudent { labels, context_tokens, ..of_backend(Arc::new(backend), sha256) }
    } else if let Some(wanted) = &task.student_model {
        // The prompt is the task's own, and the model counts it.
        let (student, sha256) = student_model(name, task, wanted, access)?;
        of_backend(Arc::new(student), sha256)
    } else {
        return Ok(None);
    }))
}

/// A student as a rung, with the labels that it has and what is odd about it.
pub(crate) struct StudentRung {
    pub(crate) rung: Arc<Rung>,
    pub(crate) labels: Vec<Arc<str>>,
    pub(crate) warnings: Vec<DeployWarning>,
}

/// Returns a task's student as a rung, if it has one.
pub(crate) fn rung(
    name: &TaskName,
    task: &Task,
    access: ModelAccess<'_>,
    files: &FilesRead,
) -> Result<Option<StudentRung>, DeployError> {
    note_files(task, files);
    let failed = |error| DeployError::Student { task: name.clone(), source: Box::new(error) };
    let Some(student) = task_student(name, task, access).map_err(failed)? else { return Ok(None) };
    let TaskStudent { backend, sha256, labels, context_tokens, warning } = student;
    let (gate, void) = gate(name, task, &sha256)?;
    let rung = Rung {
        name: "student".into(),
        model: format!("{name}@{}", sha256.get(..12).unwrap_or_default()).into(),
        tier: Tier::Local,
        kind: RungKind::Student,
        context_tokens,
        price: Some(Arc::new(free())),
        gate: Some(gate),
        backend,
    };
    Ok(Some(StudentRung {
        rung: Arc::new(rung),
        labels,
        warnings: warning.into_iter().chain(void).collect(),
    }))
}

/// Notes every file that a task's student is made of.
fn note_files(task: &Task, files: &FilesRead) {
    let model = task.student_model.as_ref();
    let own = [
        task.student.clone(),
        task.base.clone(),
        task.schema.clone(),
        certificate_path(task),
        model.and_then(|model| model.schema.clone()),
        model.and_then(|model| model.grammar.clone()),
    ];
    own.iter().flatten().for_each(|path| files.before(path));
    if let (Some(path), None, None) = (&task.student, &task.base, decoder_folder(task)) {
        trained_base(path).iter().for_each(|base| files.before(base));
    }
}

/// Returns the base that a student's file says it stands on.
fn trained_base(student: &Path) -> Option<PathBuf> {
    let base = match Student::read_description(student).ok()?.0 {
        StudentDescription::Encoder(description) => description.base_path,
        StudentDescription::Tagger(description) => description.base_path,
        _ => return None,
    };
    Some(student.parent().unwrap_or(Path::new("")).join(base))
}

/// Returns the tagger in a file as what serves a task: its answers are shaped by the task's schema.
///
/// # Errors
/// When the file, its base or the schema cannot be used.
pub fn load_tagger(path: &Path, task: &Task, bases: &Bases) -> Result<TaggerBackend, StudentError> {
    let tagger = Tagger::load(path, task.base.as_deref(), bases)?;
    let shape = match &task.schema {
        Some(schema) => read_shape(schema, Some(tagger.slots()))?,
        None => Shape::free(),
    };
    Ok(TaggerBackend::new(Arc::new(tagger), shape))
}

/// Returns the language model that serves a task as its student, and the hash of everything that its answers depend on.
///
/// # Errors
/// When there is no such language model in this process, or it cannot be held to the form of the answers.
pub fn student_model(
    name: &TaskName,
    task: &Task,
    wanted: &StudentModel,
    access: ModelAccess<'_>,
) -> Result<(DecoderStudent, String), StudentError> {
    let Some(served) = access.local.get(wanted.model.as_str()) else {
        return Err(StudentError::NotLocal { model: wanted.model.clone() });
    };
    let labels: Vec<Arc<str>> = task.labels.iter().map(|label| label.as_str().into()).collect();
    let own = StudentTask {
        name: name.as_str().into(),
        instructions: instructions(task, &labels).into(),
        form: form(task, wanted)?,
        tokens_max: wanted.answer_tokens_max,
        samples: wanted.samples,
        verifier: None,
    };
    let hash = |path: &PathBuf| {
        let unreadable = |source| StudentError::Unreadable { part: "model", path: path.clone(), source };
        access.memory.content_hash(path).map_err(unreadable)
    };
    let files = served.files.iter().map(hash).collect::<Result<Vec<_>, _>>()?;
    let sha256 = own.fingerprint(&files);
    Ok((DecoderStudent::new(Arc::clone(&served.backend), own), sha256))
}

/// Returns what the answers keep to, once it is sure that they can.
fn form(task: &Task, wanted: &StudentModel) -> Result<AnswerForm, StudentError> {
    if task.kind == TaskKind::Classify {
        return Ok(AnswerForm::Labels(task.labels.clone().into()));
    }
    if let Some(path) = &wanted.schema {
        return Ok(AnswerForm::Json(read_schema(path)?));
    }
    if let Some(regex) = &wanted.regex {
        check_regex(regex)?;
        return Ok(AnswerForm::Regex(regex.as_str().into()));
    }
    Ok(match &wanted.grammar {
        Some(path) => AnswerForm::Lark(read_grammar(path)?.into()),
        None => AnswerForm::Text,
    })
}

/// Checks that a task whose answers are written does not name a student that cannot write.
///
/// # Errors
/// When the student at `path`, which is not a decoder, is to write.
pub fn check_writer(task: &Task, path: &Path) -> Result<(), StudentError> {
    if matches!(task.kind, TaskKind::Classify | TaskKind::Extract) {
        return Ok(());
    }
    Err(StudentError::NotDecoder { path: path.to_owned(), kind: task.kind })
}

/// Reads a student's file, with the base that it stands on: the one in the folder `base`, or where training found it.
///
/// # Errors
/// When the file or the base cannot be used.
pub fn load_student(path: &Path, base: Option<&Path>, bases: &Bases) -> Result<Student, StudentError> {
    Ok(Student::load(path, base, bases)?)
}
