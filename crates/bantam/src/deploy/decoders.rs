//! Decoder students from their folders: checked, and put into the room of models.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bantam_config::Config;
use bantam_local::{DecoderStudent, DecoderStudentFile, KeepAlive, ReadDecoderStudentError};
use bantam_types::TaskName;

use super::local::{Entry, residents};
use super::students::fingerprint;
use super::{LocalModels, Memory};
use crate::failure::{Failure, Outcome};
use crate::output;

/// Tokens whose keys and values are kept for a student: its prompt begins alike for all, so that few are enough.
const KV_TOKENS: usize = 4_096;
/// How many of the longest rows go in at a time at least.
const ROWS_AT_A_TIME: usize = 4;
/// How long a student stays in memory after its last request.
const KEEP: Duration = Duration::from_secs(30 * 60);

/// Returns the name under which a task's student stands among the models of this process.
fn resident_name(task: &str) -> String {
    format!("task/{task}")
}

/// Reads the description of a decoder student.
pub(crate) fn read_decoder(folder: &Path) -> Result<DecoderStudentFile, Failure> {
    DecoderStudentFile::read(folder).map_err(|error: ReadDecoderStudentError| {
        let hint = error.kind.hint();
        Failure::from_error("cannot use the student", &error).hint(hint).outcome(Outcome::ModelMissing)
    })
}

/// Returns the models that the decoder students of tasks are, to be loaded like all others.
pub(super) fn entries(config: &Config) -> Result<Vec<Entry<'static>>, Failure> {
    let mut entries = Vec::new();
    for (name, task) in &config.tasks {
        let Some(folder) = task.student.as_deref().filter(|path| DecoderStudentFile::is_at(path)) else {
            continue;
        };
        entries.push(entry(name.as_str(), (&read_decoder(folder)?, folder), task.base.as_deref()));
    }
    Ok(entries)
}

fn entry(name: &str, (student, folder): (&DecoderStudentFile, &Path), base: Option<&Path>) -> Entry<'static> {
    Entry {
        name: Cow::Owned(resident_name(name)),
        context_tokens: None,
        path: Cow::Owned(student.model_path(folder, base)),
        kv_tokens: KV_TOKENS.max(ROWS_AT_A_TIME * student.row_tokens_max),
        adapter: student.adapter_path(folder).map(Cow::Owned),
        keep: KeepAlive::For(KEEP),
        preload: false,
        // A model of the student's own is laid out in no time; its folder holds nothing but the student.
        keeps_layout: student.base.is_some(),
    }
}

/// Returns the student of a task, and the hash of everything that its answers depend on.
pub(crate) fn task_decoder(
    name: &TaskName,
    task: &bantam_config::Task,
    folder: &Path,
    (memory, local): (&Memory, &LocalModels),
) -> Result<(DecoderStudent, String, DecoderStudentFile), Failure> {
    let student = read_decoder(folder)?;
    if task.instructions.as_ref().is_some_and(|own| *own != student.instructions) {
        output::note(format!(
            "warning: the student of {name} was taught with other instructions than the task has; it is asked with its own"
        ));
    }
    let resident = local.get(&*resident_name(name.as_str())).ok_or_else(|| {
        Failure::new(Outcome::Failed, format!("the student of `{name}` is not among the models"))
    })?;
    let hash = hash(&student, folder, task.base.as_deref(), memory)?;
    let own = student.task(name.as_str());
    Ok((DecoderStudent::new(Arc::clone(&resident.backend), own), hash, student))
}

/// Returns a student that is asked outside a gateway.
pub(crate) fn open_decoder(
    name: &str,
    (student, folder): (&DecoderStudentFile, &Path),
    base: Option<&Path>,
    memory: &Memory,
) -> Result<DecoderStudent, Failure> {
    let entries = [entry(name, (student, folder), base)];
    let (_, local) = residents(&entries, memory.own_budget(), memory)?;
    let resident = local.into_values().next().ok_or_else(|| {
        Failure::new(Outcome::Failed, format!("the student {} cannot be opened", folder.display()))
    })?;
    Ok(DecoderStudent::new(resident.backend, student.task(name)))
}

/// Returns the hash that names a student: of its weights, its base, its prompt and the form of its answers, all of them
/// as they are now.
///
/// # Errors
/// When the weights or the base are not those that it was trained with.
pub(crate) fn hash(
    student: &DecoderStudentFile,
    folder: &Path,
    other_base: Option<&Path>,
    memory: &Memory,
) -> Result<String, Failure> {
    let weights = (folder.join(&student.weights.file), &student.weights.sha256, "weights");
    let base =
        student.base.as_ref().map(|base| (student.model_path(folder, other_base), &base.sha256, "base"));
    let mut found = Vec::new();
    for (path, expected, what) in base.into_iter().chain([weights]) {
        let sha256 = memory.content_hash(&path).map_err(|error| {
            Failure::from_error(format!("cannot read the {what} of the student, {}", path.display()), &error)
                .hint("bring it back, or say where it is: `base` in the task, --base on the command line")
                .outcome(Outcome::ModelMissing)
        })?;
        if sha256 != *expected {
            let message = format!(
                "the {what} of the student {}, {}, has changed since it was trained",
                folder.display(),
                path.display()
            );
            return Err(Failure::new(Outcome::ModelMissing, message)
                .hint("bring back what it was trained with, or train it again"));
        }
        found.push(sha256);
    }
    Ok(fingerprint(&student.task(""), &found))
}
