//! What is odd about a deployment, and served all the same.

use std::fmt;
use std::path::PathBuf;

use bantam_types::TaskName;

use crate::certificates::VoidReason;

/// Something that people should know about a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeployWarning {
    /// A student has a certificate that does not count, so that it never answers alone.
    VoidCertificate {
        /// The task.
        task: TaskName,
        /// The certificate.
        path: PathBuf,
        /// Why it does not count.
        reason: VoidReason,
    },
    /// A task has instructions that its student was not trained with; the student is asked with its own.
    OtherInstructions {
        /// The task.
        task: TaskName,
    },
}

impl fmt::Display for DeployWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VoidCertificate { task, path, reason } => {
                let shown = path.display();
                write!(
                    f,
                    "the certificate {shown} is void for the student of {task}: {reason}; certify again"
                )
            }
            Self::OtherInstructions { task } => write!(
                f,
                "the student of {task} was taught with other instructions than the task has; it is asked with its own"
            ),
        }
    }
}
