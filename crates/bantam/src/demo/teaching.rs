//! A task's student, trained on recorded answers and certified: the same for every kind.

use std::path::PathBuf;
use std::sync::Arc;

use bantam_extract::Shape;
use bantam_kernels::Pool;
use bantam_local::DecoderStudent;
use bantam_route::Certificate;
use bantam_student::{Bases, Example, TaggerBackend};
use bantam_teach::{
    Candidate, Certification, CertificationReport, EvidenceSource, Purpose, Surroundings, TrainReport,
    Trained, TrainedStudent, TrainingData, TrainingPlan, TrainingRequest, certify, train,
};
use bantam_types::{Cancel, TaskName};
use serde_json::Value;

use super::gateway::DemoGateway;
use super::narrator::Narrator;
use crate::commands::certify::{claim, failed as not_certified};
use crate::commands::flags::failure;
use crate::commands::named_task::{find_task, recorded_in};
use crate::commands::training::{failed as not_trained, refused};
use crate::deploy::{Memory, bases};
use crate::failure::{Failure, Outcome};

/// The chance that bounds hold.
const CONFIDENCE: f64 = 0.95;

/// How the student of a task is taught.
pub(super) struct TeachingPlan {
    /// The task's name.
    pub(super) task: &'static str,
    /// How the student is trained.
    pub(super) request: TrainingRequest,
    /// The task's labels, where it has any.
    pub(super) labels: Vec<String>,
    /// The schema of its answers.
    pub(super) schema: Option<Value>,
    /// Labelled rows to certify on, in place of the recorded answers that are kept back.
    pub(super) evidence: Option<Vec<Example>>,
    /// The most errors among answers.
    pub(super) error_max: f64,
}

/// What teaching a student came to.
pub(super) struct TaughtTask {
    /// Recorded answers that it learnt from.
    pub(super) rows: u64,
    /// What training measured.
    pub(super) report: TrainReport,
    /// What was proved, or why nothing was.
    pub(super) certified: Result<Certificate, String>,
}

impl TaughtTask {
    /// Returns why nothing was certified, if nothing was.
    pub(super) fn uncertified(&self) -> Option<&str> {
        self.certified.as_ref().err().map(String::as_str)
    }
}

/// Trains the student of a task on its recorded answers, certifies it and puts both in their places.
pub(super) async fn teach(
    gateway: &DemoGateway,
    plan: TeachingPlan,
    cancel: &Cancel,
    narrator: Narrator,
) -> Result<TaughtTask, Failure> {
    let reader = gateway.reader().await?;
    let config = gateway.config()?;
    let (name, _) = find_task(&config, plan.task)?;
    let mut answers = recorded_in(&*reader, name, Purpose::Training).await?;
    let kept = recorded_in(&*reader, name, Purpose::Certification).await?;
    let (evidence, truth) = match plan.evidence.clone() {
        Some(labelled) => {
            // Labelled rows certify, so every recorded answer may teach.
            answers.extend(kept);
            (labelled, "labels")
        }
        None => (kept, "simulated-frontier's recorded answers"),
    };
    let (name, path, cancel) = (name.clone(), gateway.student_path(plan.task), cancel.clone());
    // Training would hold up the gateway's own threads.
    let work = tokio::task::spawn_blocking(move || {
        let taught = TeachingWork { plan, name, path, cancel };
        taught.run(answers, (evidence, truth), narrator)
    });
    work.await.map_err(|error| Failure::from_error("training broke", &error))?
}

/// A plan carried out on a thread of its own.
struct TeachingWork {
    plan: TeachingPlan,
    name: TaskName,
    path: PathBuf,
    cancel: Cancel,
}

