//! Trainings from a request to a student in its place.

#![cfg(test)]

mod certify;
mod train;

#[path = "../../../bantam-student/tests/it/tiny_base.rs"]
mod tiny_base;
#[path = "../../../bantam-local/tests/it/tiny_model.rs"]
mod tiny_model;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use bantam_student::Bases;
use bantam_teach::{
    StudentKind, Surroundings, TrainError, Trained, TrainingData, TrainingEvent, TrainingPlan,
    TrainingRequest, train,
};
use bantam_types::Cancel;
use sha2::{Digest, Sha256};

/// A folder to train in, and what was hashed and told meanwhile.
struct Place {
    folder: tempfile::TempDir,
    hashed: RefCell<Vec<PathBuf>>,
    events: RefCell<Vec<TrainingEvent>>,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), hashed: RefCell::default(), events: RefCell::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, lines: impl IntoIterator<Item = String>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, lines.into_iter().map(|line| line + "\n").collect::<String>()).unwrap();
        path
    }

    fn request(&self, kind: StudentKind) -> TrainingRequest {
        TrainingRequest::new(kind, self.path("a.student"))
    }

    fn train(&self, request: TrainingRequest, data: TrainingData<'_>) -> Result<Trained, TrainError> {
        self.train_until(request, data, |_| false)
    }

    /// Trains, and asks the training to stop at the first event that `stop` is true of.
    fn train_until(
        &self,
        request: TrainingRequest,
        data: TrainingData<'_>,
        stop: impl Fn(&TrainingEvent) -> bool,
    ) -> Result<Trained, TrainError> {
        let plan = TrainingPlan::new(request).unwrap();
        let (bases, cancel) = (Bases::new(2), Cancel::new());
        let content_sha256 = |path: &Path| {
            self.hashed.borrow_mut().push(path.to_owned());
            let digest = Sha256::digest(std::fs::read(path)?);
            Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
        };
        let now = jiff::civil::date(2026, 11, 21).at(0, 0, 0, 0);
        let surroundings = Surroundings { bases: &bases, content_sha256: &content_sha256, now };
        let mut observer = |event: TrainingEvent| {
            if stop(&event) {
                cancel.cancel();
            }
            self.events.borrow_mut().push(event);
        };
        train(&plan, data, surroundings, &mut observer, &cancel)
    }
}
