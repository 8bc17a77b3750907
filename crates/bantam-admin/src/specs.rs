//! The jobs that long use cases run as: their kinds, and what was asked for.
//!
//! Both are wire contracts: they are kept with a job and listed later. No prompts and no keys are among them.

use std::path::Path;

use bantam_jobs::JobSpec;
use bantam_quantise::QuantiseRequest;
use bantam_teach::TrainingRequest;
use bantam_types::TaskName;
use serde_json::{Value, json};

use crate::students::{TaskCertification, TaskEvidence};

fn spec(kind: &str, parameters: Value) -> JobSpec {
    JobSpec { kind: kind.to_owned(), parameters }
}

/// Returns the job that brings a model from the hub.
pub fn pull_job(name: &str) -> JobSpec {
    spec("pull", json!({ "name": name }))
}

/// Returns the job that takes in a model from a file.
pub fn import_job(file: &Path, name: Option<&str>, replaces: bool) -> JobSpec {
    spec("import", json!({ "file": file, "name": name, "replace": replaces }))
}

/// Returns the job that writes models to a bundle.
pub fn export_job(models: &[String], out: &Path) -> JobSpec {
    spec("export", json!({ "models": models, "out": out }))
}

/// Returns the job that quantises a model, over a text in the file `text` if that is given.
pub fn quantise_job(model: &str, request: &QuantiseRequest, text: Option<&Path>) -> JobSpec {
    let name = request.name.as_ref().map(ToString::to_string);
    spec("quantise", json!({ "model": model, "to": request.to.name(), "name": name, "text": text }))
}

/// Returns the job that trains a student, on rows in the file `data` or on the recorded answers of `task`.
pub fn train_job(request: &TrainingRequest, task: Option<&TaskName>, data: Option<&Path>) -> JobSpec {
    let TrainingRequest { out, kind, base, .. } = request;
    spec("train", json!({ "student": out, "kind": kind, "task": task, "data": data, "base": base }))
}

/// Returns the job that certifies the student of a task.
pub fn certify_job(task: &TaskName, wanted: &TaskCertification) -> JobSpec {
    let TaskCertification { error_max, confidence, evidence, out } = wanted;
    let data = match evidence {
        TaskEvidence::File(path) => Some(path),
        TaskEvidence::Recorded(_) => None,
    };
    let parameters =
        json!({ "task": task, "error": error_max, "confidence": confidence, "data": data, "out": out });
    spec("certify", parameters)
}

#[cfg(test)]
mod tests {
    use bantam_quantise::Quantisation;
    use bantam_teach::StudentKind;

    use super::*;

    #[test]
    fn jobs_keep_their_kinds_and_parameters() {
        let task: TaskName = "desk".parse().unwrap();
        let request = TrainingRequest {
            instructions: Some("a prompt".to_owned()),
            ..TrainingRequest::new(StudentKind::Decoder, "desk.student")
        };
        let wanted = TaskCertification {
            error_max: 0.02,
            confidence: 0.95,
            evidence: TaskEvidence::File("rows.jsonl".into()),
            out: "desk.certificate.json".into(),
        };
        let smaller = QuantiseRequest {
            to: Quantisation::Q8_0,
            name: None,
            text: Some(("a text".to_owned(), 8)),
            threads: 1,
        };
        let all = [
            pull_job("org/repo"),
            import_job(Path::new("tiny.gguf"), None, false),
            export_job(&["tiny".to_owned()], Path::new("models.tar")),
            quantise_job("tiny:f32", &smaller, Some(Path::new("text.txt"))),
            train_job(&request, Some(&task), None),
            certify_job(&task, &wanted),
        ];
        let lines: Vec<String> = all.iter().map(|job| format!("{} {}", job.kind, job.parameters)).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
