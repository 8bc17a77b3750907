//! Certificates: where they are, and whether they count for the student that is deployed.

use std::fmt;
use std::path::PathBuf;

use bantam_config::Task;
use bantam_eval::load_certificate;
use bantam_route::{Certificate, Gate};
use bantam_types::TaskName;

use crate::error::DeployError;
use crate::warning::DeployWarning;

/// What was proved of a task's student.
#[derive(Clone, Debug, PartialEq)]
pub enum CertificateState {
    /// Nothing: there is no certificate.
    Missing,
    /// What the certificate says.
    Holds(Box<Certificate>),
    /// Nothing: the certificate does not count.
    Void(VoidReason),
}

/// Why a certificate does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VoidReason {
    /// It is about another task.
    OtherTask {
        /// That task.
        task: TaskName,
    },
    /// It is about another student, or an earlier version of this one.
    OtherStudent,
}

impl fmt::Display for VoidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherTask { task } => write!(f, "it was proved for the task {task}"),
            Self::OtherStudent => f.write_str("it was proved for another student"),
        }
    }
}

/// Returns where a task's certificate is, or would be.
pub fn certificate_path(task: &Task) -> Option<PathBuf> {
    let of_file = || task.student.as_ref().map(|student| student.with_extension("certificate.json"));
    let of_model = || task.student_model.as_ref().map(|model| model.certificate.clone());
    task.certificate.clone().or_else(of_file).or_else(of_model)
}

/// Returns whether a task's certificate counts for the student with this hash.
///
/// # Errors
/// When there is a certificate that cannot be read.
pub fn certificate_state(
    name: &TaskName,
    task: &Task,
    student_sha256: &str,
) -> Result<CertificateState, DeployError> {
    let Some(path) = certificate_path(task).filter(|path| path.exists()) else {
        return Ok(CertificateState::Missing);
    };
    let certificate = load_certificate(&path).map_err(|source| DeployError::Certificate {
        task: name.clone(),
        path,
        source,
    })?;
    Ok(if certificate.holds_for(name, student_sha256) {
        CertificateState::Holds(Box::new(certificate))
    } else if certificate.task == *name {
        CertificateState::Void(VoidReason::OtherStudent)
    } else {
        CertificateState::Void(VoidReason::OtherTask { task: certificate.task })
    })
}

/// Returns from which confidence on the student with this hash may answer, and what is odd about that.
pub(crate) fn gate(
    name: &TaskName,
    task: &Task,
    student_sha256: &str,
) -> Result<(Gate, Option<DeployWarning>), DeployError> {
    let uncertified = match task.uncertified_threshold {
        Some(threshold) => Gate::Uncertified { threshold: threshold as f32 },
        None => Gate::Closed,
    };
    Ok(match certificate_state(name, task, student_sha256)? {
        CertificateState::Missing => (uncertified, None),
        CertificateState::Holds(certificate) => (Gate::Certified { threshold: certificate.threshold }, None),
        CertificateState::Void(reason) => {
            let path = certificate_path(task).unwrap_or_default();
            (uncertified, Some(DeployWarning::VoidCertificate { task: name.clone(), path, reason }))
        }
    })
}
