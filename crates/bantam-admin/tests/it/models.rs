//! The store's use cases, and the JSON that every front end gets.

use std::path::PathBuf;

use bantam_admin::{
    AddModelError, UseCaseError, copy_model, examine, export_models, find_model, import_model, list_models,
    remove_models, show_model,
};
use bantam_jobs::{FailureReason, JobContext, JobRecord, JobSpec, Jobs, JobsSettings};
use bantam_store::Store;
use serde::Serialize;
use serde_json::{Value, json};

use crate::tiny_model;

struct Place {
    folder: tempfile::TempDir,
    store: Store,
    model: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = tiny_model::write(folder.path());
        Self { store: Store::open(folder.path().join("store")), model, folder }
    }

    /// Runs work as a job and returns what it came to, and the job's record.
    fn job<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store, &JobContext) -> T + Send + 'static,
    ) -> (T, JobRecord) {
        let jobs = Jobs::open(JobsSettings::new(self.folder.path().join("jobs"))).unwrap();
        let (store, (send, receive)) = (self.store.clone(), std::sync::mpsc::channel());
        let spec = JobSpec { kind: "test".to_owned(), parameters: Value::Null };
        let job = jobs.submit(spec, move |context| {
            send.send(work(&store, context)).unwrap();
            Ok(Value::Null)
        });
        let record = job.unwrap().wait();
        (receive.recv().unwrap(), record)
    }

    fn import(&self, name: &str) -> JobRecord {
        let (model, name) = (self.model.clone(), name.to_owned());
        let (added, record) =
            self.job(move |store, context| import_model(store, &model, Some(&name), false, context));
        assert!(added.unwrap()[0].name.starts_with("tiny"));
        record
    }

    /// Returns JSON without what differs from run to run.
    fn shape(&self, value: &impl Serialize) -> String {
        let mut json = serde_json::to_value(value).unwrap();
        blank(&mut json);
        let folder = self.folder.path().display().to_string();
        serde_json::to_string_pretty(&json).unwrap().replace(&folder, "[FOLDER]")
    }
}

fn blank(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match key.as_str() {
                    "digest" => *field = json!("[SHA256]"),
                    "added_s" | "at_s" => *field = json!(0),
                    "path" if field.as_str().is_some_and(|path| path.contains("/trees/")) => {
                        *field = json!("[PATH]");
                    }
                    _ => blank(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blank),
        _ => {}
    }
}

#[test]
fn models_are_listed_and_shown_in_shapes_that_stay() {
    let place = Place::new();
    let record = place.import("tiny:f32");
    let progress = record.progress.unwrap();
    assert_eq!((progress.done, progress.total), (progress.total.unwrap(), Some(progress.done)));
    assert_eq!(progress.unit, "bytes");
    insta::assert_snapshot!("list", place.shape(&list_models(&place.store).unwrap()));
    insta::assert_snapshot!("show", place.shape(&show_model(&place.store, "tiny").unwrap()));
    insta::assert_snapshot!("copy", place.shape(&copy_model(&place.store, "tiny", "other:q").unwrap()));
    let mut told = Vec::new();
    let names = ["other".to_owned(), "tiny".to_owned()];
    let removed =
        remove_models(&place.store, &names, true, &mut |gone| told.push(gone.name.clone())).unwrap();
    assert_eq!(told, ["other:q", "tiny:f32"]);
    assert_eq!(removed.removed[0].freed_bytes, 0);
    assert!(removed.removed[1].freed_bytes > 0);
    insta::assert_snapshot!("empty", place.shape(&list_models(&place.store).unwrap()));
}

#[test]
fn a_bundle_is_written_and_taken_in_and_has_names_of_its_own() {
    let place = Place::new();
    place.import("tiny:f32");
    let target = place.folder.path().join("models.tar");
    let out = target.clone();
    let (written, _) = place.job(move |store, context| {
        let entry = find_model(store, "tiny").unwrap();
        export_models(store, &[entry], &out, context)
    });
    let written = written.unwrap();
    assert_eq!(written.models, ["tiny:f32"]);
    let there = Place::new();
    let bundle = target.clone();
    let (refused, _) =
        there.job(move |store, context| import_model(store, &bundle, Some("x"), false, context));
    let refused = refused.unwrap_err();
    assert!(matches!(refused, AddModelError::BundleName), "{refused}");
    assert_eq!(refused.reason(), FailureReason::Invalid);
    let (added, _) = there.job(move |store, context| import_model(store, &target, None, false, context));
    assert_eq!(added.unwrap()[0].name, "tiny:f32");
}

#[test]
fn a_damaged_model_is_listed_with_what_is_wrong() {
    let place = Place::new();
    place.import("tiny:f32");
    std::fs::write(place.store.root().join("manifests/tiny/f32.json"), "{").unwrap();
    let list = list_models(&place.store).unwrap();
    assert_eq!((list.models.len(), list.damaged.len()), (0, 1));
    assert_eq!(list.damaged[0].name, "tiny:f32");
    assert!(list.damaged[0].reason.contains("manifest"), "{:?}", list.damaged);
}

#[test]
fn the_doctor_s_report_keeps_its_shape() {
    let place = Place::new();
    place.import("tiny:f32");
    let mut report = examine(&place.store, Some(1)).unwrap();
    assert!(report.int8_gops > 0.0 && report.read_gb_s > 0.0 && report.usual.len() > 10);
    // What differs from machine to machine.
    (report.cores, report.int8_gops, report.read_gb_s) = (2, 900.0, 40.0);
    report.instructions = "avx2".to_owned();
    (report.memory_bytes, report.memory_is_limited, report.disk_bytes) = (Some(1), true, Some(1));
    report.usual.truncate(1);
    for estimate in report.usual.iter_mut().chain(&mut report.models) {
        estimate.short_by_bytes = Some(1);
        estimate.estimated.decode_tokens_per_s = 1.5;
        estimate.estimated.prefill_tokens_per_s = 1.5;
    }
    insta::assert_snapshot!(place.shape(&report));
}
