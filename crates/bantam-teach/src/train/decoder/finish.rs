//! From what was learnt to a folder that is served: exported, run against the trainer, judged as it is served, and put
//! in its place in one step.

use std::path::Path;
use std::sync::Arc;

use bantam_kernels::Pool;
use bantam_local::{DecoderReport, DecoderStudentFile, StudentBase, StudentWeights};
use bantam_student::SeenTexts;
use bantam_train::{BaseForm, Layout, TrainedDecoder, replay, write_gguf_adapter, write_whole};
use bantam_weights::Dtype;

use super::exchange::Exchange;
use super::judge::judge;
use super::prepare::{Prepared, load};
use super::staging::StagedFolder;
use super::{KnownBase, Surroundings};
use crate::decoder_rows::{DecoderRow, hash};
use crate::plan::DecoderPlan;
use crate::relative::path_from;
use crate::train::TrainError;
use crate::train::course::Course;

/// How far a logit of the engine may be from the trainer's, as a share of the largest: both compute in 32 bits, in
/// other orders.
const ROUNDING: f32 = 2e-3;
/// Tokens that an answer may be longer than the longest that was learnt.
const ANSWER_ROOM: usize = 16;

/// A training whose steps are done, and everything that its student is made from.
#[derive(Clone, Copy)]
pub(super) struct Finished<'f> {
    pub(super) settings: &'f DecoderPlan,
    pub(super) exchange: &'f Exchange,
    pub(super) prepared: &'f Prepared,
    pub(super) taught: &'f TrainedDecoder,
    pub(super) learnt: &'f [DecoderRow],
    pub(super) held_out: &'f [DecoderRow],
    pub(super) base: Option<&'f KnownBase<'f>>,
    /// Where the student will be.
    pub(super) out: &'f Path,
}

impl Finished<'_> {
    /// Makes the student and puts it in its place; returns what its file says, and the SHA-256 that names it.
    ///
    /// # Errors
    /// When it cannot be written, or does not answer as the trainer does. What was there before stays.
    pub(super) fn make(
        self,
        staged: StagedFolder,
        (surroundings, pool): (Surroundings<'_>, &Arc<Pool>),
        course: &mut Course<'_>,
    ) -> Result<(DecoderStudentFile, String), TrainError> {
        let mut student = self.export(staged.folder(), surroundings)?;
        self.check(&mut student, staged.folder(), pool)?;
        judge(self, &mut student, staged.folder(), (pool, course))?;
        let failed = |source| TrainError::Place { path: self.out.to_owned(), source };
        student.write(staged.folder()).map_err(failed)?;
        staged.place().map_err(failed)?;
        let base = student.base.iter().map(|base| base.sha256.clone());
        let files: Vec<String> = base.chain([student.weights.sha256.clone()]).collect();
        let sha256 = student.task("").fingerprint(&files);
        Ok((student, sha256))
    }

    /// Writes the weights, and returns the description without what is measured.
    fn export(self, folder: &Path, surroundings: Surroundings<'_>) -> Result<DecoderStudentFile, TrainError> {
        let Self { prepared, taught, .. } = self;
        let trained = (prepared.objective.network(), &prepared.layout, &*taught.parameters);
        let name = if prepared.tokens.is_some() { "model.gguf" } else { "adapter.gguf" };
        let path = folder.join(name);
        match &prepared.tokens {
            Some(tokens) => write_whole(&path, (tokens, Dtype::F32), trained),
            None => write_gguf_adapter(&path, trained),
        }?;
        let sha256 = (surroundings.content_sha256)(&path);
        let sha256 = sha256.map_err(|source| TrainError::ReadFile { path, source })?;
        let weights = StudentWeights { file: name.to_owned(), sha256 };
        let base = self
            .base
            .map(|base| StudentBase { path: path_from(self.out, base.path), sha256: base.sha256.clone() });
        let Exchange { instructions, form } = self.exchange;
        let new = DecoderStudentFile::new(weights, instructions.clone(), form.clone());
        let all: Vec<DecoderRow> = [self.learnt, self.held_out].concat();
        let questions: Vec<String> = all.iter().map(|row| row.content.question()).collect();
        Ok(DecoderStudentFile {
            base,
            answer_tokens_max: prepared.answer_tokens_max + ANSWER_ROOM,
            row_tokens_max: prepared.row_tokens_max,
            rows_sha256: hash(&all),
            config: prepared.described(self.settings),
            report: DecoderReport {
                rows: prepared.objective.rows(),
                parameters: prepared.layout.len(),
                step: taught.step,
                steps: taught.steps,
                held_out_rows: self.held_out.len(),
                held_out_loss: taught.held_out_loss,
                ..DecoderReport::default()
            },
            seen: SeenTexts::of_texts(questions.iter().map(String::as_str)),
            ..new
        })
    }

    /// Runs what was written through the engine, against the trainer.
    fn check(self, student: &mut DecoderStudentFile, folder: &Path, pool: &Pool) -> Result<(), TrainError> {
        let Self { settings, prepared, taught, .. } = self;
        let adapter = student.adapter_path(folder);
        // The staged folder lies where the student will, so its base is found from here as from there.
        let model = student.model_path(folder, None);
        // Over 4 bits another model was trained than is served: the changes are run over the one that is.
        let served = match self.base {
            Some(base) if settings.base_form == BaseForm::Nf4 => {
                let mut layout = Layout::default();
                Some(load(base.path, settings.rank, BaseForm::AsStored, &mut layout)?)
            }
            _ => None,
        };
        let network = served.as_ref().unwrap_or(prepared.objective.network());
        let trained = (network, &*taught.parameters);
        let found = replay((&model, adapter.as_deref()), trained, &prepared.probes, ROUNDING, pool)?;
        student.report.replayed_tokens = found.tokens;
        student.report.replay_difference = f64::from(found.difference / found.scale.max(f32::MIN_POSITIVE));
        Ok(())
    }
}