impl TeachingWork {
    fn run(
        self,
        answers: Vec<Example>,
        (evidence, truth): (Vec<Example>, &str),
        narrator: Narrator,
    ) -> Result<TaughtTask, Failure> {
        let (memory, bases) = (Memory::with_threads(1), bases(0));
        let surroundings = Surroundings {
            bases: &bases,
            content_sha256: &|path| memory.content_hash(path),
            now: jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).datetime(),
        };
        let plan = TrainingPlan::new(self.plan.request.clone()).map_err(|error| refused(&error))?;
        let begun = std::time::Instant::now();
        let trained = train(&plan, TrainingData::Recorded(answers), surroundings, &mut |_| {}, &self.cancel);
        let Trained { student, report } = trained.map_err(|error| not_trained(&error))?;
        let (rows, said) = described(&report);
        narrator.say(&format!("{said} in {:.1} s", begun.elapsed().as_secs_f64()));
        let proved = self.certify((&student, &report), evidence, (truth, &bases))?;
        let certified = match (proved.refuted(), proved.certificate) {
            (None, Some(certificate)) => {
                narrator.say(&format!(
                    "certified on {} rows: from confidence {:.3} on at most {} % errors among answers, 95 % sure",
                    certificate.rows,
                    certificate.threshold,
                    100.0 * certificate.error_max
                ));
                Ok(certificate)
            }
            (refuted, _) => {
                let why = refuted.map(|refuted| refuted.to_string()).unwrap_or_default();
                narrator.say(&why);
                Err(why)
            }
        };
        Ok(TaughtTask { rows, report, certified })
    }

    fn certify(
        &self,
        (student, report): (&TrainedStudent, &TrainReport),
        evidence: Vec<Example>,
        (truth, bases): (&str, &Bases),
    ) -> Result<CertificationReport, Failure> {
        let certificate = self.path.with_extension("certificate.json");
        let claim = claim(self.name.clone(), (self.plan.error_max, CONFIDENCE), truth);
        let prove = |candidate: Candidate<'_>| {
            let evidence = EvidenceSource::Recorded(evidence.clone());
            let certification =
                Certification { claim: claim.clone(), candidate, evidence, out: Some(&certificate) };
            certify(certification, &mut |_| {}, &self.cancel).map_err(|error| not_certified(&error))
        };
        match student {
            TrainedStudent::Classifier(student) => {
                let labels: Vec<Arc<str>> =
                    self.plan.labels.iter().map(|label| label.as_str().into()).collect();
                prove(Candidate::Classifier { student, labels: &labels })
            }
            TrainedStudent::Tagger(tagger) => {
                let shape = match &self.plan.schema {
                    Some(schema) => Shape::new(schema, tagger.slots())
                        .map_err(|error| failure(Outcome::Failed, &error, None))?,
                    None => Shape::free(),
                };
                prove(Candidate::Tagger(&TaggerBackend::new(Arc::new(tagger.clone()), shape)))
            }
            TrainedStudent::Decoder(file) => {
                let pool: Arc<Pool> = bases.pool();
                let asked = DecoderStudent::open(self.plan.task, (file, &self.path), None, &pool)
                    .map_err(|error| Failure::from_error("cannot use the student", &error))?;
                let (_, sha256) = report.student();
                prove(Candidate::LanguageModel {
                    student: &asked,
                    sha256,
                    seen: Some(&file.seen),
                    labels: &[],
                })
            }
            _ => Err(Failure::new(Outcome::Failed, "the demo has no use for this kind of student")),
        }
    }
}

/// Returns the rows of a training, and says what came of it.
fn described(report: &TrainReport) -> (u64, String) {
    match report {
        TrainReport::Classifier(report) => (
            report.rows,
            format!(
                "learnt a student from {} recorded answers (it agrees with {:.1} % of answers that it has not seen)",
                report.rows,
                100.0 * report.held_out_accuracy
            ),
        ),
        TrainReport::Tagger(report) => (
            report.rows,
            format!(
                "learnt a tagger from {} recorded answers (F1 {:.1} % on rows that it has not seen)",
                report.rows,
                100.0 * report.held_out_f1
            ),
        ),
        TrainReport::Decoder(report) => {
            let measured = &report.measured;
            let rows = (measured.rows + measured.held_out_rows) as u64;
            (
                rows,
                format!(
                    "trained a decoder of {} parameters from nothing on {rows} recorded answers ({:.1} % of {} replies that \
                     it has not seen are the same)",
                    measured.parameters,
                    100.0 * measured.exact_match.unwrap_or_default(),
                    measured.asked_rows
                ),
            )
        }
        _ => (0, "learnt a student".to_owned()),
    }
}
