//! The student of a task is certified, as a job.

use std::path::PathBuf;
use std::sync::Arc;

use bantam_config::{Config, Task};
use bantam_deploy::{
    DeployError, ModelAccess, ModelMemory, StudentError, check_writer, load_student, load_tagger,
    local_models, student_model, task_decoder,
};
use bantam_eval::Claim;
use bantam_jobs::{JobContext, JobProgress};
use bantam_local::DecoderStudentFile;
use bantam_student::Example;
use bantam_teach::{
    Candidate, Certification, CertificationReport, CertifyError, CertifyEvent, EvidenceSource, certify,
};
use bantam_types::{TaskKind, TaskName};

use crate::progress::PacedProgress;

/// What is to be proved of a task's student.
#[derive(Clone, Debug)]
pub struct TaskCertification {
    /// The most errors among accepted answers.
    pub error_max: f64,
    /// The chance that the bound holds.
    pub confidence: f64,
    /// What it is proved on.
    pub evidence: TaskEvidence,
    /// Where the certificate is written.
    pub out: PathBuf,
}

/// Rows that a student is certified on.
#[derive(Clone, Debug)]
pub enum TaskEvidence {
    /// A file of labelled rows.
    File(PathBuf),
    /// The task's recorded answers that were kept back.
    Recorded(Vec<Example>),
}

/// Why the student of a task was neither certified nor refuted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertifyTaskError {
    /// The task has no student.
    #[error("the task `{task}` has no student to certify")]
    NoStudent {
        /// The task.
        task: TaskName,
    },
    /// The student cannot be used.
    #[error("cannot use the student")]
    Student(#[from] StudentError),
    /// The language models of the configuration cannot be used.
    #[error(transparent)]
    Models(#[from] DeployError),
    /// The certification came to no result.
    #[error(transparent)]
    Certify(#[from] CertifyError),
}

/// Returns a claim that is to be proved now.
pub fn claim(task: TaskName, (error_max, confidence): (f64, f64), truth: &str) -> Claim {
    let proved_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Claim { task, error_max, confidence, truth: truth.to_owned(), proved_at }
}

/// Tries to prove a claim about the student of a task, as it serves that task. Reports rows as progress, and what
/// narrows the proof as warnings. A claim that cannot be proved is no error: the report says what is missing.
///
/// # Errors
/// When the student cannot be used or there is no evidence.
pub fn certify_task(
    config: &Config,
    (name, task): (&TaskName, &Task),
    wanted: TaskCertification,
    context: &JobContext,
) -> Result<CertificationReport, CertifyTaskError> {
    let proving = Proving { name, wanted, context };
    let memory = ModelMemory::new(config);
    let labels: Vec<Arc<str>> = task.labels.iter().map(|label| label.as_str().into()).collect();
    match (&task.student, &task.student_model) {
        (Some(folder), _) if DecoderStudentFile::is_at(folder) => {
            let local = local_models(config, &memory)?;
            let (student, sha256, file) = task_decoder(name, task, folder, (&memory, &local))?;
            let own: Vec<Arc<str>> = file.labels().iter().map(|label| label.as_str().into()).collect();
            let labels = if labels.is_empty() { &own } else { &labels };
            let (student, sha256, seen) = (&student, &*sha256, Some(&file.seen));
            proving.prove(Candidate::LanguageModel { student, sha256, seen, labels })
        }
        (Some(path), _) if task.kind == TaskKind::Extract => {
            proving.prove(Candidate::Tagger(&load_tagger(path, task, memory.bases())?))
        }
        (Some(path), _) => {
            check_writer(task, path)?;
            let student = load_student(path, task.base.as_deref(), memory.bases())?;
            proving.prove(Candidate::Classifier { student: &student, labels: &labels })
        }
        (None, Some(model)) => {
            let local = local_models(config, &memory)?;
            let access = ModelAccess { memory: &memory, local: &local };
            let (student, sha256) = student_model(name, task, model, access)?;
            let (student, sha256, labels) = (&student, &*sha256, &*labels);
            proving.prove(Candidate::LanguageModel { student, sha256, seen: None, labels })
        }
        (None, None) => Err(CertifyTaskError::NoStudent { task: name.clone() }),
    }
}

/// A claim with the job that proves it.
struct Proving<'p> {
    name: &'p TaskName,
    wanted: TaskCertification,
    context: &'p JobContext,
}

impl Proving<'_> {
    fn prove(self, candidate: Candidate<'_>) -> Result<CertificationReport, CertifyTaskError> {
        let TaskCertification { error_max, confidence, evidence, out } = self.wanted;
        let path;
        let (evidence, truth) = match evidence {
            TaskEvidence::File(file) => {
                path = file;
                (EvidenceSource::File(&path), "labels")
            }
            TaskEvidence::Recorded(answers) => (EvidenceSource::Recorded(answers), "recorded answers"),
        };
        let claim = claim(self.name.clone(), (error_max, confidence), truth);
        let mut progress = PacedProgress::new(self.context);
        let mut observer = |event: CertifyEvent| match event {
            CertifyEvent::Answering { done, rows } => progress.tell(JobProgress {
                done,
                total: Some(rows),
                unit: "rows".to_owned(),
                ..JobProgress::default()
            }),
            CertifyEvent::Notice(notice) if notice.is_warning() => self.context.warn(notice.to_string()),
            CertifyEvent::Notice(notice) => self.context.note(notice.to_string()),
            _ => {}
        };
        let certification = Certification { claim, candidate, evidence, out: Some(&out) };
        Ok(certify(certification, &mut observer, &self.context.cancel_request())?)
    }
}
