//! From what was learnt to a folder that is served: exported, run against the trainer, judged as it is served, and put
//! in its place in one step.

use std::path::{Path, PathBuf};

use bantam_kernels::Pool;
use bantam_local::{DecoderReport, DecoderStudentFile, StudentAnswerForm, StudentBase, StudentWeights};
use bantam_student::SeenTexts;
use bantam_train::{BaseForm, DecoderExportError, Layout, Taught, replay, write_gguf_adapter, write_whole};
use bantam_weights::Dtype;

use super::super::learn::path_from;
use super::judge::judge;
use super::lesson::{self, Lesson};
use super::rows::{self, Numbered};
use crate::cli::TrainArgs;
use crate::deploy::Memory;
use crate::failure::{Failure, Outcome};

/// How far a logit of the engine may be from the trainer's, as a share of the largest: both compute in 32 bits, in
/// other orders.
const ROUNDING: f32 = 2e-3;
/// Tokens that an answer may be longer than the longest that was learnt.
const ANSWER_ROOM: usize = 16;

/// What the student is made from.
pub(super) struct Made<'m> {
    pub(super) args: &'m TrainArgs,
    pub(super) plan: &'m lesson::Plan,
    pub(super) lesson: &'m Lesson,
    pub(super) taught: &'m Taught,
    /// What answers look like.
    pub(super) answer: &'m StudentAnswerForm,
    pub(super) learnt: &'m [Numbered],
    pub(super) held_out: &'m [Numbered],
    /// Where it will be.
    pub(super) out: &'m Path,
}

/// A folder beside the student's that becomes it. It goes when it is dropped before that.
pub(super) struct Stage {
    folder: PathBuf,
    out: PathBuf,
}

