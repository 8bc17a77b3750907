//! Why nothing could be proved or refuted.

use std::path::PathBuf;

use bantam_eval::NoAnswer;
use bantam_student::{ReadExamplesError, ReadExamplesErrorKind};

use crate::destination::DestinationError;

/// Why a certification came to no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertifyError {
    /// The certificate could not be written.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// A file of rows.
    #[error("cannot use the rows")]
    Rows {
        /// What is wrong with it.
        #[source]
        source: ReadExamplesError,
        /// The form that its rows should have.
        form: RowForm,
    },
    /// There is no evidence: the student knows all of it.
    #[error("the student was trained on all of these rows")]
    AllSeen,
    /// The student failed.
    #[error("cannot certify")]
    NoAnswer(#[from] NoAnswer),
    /// The certificate could not be written.
    #[error("cannot write {}", .path.display())]
    Save {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A runtime that could not be started.
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    /// It was asked to stop.
    #[error("certification was stopped")]
    Cancelled,
}

/// The form of rows of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowForm {
    /// Texts with labels.
    Labels,
    /// Texts with the values of slots.
    Objects,
    /// Texts with answers.
    Answers,
}

impl CertifyError {
    /// Returns what makes an error of a file's, whose rows should have this form.
    pub(super) fn rows(form: RowForm) -> impl FnOnce(ReadExamplesError) -> Self {
        move |source| Self::Rows { source, form }
    }

    /// Returns what to do about it. Settings stand in backticks.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Destination(error) => error.hint(),
            Self::Rows { source, form } => row_hint(&source.kind, *form).to_owned(),
            Self::AllSeen => "a certificate must be proved on rows that the student has not seen".to_owned(),
            Self::Save { .. } => "make room on the disk, or give another `out`".to_owned(),
            Self::NoAnswer(_) | Self::Runtime(_) | Self::Cancelled => return None,
        })
    }
}

fn row_hint(kind: &ReadExamplesErrorKind, form: RowForm) -> &'static str {
    let is_about_form = matches!(
        kind,
        ReadExamplesErrorKind::NotJson(_)
            | ReadExamplesErrorKind::NotObject
            | ReadExamplesErrorKind::Missing { .. }
            | ReadExamplesErrorKind::NotString { .. }
            | ReadExamplesErrorKind::NotSlots
            | ReadExamplesErrorKind::Empty
    );
    match form {
        RowForm::Objects if is_about_form => {
            "a row is one line such as {\"text\": \"2 lamps\", \"slots\": {\"product\": [\"lamps\"]}}, or with the \
             whole answer under \"answer\""
        }
        RowForm::Answers if is_about_form => {
            "a row is one line such as {\"text\": \"2 lamps\", \"answer\": {\"product\": \"lamp\", \"count\": 2}}"
        }
        _ => kind.hint(),
    }
}
