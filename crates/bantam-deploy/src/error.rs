//! Why a configuration cannot be deployed, and what to do about it in terms of settings.

use std::io;
use std::path::PathBuf;

use bantam_engine::LoadAdapterError;
use bantam_eval::LoadCertificateError;
use bantam_local::{Misfit, OpenModelError, OpenModelErrorKind, ReadDecoderStudentError};
use bantam_privacy::BuildScannerError;
use bantam_remote::BuildUpstreamError;
use bantam_store::{ParseNameError, ResolveError};
use bantam_student::{LoadBaseError, LoadStudentError, LoadStudentErrorKind};
use bantam_types::{TaskKind, TaskName};

use crate::forms::FormError;

/// Why a configuration cannot be deployed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// The dictionary of the privacy scanner cannot be used.
    #[error("cannot build the privacy scanner")]
    Scanner(#[from] BuildScannerError),
    /// An upstream cannot be used.
    #[error("cannot use the upstream `{name}`")]
    Upstream {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: UpstreamError,
    },
    /// A model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A task's student cannot be used.
    #[error("cannot use the student of `{task}`")]
    Student {
        /// The task.
        task: TaskName,
        /// Why.
        #[source]
        source: Box<StudentError>,
    },
    /// A student's certificate cannot be read.
    #[error("cannot use the certificate {}", .path.display())]
    Certificate {
        /// The task.
        task: TaskName,
        /// The certificate.
        path: PathBuf,
        /// Why.
        #[source]
        source: LoadCertificateError,
    },
}

/// Whose fault a [`DeployError`] is, so that a front end can choose its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeployFault {
    /// The configuration says something that cannot be.
    Invalid,
    /// A model or student that is named does not exist, or is not the one that was meant.
    Missing,
    /// Something else.
    Failed,
}

impl DeployError {
    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Scanner(_) => "shorten the terms in [[privacy.dictionary]]".to_owned(),
            Self::Upstream { source, .. } => source.hint().to_owned(),
            Self::Model(error) => error.hint(),
            Self::Student { source, .. } => source.hint(),
            Self::Certificate { task, .. } => {
                format!("certify the student of `{task}` again, or remove the certificate")
            }
        }
    }

    /// Returns whose fault it is.
    pub fn fault(&self) -> DeployFault {
        match self {
            Self::Model(error) => error.fault(),
            Self::Student { source, .. } => source.fault(),
            Self::Scanner(_) | Self::Upstream { .. } | Self::Certificate { .. } => DeployFault::Failed,
        }
    }
}

/// Why an upstream cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// Its root certificates cannot be read.
    #[error("cannot read its `ca_file`, {}", .path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The proxy that the environment names cannot be used.
    #[error("its `proxy` is \"env\", and {0}")]
    Proxy(#[from] bantam_config::EnvironmentProxyError),
    /// It cannot be set up.
    #[error(transparent)]
    Build(#[from] BuildUpstreamError),
}

impl UpstreamError {
    const fn hint(&self) -> &'static str {
        match self {
            Self::CaFile { .. } => "check that the file may be read, or remove `ca_file`",
            Self::Proxy(_) => "Bantam speaks plain HTTP to proxies: name one in `proxy`, or write \"none\"",
            Self::Build(_) => {
                "check `base_url`, `ca_file`, `proxy`, and the values of the variables in `api_key_env` and `headers`"
            }
        }
    }
}

/// A model in this process that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} `{name}`", .kind.subject())]
pub struct ModelError {
    /// Its name in the configuration.
    pub name: String,
    /// Why.
    #[source]
    pub kind: Box<ModelErrorKind>,
}

