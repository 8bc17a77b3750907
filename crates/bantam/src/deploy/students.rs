//! The students of tasks: from a file, or a language model of this process; and what was proved of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_config::StudentModel;
use bantam_eval::load_certificate;
use bantam_extract::Shape;
use bantam_gateway::Rung;
use bantam_local::{AnswerForm, DecoderStudent, DecoderStudentFile, Grammar, StudentTask, check_grammar};
use bantam_route::{Gate, RungKind};
use bantam_student::{
    Bases, LoadStudentError, LoadStudentErrorKind, Student, StudentBackend, Tagger, TaggerBackend,
};
use bantam_types::{TaskKind, TaskName, Tier};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{LocalModels, Memory, decoders, free, instructions};
use crate::failure::{Failure, Outcome};
use crate::output;

/// What students stand on.
#[derive(Clone, Copy)]
pub(crate) struct Here<'h> {
    /// Encoders and language models.
    pub(crate) memory: &'h Memory,
    /// The language models of the configuration.
    pub(crate) local: &'h LocalModels,
}

/// A student as a rung, with the labels that it brings.
pub(super) type StudentRung = (Arc<Rung>, Vec<Arc<str>>);

/// Returns a task's student, if it has one.
pub(super) fn rung(
    name: &TaskName,
    task: &bantam_config::Task,
    here: Here<'_>,
) -> Result<Option<StudentRung>, Failure> {
    let (labels, hash, context_tokens, backend): (_, _, _, Arc<dyn bantam_backend::Backend>) =
        if let Some(folder) = task.student.as_deref().filter(|path| DecoderStudentFile::is_at(path)) {
            let (student, hash, file) =
                decoders::task_decoder(name, task, folder, (here.memory, here.local))?;
            let labels = file.labels().iter().map(|label| label.as_str().into()).collect();
            (labels, hash, None, Arc::new(student))
        } else if let (Some(path), TaskKind::Extract) = (&task.student, task.kind) {
            let backend = tagger(path, task, here.memory.bases())?;
            let hash = backend.fingerprint();
            (Vec::new(), hash, Some(StudentBackend::CONTEXT_TOKENS), Arc::new(backend))
        } else if let Some(path) = &task.student {
            check_writer(name, task, path)?;
            let student = load_student(path, task.base.as_deref(), here.memory.bases())?;
            let labels = student.labels().iter().map(|label| label.as_str().into()).collect();
            let hash = student.hash().to_hex();
            let backend = StudentBackend::new(Arc::new(student), task.answer_key.is_some());
            (labels, hash, Some(StudentBackend::CONTEXT_TOKENS), Arc::new(backend))
        } else if let Some(model) = &task.student_model {
            let (student, hash) = decoder(name, task, model, here)?;
            // The prompt is the task's own, and the model counts it.
            (Vec::new(), hash, None, Arc::new(student))
        } else {
            return Ok(None);
        };
    let rung = Rung {
        name: "student".into(),
        model: format!("{name}@{}", hash.get(..12).unwrap_or_default()).into(),
        tier: Tier::Local,
        kind: RungKind::Student,
        context_tokens,
        price: Some(Arc::new(free())),
        gate: Some(gate(name, task, &hash)?),
        backend,
    };
    Ok(Some((Arc::new(rung), labels)))
}

/// Returns the tagger in a file as what serves a task: its answers are shaped by the task's schema.
pub(crate) fn tagger(
    path: &Path,
    task: &bantam_config::Task,
    bases: &Bases,
) -> Result<TaggerBackend, Failure> {
    let tagger = Tagger::load(path, task.base.as_deref(), bases).map_err(|error| unusable(&error))?;
    let shape = match &task.schema {
        Some(schema) => shape(schema, Some(tagger.slots()))?,
        None => Shape::free(),
    };
    Ok(TaggerBackend::new(Arc::new(tagger), shape))
}

