//! What a task's student may do: as the gateway would find it, with its files as they are now.

use std::collections::BTreeMap;

use bantam_config::{Config, Task};
use bantam_deploy::{
    CertificateState, LocalModels, ModelAccess, ModelMemory, certificate_state, local_models, task_student,
};
use bantam_types::{TaskName, with_causes};
use serde::Serialize;

/// What a task's student may do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum StudentStanding {
    /// The task has no student.
    None,
    /// It answers alone from a proved confidence on.
    Certified {
        /// From which confidence on.
        threshold: f32,
        /// At most this share of accepted answers is wrong, as was proved.
        error_max: f64,
        /// The chance that the bound holds.
        confidence: f64,
    },
    /// Nothing was proved of it.
    Uncertified {
        /// From which confidence on it answers alone all the same, where the configuration allows that.
        threshold: Option<f64>,
    },
    /// What was proved does not count.
    Void {
        /// Why not.
        reason: String,
        /// From which confidence on it answers alone all the same, where the configuration allows that.
        threshold: Option<f64>,
    },
    /// It cannot be used.
    Unusable {
        /// Why not.
        reason: String,
    },
}

impl StudentStanding {
    /// Returns the standing in a few words.
    pub fn summary(&self) -> String {
        match self {
            Self::None => "no student".to_owned(),
            Self::Certified { .. } => "certified".to_owned(),
            Self::Uncertified { .. } => "uncertified".to_owned(),
            Self::Void { reason, .. } => format!("void: {reason}"),
            Self::Unusable { reason } => format!("unusable: {reason}"),
        }
    }
}

/// Returns what the student of every task may do. A student that cannot be used is not an error here.
pub fn student_standings(config: &Config) -> BTreeMap<TaskName, StudentStanding> {
    let memory = ModelMemory::new(config);
    let needs_models = |task: &Task| {
        task.student_model.is_some() || task.student.as_deref().is_some_and(std::path::Path::is_dir)
    };
    // Headers of language models are read only where a student is one.
    let models = match config.tasks.values().any(needs_models) {
        true => local_models(config, &memory).map_err(|error| with_causes(&error)),
        false => Ok(LocalModels::new()),
    };
    let standing = |(name, task): (&TaskName, &Task)| {
        let standing = match &models {
            Err(reason) if needs_models(task) => StudentStanding::Unusable { reason: reason.clone() },
            Err(_) => standing(name, task, &memory, &LocalModels::new()),
            Ok(models) => standing(name, task, &memory, models),
        };
        (name.clone(), standing)
    };
    config.tasks.iter().map(standing).collect()
}

fn standing(name: &TaskName, task: &Task, memory: &ModelMemory, local: &LocalModels) -> StudentStanding {
    let unusable = |error: &dyn std::error::Error| StudentStanding::Unusable { reason: with_causes(error) };
    let student = match task_student(name, task, ModelAccess { memory, local }) {
        Ok(Some(student)) => student,
        Ok(None) => return StudentStanding::None,
        Err(error) => return unusable(&error),
    };
    let threshold = task.uncertified_threshold;
    match certificate_state(name, task, &student.sha256) {
        Ok(CertificateState::Missing) => StudentStanding::Uncertified { threshold },
        Ok(CertificateState::Void(reason)) => StudentStanding::Void { reason: reason.to_string(), threshold },
        Ok(CertificateState::Holds(certificate)) => StudentStanding::Certified {
            threshold: certificate.threshold,
            error_max: certificate.error_max,
            confidence: certificate.confidence,
        },
        Err(error) => unusable(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standings_are_json_that_stays_as_it_is() {
        let all = [
            StudentStanding::None,
            StudentStanding::Certified { threshold: 0.75, error_max: 0.02, confidence: 0.95 },
            StudentStanding::Uncertified { threshold: Some(0.95) },
            StudentStanding::Void { reason: "it was proved for another student".to_owned(), threshold: None },
            StudentStanding::Unusable { reason: "cannot read the file".to_owned() },
        ];
        insta::assert_json_snapshot!(all);
        assert_eq!(all[3].summary(), "void: it was proved for another student");
    }
}