/// What keeps a model from being used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelErrorKind {
    /// `store` holds something that is not a model's name.
    #[error(transparent)]
    Name(#[from] ParseNameError),
    /// The store does not have it.
    #[error(transparent)]
    Store(#[from] ResolveError),
    /// Its file cannot be used.
    #[error(transparent)]
    Open(#[from] OpenModelError),
    /// It is an encoder that cannot be used.
    #[error(transparent)]
    Encoder(#[from] LoadBaseError),
    /// Its adapter does not belong to it.
    #[error("it does not fit {}", .model.display())]
    Adapter {
        /// What is wrong with it.
        #[source]
        source: Box<LoadAdapterError>,
        /// The base that it names, where it names one.
        trained_on: Option<String>,
        /// The model that it was to run on.
        model: PathBuf,
    },
    /// It cannot take as many tokens as the configuration says.
    #[error("it is to take {wanted} tokens, but it was made for {made_for} at most")]
    Context {
        /// What the configuration says.
        wanted: u64,
        /// What the model can take.
        made_for: u64,
    },
    /// It does not fit into memory, even alone.
    #[error("it does not fit: {0}")]
    TooLarge(Misfit),
}

impl ModelErrorKind {
    /// Returns the error of the model with this name.
    pub(crate) fn of(self, name: &str) -> ModelError {
        ModelError { name: name.to_owned(), kind: Box::new(self) }
    }

    const fn subject(&self) -> &'static str {
        match self {
            Self::Adapter { .. } => "the adapter of the model",
            _ => "the model",
        }
    }
}

impl ModelError {
    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        match &*self.kind {
            ModelErrorKind::Name(_) => "write NAME, NAME:TAG or ORG/REPO:TAG in `store`".to_owned(),
            ModelErrorKind::Store(error) => error.hint(),
            ModelErrorKind::Open(_) => {
                "name a GGUF file, or a folder with config.json, safetensors and tokenizer.json, in `file`"
                    .to_owned()
            }
            ModelErrorKind::Encoder(error) => error.kind.hint().to_owned(),
            ModelErrorKind::Adapter { trained_on, model, .. } => {
                let made_for = trained_on.as_ref().map(|base| format!(" (it names {base} as its base)"));
                format!(
                    "an adapter runs on the model it was trained on alone: name that model in `file`{}, or train an \
                     adapter on {}",
                    made_for.unwrap_or_default(),
                    model.display()
                )
            }
            ModelErrorKind::Context { made_for, .. } => {
                format!("set context_tokens = {made_for} or less, leave it out, or use another model")
            }
            ModelErrorKind::TooLarge(misfit) => misfit.hint(),
        }
    }

    /// Returns whose fault it is.
    pub fn fault(&self) -> DeployFault {
        match &*self.kind {
            ModelErrorKind::Name(_) => DeployFault::Invalid,
            ModelErrorKind::Store(ResolveError::Store(_)) => DeployFault::Failed,
            ModelErrorKind::Store(_) | ModelErrorKind::Encoder(_) => DeployFault::Missing,
            ModelErrorKind::Open(error) if matches!(error.kind, OpenModelErrorKind::Missing) => {
                DeployFault::Missing
            }
            _ => DeployFault::Failed,
        }
    }
}

/// Why a student cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudentError {
    /// Its file cannot be used.
    #[error(transparent)]
    Load(#[from] LoadStudentError),
    /// Its folder cannot be used.
    #[error(transparent)]
    Decoder(#[from] ReadDecoderStudentError),
    /// It is to write, and cannot.
    #[error("{} is not a decoder, and other students cannot {kind}", .path.display())]
    NotDecoder {
        /// Its file.
        path: PathBuf,
        /// What the task wants.
        kind: TaskKind,
    },
    /// `student_model` names something that is not a language model in this process.
    #[error("it is the model `{model}`, which is not a language model in this process")]
    NotLocal {
        /// The model's name.
        model: String,
    },
    /// The form of its answers cannot be used.
    #[error(transparent)]
    Form(#[from] FormError),
    /// The model that it is, or stands on, cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file that it is made of cannot be read.
    #[error("cannot read its {part}, {}", .path.display())]
    Unreadable {
        /// What the file is to it, such as `weights`.
        part: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file that it is made of is not the one that it was trained with.
    #[error("the {part} of {}, {}, has changed since it was trained", .student.display(), .path.display())]
    Changed {
        /// What the file is to it, such as `base`.
        part: &'static str,
        /// The student.
        student: PathBuf,
        /// The file or folder.
        path: PathBuf,
    },
}

impl StudentError {
    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Load(error) => match &error.kind {
                LoadStudentErrorKind::Base(base) => base.kind.hint(),
                other @ LoadStudentErrorKind::OtherKind { .. } => other.hint(),
                _ => "train it again",
            },
            Self::Decoder(error) => error.kind.hint(),
            Self::NotDecoder { .. } => "train a decoder, or name a language model in `student_model`",
            Self::NotLocal { .. } => {
                "name a model with `file` or `store` in its section that is not an encoder"
            }
            Self::Form(error) => error.hint(),
            Self::Model(error) => return error.hint(),
            Self::Unreadable { .. } => "bring it back, or say where it is with `base` in the task's section",
            Self::Changed { .. } => "bring back what it was trained with, or train it again",
        };
        text.to_owned()
    }

    /// Returns whose fault it is.
    pub fn fault(&self) -> DeployFault {
        match self {
            Self::Load(error) if matches!(error.kind, LoadStudentErrorKind::OtherKind { .. }) => {
                DeployFault::Failed
            }
            Self::Load(_) | Self::Decoder(_) | Self::Unreadable { .. } | Self::Changed { .. } => {
                DeployFault::Missing
            }
            Self::Model(error) => error.fault(),
            Self::NotDecoder { .. } | Self::NotLocal { .. } | Self::Form(_) => DeployFault::Failed,
        }
    }
}