/// Returns the shape of the schema in a file, filled by a student with these slots; without any, by one that has a slot for
/// every property.
pub(crate) fn shape(path: &Path, slots: Option<&[String]>) -> Result<Shape, Failure> {
    let what = || format!("cannot use the schema {}", path.display());
    let schema = read_json(path)?;
    let own = Shape::properties(&schema);
    Shape::new(&schema, slots.unwrap_or(&own)).map_err(|error| {
        Failure::from_error(what(), &error)
            .hint("name the properties as the student's slots are named (bantam student show FILE)")
    })
}

/// Returns the language model that serves a task as its student, and the hash of everything that its answers depend on.
pub(crate) fn decoder(
    name: &TaskName,
    task: &bantam_config::Task,
    wanted: &StudentModel,
    here: Here<'_>,
) -> Result<(DecoderStudent, String), Failure> {
    let Some(model) = here.local.get(wanted.model.as_str()) else {
        let message = format!(
            "the student of `{name}` is the model `{}`, which is no language model of this process",
            wanted.model
        );
        return Err(Failure::new(Outcome::Failed, message)
            .hint("name one with `file` or `store` in its section, and no encoder"));
    };
    let labels: Vec<Arc<str>> = task.labels.iter().map(|label| label.as_str().into()).collect();
    let form = form(name, task, wanted)?;
    let own = StudentTask {
        name: name.as_str().into(),
        instructions: instructions(task, &labels).into(),
        form,
        tokens_max: wanted.answer_tokens_max,
        samples: wanted.samples,
        verifier: None,
    };
    let files = model.files.iter().map(|path| here.memory.content_hash(path));
    let files: Vec<String> = files
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::from_error(format!("cannot read the model `{}`", wanted.model), &error))?;
    let hash = fingerprint(&own, &files);
    Ok((DecoderStudent::new(Arc::clone(&model.backend), own), hash))
}

/// Returns what the answers keep to, once it is sure that they can.
fn form(name: &TaskName, task: &bantam_config::Task, wanted: &StudentModel) -> Result<AnswerForm, Failure> {
    if task.kind == TaskKind::Classify {
        return Ok(AnswerForm::Labels(task.labels.clone().into()));
    }
    if let Some(path) = &wanted.schema {
        return read_schema(path).map(AnswerForm::Json);
    }
    if let Some(regex) = &wanted.regex {
        check_grammar(&Grammar::Regex(regex.clone())).map_err(|error| {
            Failure::from_error(format!("cannot use `tasks.{name}.regex`"), &error)
                .hint("it has the syntax of the Rust crate regex, without look-around and back-references")
        })?;
        return Ok(AnswerForm::Regex(regex.as_str().into()));
    }
    Ok(match &wanted.grammar {
        Some(path) => AnswerForm::Lark(read_grammar(path)?.into()),
        None => AnswerForm::Text,
    })
}