impl Stage {
    /// Makes the folder, where `out` is free or a student.
    pub(super) fn new(out: &Path) -> Result<Self, Failure> {
        let shown = out.display();
        let is_free = match std::fs::read_dir(out) {
            Ok(mut entries) => entries.next().is_none() || out.join("student.json").exists(),
            Err(_) => true,
        };
        let Some(name) = out.file_name().filter(|_| is_free) else {
            return Err(Failure::new(Outcome::Usage, format!("{shown} is a folder that holds no student"))
                .hint("name a place that is free, such as NAME.student"));
        };
        let folder = out.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let failed = |error: std::io::Error| {
            Failure::from_error(format!("cannot write beside {shown}"), &error)
                .hint("name a place that can be written, with --out")
        };
        // What a process of the same number has left behind.
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(failed)?;
        }
        std::fs::create_dir(&folder).map_err(failed)?;
        Ok(Self { folder, out: out.to_owned() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts the folder in the place of what is there: in one step where the system can exchange two names. Elsewhere nothing
    /// is there between two steps; what was is beside it then, and comes back when the second step fails.
    fn place(self) -> std::io::Result<()> {
        let had = self.out.exists();
        let old = if had && exchange(&self.folder, &self.out) {
            self.folder.clone()
        } else {
            let old = self.folder.with_extension("old");
            if had {
                std::fs::rename(&self.out, &old)?;
            }
            if let Err(error) = std::fs::rename(&self.folder, &self.out) {
                if had {
                    std::fs::rename(&old, &self.out)?;
                }
                return Err(error);
            }
            old
        };
        let parent = self.out.parent().filter(|parent| !parent.as_os_str().is_empty());
        // Not every system can open a folder; where it can, the rename is made to last.
        if let Ok(parent) = std::fs::File::open(parent.unwrap_or(Path::new("."))) {
            parent.sync_all()?;
        }
        match (had, old.is_dir()) {
            (false, _) => Ok(()),
            (true, true) => std::fs::remove_dir_all(&old),
            (true, false) => std::fs::remove_file(&old),
        }
    }
}

/// Gives two names to each other's content in one step; false where the system or its disk cannot.
fn exchange(one: &Path, other: &Path) -> bool {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    {
        let _ = (one, other);
        false
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // After it was put in its place there is nothing to remove.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Makes the student and puts it in its place; returns what it says of itself.
///
/// # Errors
/// When it cannot be written, or does not answer as the trainer does. What was there before stays.
pub(super) fn make(made: &Made<'_>, stage: Stage, pool: &Pool) -> Result<DecoderStudentFile, Failure> {
    let memory = Memory::with_threads(pool.threads());
    let mut student = export(made, stage.folder(), &memory)?;
    check(made, &mut student, stage.folder(), pool)?;
    judge(made, &mut student, stage.folder(), &memory)?;
    let failed = |error: std::io::Error| {
        Failure::from_error(format!("cannot write the student {}", made.out.display()), &error)
            .hint("make room on the disk, then train again with --resume: nothing of the training is lost")
    };
    student.write(stage.folder()).map_err(failed)?;
    stage.place().map_err(failed)?;
    Ok(student)
}

fn unwritten(error: &DecoderExportError) -> Failure {
    Failure::from_error("cannot write the student", error).hint(error.hint())
}

/// Writes the weights, and returns the description without what is measured.
fn export(made: &Made<'_>, folder: &Path, memory: &Memory) -> Result<DecoderStudentFile, Failure> {
    let Made { args, plan, lesson, taught, .. } = made;
    let trained = (lesson.objective.network(), &lesson.layout, &*taught.parameters);
    let name = if lesson.tokens.is_some() { "model.gguf" } else { "adapter.gguf" };
    let path = folder.join(name);
    match &lesson.tokens {
        Some(tokens) => write_whole(&path, (tokens, Dtype::F32), trained),
        None => write_gguf_adapter(&path, trained),
    }
    .map_err(|error| unwritten(&error))?;
    let hash = |path: &Path| {
        memory
            .content_hash(path)
            .map_err(|error| Failure::from_error(format!("cannot read {}", path.display()), &error))
    };
    let weights = StudentWeights { file: name.to_owned(), sha256: hash(&path)? };
    let base = match &args.base {
        Some(base) => Some(StudentBase { path: path_from(made.out, base), sha256: hash(base)? }),
        None => None,
    };
    let new = DecoderStudentFile::new(weights, plan.instructions.clone(), made.answer.clone());
    let all: Vec<Numbered> = [made.learnt, made.held_out].concat();
    let questions: Vec<String> = all.iter().map(|row| row.row.question()).collect();
    Ok(DecoderStudentFile {
        base,
        answer_tokens_max: lesson.answer_tokens_max + ANSWER_ROOM,
        row_tokens_max: lesson.row_tokens_max,
        rows_sha256: rows::hash(&all),
        config: lesson::described(lesson, args, args.base.as_ref()),
        report: DecoderReport {
            rows: lesson.objective.rows(),
            parameters: lesson.layout.len(),
            step: taught.step,
            steps: taught.steps,
            held_out_rows: made.held_out.len(),
            held_out_loss: taught.held_out_loss,
            ..DecoderReport::default()
        },
        seen: SeenTexts::of_texts(questions.iter().map(String::as_str)),
        ..new
    })
}

/// Runs what was written through the engine, against the trainer.
fn check(
    made: &Made<'_>,
    student: &mut DecoderStudentFile,
    folder: &Path,
    pool: &Pool,
) -> Result<(), Failure> {
    let (lesson, taught) = (made.lesson, made.taught);
    let (model, adapter) = (student.model_path(folder, None), student.adapter_path(folder));
    // Over 4 bits another model was trained than is served: the changes are run over the one that is.
    let served = match &made.args.base {
        Some(base) if lesson::form_of(made.args) == BaseForm::Nf4 => {
            let mut layout = Layout::default();
            let rank = lesson::rank_of(made.args);
            Some(lesson::load(base, rank, BaseForm::AsStored, &mut layout)?)
        }
        _ => None,
    };
    let network = served.as_ref().unwrap_or(lesson.objective.network());
    let trained = (network, &*taught.parameters);
    let found = replay((&model, adapter.as_deref()), trained, &lesson.probes, ROUNDING, pool);
    let found = found.map_err(|error| {
        Failure::from_error("the student is not what was trained", &error).hint(error.hint())
    })?;
    student.report.replayed_tokens = found.tokens;
    student.report.replay_difference = f64::from(found.difference / found.scale.max(f32::MIN_POSITIVE));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_student_takes_the_place_of_another_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.student");
        for content in ["first", "second"] {
            let stage = Stage::new(&out).unwrap();
            std::fs::write(stage.folder().join("student.json"), content).unwrap();
            stage.place().unwrap();
            assert_eq!(std::fs::read_to_string(out.join("student.json")).unwrap(), content);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        let dropped = Stage::new(&out).unwrap();
        std::fs::write(dropped.folder().join("student.json"), "third").unwrap();
        drop(dropped);
        assert_eq!(std::fs::read_to_string(out.join("student.json")).unwrap(), "second");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_names_are_exchanged_or_nothing_happens() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        for path in [&one, &other] {
            std::fs::create_dir(path).unwrap();
        }
        std::fs::write(one.join("file"), "").unwrap();
        let happened = exchange(&one, &other);
        assert_eq!((one.join("file").exists(), other.join("file").exists()), (!happened, happened));
        assert!(!exchange(&one, &folder.path().join("none")) && one.exists());
    }
}
