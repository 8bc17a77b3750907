//! Decoder students from their folders: checked, and loaded like all other language models.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bantam_config::{Config, Task};
use bantam_local::{DecoderStudent, DecoderStudentFile, KeepAlive};
use bantam_types::TaskName;

use crate::error::{DeployError, StudentError};
use crate::files::FilesRead;
use crate::local::{LocalModels, ModelEntry, serve};
use crate::memory::ModelMemory;
use crate::students::ModelAccess;
use crate::warning::DeployWarning;

/// Tokens whose keys and values are kept for a student: all its prompts begin alike, so that few are enough.
const KV_TOKENS: usize = 4_096;
/// How many of the longest rows go in at a time at least.
const ROWS_AT_A_TIME: usize = 4;
/// How long a student stays in memory after its last request.
const KEEP: Duration = Duration::from_secs(30 * 60);

/// Returns the name of a task's student among the models of this process.
fn model_name(task: &str) -> String {
    format!("task/{task}")
}

/// Reads the description of a decoder student.
///
/// # Errors
/// When the folder is not one of a decoder student.
pub fn read_decoder(folder: &Path) -> Result<DecoderStudentFile, StudentError> {
    Ok(DecoderStudentFile::read(folder)?)
}

/// Returns the models that the decoder students of tasks are.
pub(crate) fn entries(config: &Config, files: &FilesRead) -> Result<Vec<ModelEntry<'static>>, DeployError> {
    let mut entries = Vec::new();
    for (name, task) in &config.tasks {
        let Some(folder) = decoder_folder(task) else { continue };
        files.before(folder);
        let student = read_decoder(folder)
            .map_err(|error| DeployError::Student { task: name.clone(), source: Box::new(error) })?;
        entries.push(entry(name.as_str(), (&student, folder), task.base.as_deref()));
    }
    Ok(entries)
}

/// Returns the folder of a task's student, if that is a decoder.
pub(crate) fn decoder_folder(task: &Task) -> Option<&Path> {
    task.student.as_deref().filter(|path| DecoderStudentFile::is_at(path))
}

fn entry(
    name: &str,
    (student, folder): (&DecoderStudentFile, &Path),
    base: Option<&Path>,
) -> ModelEntry<'static> {
    ModelEntry {
        name: Cow::Owned(model_name(name)),
        context_tokens: None,
        path: Cow::Owned(student.model_path(folder, base)),
        kv_tokens: Some(KV_TOKENS.max(ROWS_AT_A_TIME * student.row_tokens_max)),
        adapter: student.adapter_path(folder).map(Cow::Owned),
        keep: KeepAlive::For(KEEP),
        preload: false,
        // A model of the student's own is laid out in no time; its folder holds nothing but the student.
        keeps_layout: student.base.is_some(),
    }
}

/// A task's decoder student, with what names it.
pub(crate) struct TaskDecoder {
    pub(crate) student: DecoderStudent,
    /// The hash of everything that its answers depend on.
    pub(crate) sha256: String,
    pub(crate) file: DecoderStudentFile,
    pub(crate) warning: Option<DeployWarning>,
}

pub(crate) fn load(
    name: &TaskName,
    task: &Task,
    folder: &Path,
    access: ModelAccess<'_>,
) -> Result<TaskDecoder, StudentError> {
    let file = read_decoder(folder)?;
    let is_other = task.instructions.as_ref().is_some_and(|own| *own != file.instructions);
    let warning = is_other.then(|| DeployWarning::OtherInstructions { task: name.clone() });
    let model = model_name(name.as_str());
    let Some(served) = access.local.get(&*model) else { return Err(StudentError::NotLocal { model }) };
    let sha256 = decoder_hash(&file, folder, task.base.as_deref(), access.memory)?;
    let student = DecoderStudent::new(Arc::clone(&served.backend), file.task(name.as_str()));
    Ok(TaskDecoder { student, sha256, file, warning })
}

/// Returns the student of a task, the hash of everything that its answers depend on, and its description.
///
/// # Errors
/// When it cannot be used, or is not what was trained.
pub fn task_decoder(
    name: &TaskName,
    task: &Task,
    folder: &Path,
    (memory, local): (&ModelMemory, &LocalModels),
) -> Result<(DecoderStudent, String, DecoderStudentFile), StudentError> {
    let TaskDecoder { student, sha256, file, .. } = load(name, task, folder, ModelAccess { memory, local })?;
    Ok((student, sha256, file))
}

/// Returns a student that is asked outside a gateway.
///
/// # Errors
/// When its model cannot be opened.
pub fn open_decoder(
    name: &str,
    (student, folder): (&DecoderStudentFile, &Path),
    base: Option<&Path>,
    memory: &ModelMemory,
) -> Result<DecoderStudent, StudentError> {
    let entries = [entry(name, (student, folder), base)];
    let (_, models) = serve(&entries, memory.own_budget(), memory)?;
    let Some(served) = models.into_values().next() else {
        return Err(StudentError::NotLocal { model: model_name(name) });
    };
    Ok(DecoderStudent::new(served.backend, student.task(name)))
}

/// Returns the hash that names a student: of its weights, its base, its prompt and the form of its answers, all of them
/// as they are now.
///
/// # Errors
/// When the weights or the base are not those that it was trained with.
pub fn decoder_hash(
    student: &DecoderStudentFile,
    folder: &Path,
    other_base: Option<&Path>,
    memory: &ModelMemory,
) -> Result<String, StudentError> {
    let weights = (folder.join(&student.weights.file), &student.weights.sha256, "weights");
    let base =
        student.base.as_ref().map(|base| (student.model_path(folder, other_base), &base.sha256, "base"));
    let mut found = Vec::new();
    for (path, expected, part) in base.into_iter().chain([weights]) {
        let sha256 = memory.content_hash(&path).map_err(|source| StudentError::Unreadable {
            part,
            path: path.clone(),
            source,
        })?;
        if sha256 != *expected {
            return Err(StudentError::Changed { part, student: folder.to_owned(), path });
        }
        found.push(sha256);
    }
    Ok(student.task("").fingerprint(&found))
}