/// Names everything that a decoder student's answers depend on: the bytes of its model and adapter (the chat template and
/// the quantisation are in them), its prompt, the form of its answers and their length.
pub(super) fn fingerprint(task: &StudentTask, files: &[String]) -> String {
    let form = match &task.form {
        AnswerForm::Labels(labels) => json!({ "labels": &**labels }),
        AnswerForm::Json(schema) => json!({ "schema": schema }),
        AnswerForm::Regex(expression) => json!({ "regex": &**expression }),
        AnswerForm::Lark(text) => json!({ "lark": &**text }),
        AnswerForm::Text => json!("text by its least sure token"),
    };
    let mut all = json!({
        "kind": "decoder-student-1", "files": files, "instructions": &*task.instructions, "form": form,
        "tokens_max": task.tokens_max, "samples": task.samples,
    });
    if let Some(verifier) = &task.verifier {
        all["verifier"] = json!(**verifier);
    }
    Sha256::digest(all.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_json(path: &Path) -> Result<Value, Failure> {
    let what = || format!("cannot use the schema {}", path.display());
    let text = std::fs::read(path).map_err(|error| Failure::from_error(what(), &error))?;
    serde_json::from_slice(&text).map_err(|error| {
        Failure::from_error(what(), &error)
            .hint("it must be a JSON schema, such as {\"type\": \"object\", ...}")
    })
}

pub(crate) fn read_schema(path: &Path) -> Result<Value, Failure> {
    let what = || format!("cannot use the schema {}", path.display());
    let schema = read_json(path)?;
    bantam_local::check_schema(&schema).map_err(|error| {
        Failure::from_error(what(), &error)
            .hint("leave out what cannot be honoured; validators of your own may check it")
    })?;
    Ok(schema)
}

fn read_grammar(path: &Path) -> Result<String, Failure> {
    let what = || format!("cannot use the grammar {}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| Failure::from_error(what(), &error))?;
    check_grammar(&Grammar::Lark(text.clone())).map_err(|error| {
        Failure::from_error(what(), &error).hint(
            "it is Lark as llguidance reads it: rules in small letters, terminals in capitals, `start` first",
        )
    })?;
    Ok(text)
}

/// Checks that a task whose answers are written names a decoder.
///
/// # Errors
/// When the student at `path`, which is none, is to write.
pub(crate) fn check_writer(name: &TaskName, task: &bantam_config::Task, path: &Path) -> Result<(), Failure> {
    if matches!(task.kind, TaskKind::Classify | TaskKind::Extract) {
        return Ok(());
    }
    let message = format!(
        "the student of `{name}`, {}, is no decoder, and other students cannot {}",
        path.display(),
        task.kind
    );
    Err(Failure::new(Outcome::Failed, message)
        .hint("train one (bantam student train --kind decoder), or name a language model in `student_model`"))
}

/// Reads a student's file, with the base that it stands on: the one in the folder `base`, or where training found it.
pub(crate) fn load_student(path: &Path, base: Option<&Path>, bases: &Bases) -> Result<Student, Failure> {
    Student::load(path, base, bases).map_err(|error| unusable(&error))
}

/// Says why a student cannot be used, and what to do.
pub(crate) fn unusable(error: &LoadStudentError) -> Failure {
    let hint = match &error.kind {
        LoadStudentErrorKind::Base(base) => base.kind.hint(),
        other @ LoadStudentErrorKind::OtherKind { .. } => {
            return Failure::from_error("cannot use the student", error).hint(other.hint());
        }
        _ => "train it again: bantam student train --kind linear --data FILE.jsonl --out FILE",
    };
    Failure::from_error("cannot use the student", error).hint(hint).outcome(Outcome::ModelMissing)
}

/// Returns where a task's certificate is, or would be.
pub(crate) fn certificate_path(task: &bantam_config::Task) -> Option<PathBuf> {
    let of_file = || task.student.as_ref().map(|student| student.with_extension("certificate.json"));
    let of_model = || task.student_model.as_ref().map(|model| model.certificate.clone());
    task.certificate.clone().or_else(of_file).or_else(of_model)
}

/// Returns from which confidence on the student with this hash may answer.
fn gate(name: &TaskName, task: &bantam_config::Task, student_sha256: &str) -> Result<Gate, Failure> {
    let certificate = certificate_path(task).filter(|path| path.exists());
    if let Some(certificate_path) = certificate {
        let shown = certificate_path.display();
        let certificate = load_certificate(&certificate_path).map_err(|error| {
            Failure::from_error(format!("cannot use the certificate {shown}"), &error)
                .hint(format!("prove it again: bantam certify {name} --error 0.02"))
        })?;
        if certificate.holds_for(name, student_sha256) {
            return Ok(Gate::Certified { threshold: certificate.threshold });
        }
        output::note(format!(
            "warning: the certificate {shown} is void for the student of {name}: the student or the task is another one; \
             certify again"
        ));
    }
    Ok(match task.uncertified_threshold {
        Some(threshold) => Gate::Uncertified { threshold: threshold as f32 },
        None => Gate::Closed,
    })
}
