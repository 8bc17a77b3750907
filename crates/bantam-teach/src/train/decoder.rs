//! Decoders: small language models, over a base or from nothing.

mod exchange;
mod finish;
mod judge;
mod objective;
mod prepare;
mod staging;

use std::path::Path;
use std::sync::Arc;

use bantam_kernels::Pool;
use bantam_train::{Control, TeachEvent, forget};

use super::course::Course;
use super::{Surroundings, TrainError, Trained, TrainedStudent};
use crate::decoder_rows::{DecoderRow, split};
use crate::event::{HeldOutFigures, TrainingEvent};
use crate::plan::{DecoderPlan, TrainingPlan};
use crate::report::TrainReport;
use exchange::Exchange;
use finish::Finished;
use prepare::Prepared;
use staging::StagedFolder;

/// A base that a decoder is trained over, named once for all that follows.
#[derive(Clone, Debug)]
struct KnownBase<'b> {
    path: &'b Path,
    sha256: String,
}

/// Trains a decoder and puts its folder in its place.
pub(super) fn train(
    (plan, settings): (&TrainingPlan, &DecoderPlan),
    rows: Vec<DecoderRow>,
    surroundings: Surroundings<'_>,
    course: &mut Course<'_>,
) -> Result<Trained, TrainError> {
    let exchange = Exchange::of(settings, &rows)?;
    let (learnt, held_out) = split(rows, settings.held_out, settings.seed)?;
    let pool = Arc::new(Pool::new(surroundings.bases.threads().min(settings.lanes).max(1)));
    let staged = StagedFolder::new(&plan.out)?;
    let base = settings.base.as_deref().map(|path| known(path, surroundings)).transpose()?;
    let prepared = Prepared::new(
        (settings, &exchange),
        (&learnt, &held_out),
        (base.as_ref(), staged.folder()),
        (surroundings.now, &pool),
    )?;
    let sha256 = base.as_ref().map_or("", |base| base.sha256.as_str());
    let checkpoint = &settings.checkpoint;
    let mut taught =
        prepared.teach(sha256, checkpoint.for_trainer(), &pool, &mut |event| told(course, event))?;
    let speed = (course.seconds(), course.tokens_per_second());
    taught.held_out_loss = prepared.objective.held_out_loss(&taught.parameters, &pool);
    let finished = Finished {
        settings,
        exchange: &exchange,
        prepared: &prepared,
        taught: &taught,
        learnt: &learnt,
        held_out: &held_out,
        base: base.as_ref(),
        out: &plan.out,
    };
    let (student, sha256) = finished.make(staged, (surroundings, &pool), course)?;
    forget(&checkpoint.path);
    let report = TrainReport::of_decoder(&plan.out, sha256, speed, &student);
    Ok(Trained { student: TrainedStudent::Decoder(Box::new(student)), report })
}

/// Reads all of a base once, to name it.
fn known<'b>(path: &'b Path, surroundings: Surroundings<'_>) -> Result<KnownBase<'b>, TrainError> {
    if !path.exists() {
        return Err(TrainError::NoBase { path: path.to_owned() });
    }
    let sha256 = (surroundings.content_sha256)(path);
    let sha256 = sha256.map_err(|source| TrainError::ReadFile { path: path.to_owned(), source })?;
    Ok(KnownBase { path, sha256 })
}

fn told(course: &mut Course<'_>, event: TeachEvent) -> Control {
    match event {
        TeachEvent::Step(step) => course.step(None, &step),
        TeachEvent::HeldOut { step, epoch, loss } => course.held_out(HeldOutFigures {
            step: Some(step),
            epoch,
            loss: Some(loss),
            ..HeldOutFigures::default()
        }),
        TeachEvent::Resumed(step) => {
            course.tell(TrainingEvent::Resumed { run: None, step });
            course.control()
        }
        _ => course.control(),
    }
}
