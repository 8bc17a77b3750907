//! Learning a student of any kind from rows.

use std::path::{Component, Path, PathBuf};

use bantam_student::encoder::{self, EncoderProgress};
use bantam_student::linear::{self, Progress, TrainingReport};
use bantam_student::{BasePrecision, Bases, EncoderConfig, Example, Features, LinearConfig, Student};

use crate::cli::{EncoderPrecision, StudentFeatures, StudentKind, TrainArgs};
use crate::failure::{Failure, Outcome};

/// What kind of student is wanted.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// Over n-grams.
    Linear,
    /// Over the vectors of a base.
    Encoder {
        /// The base's folder.
        base: PathBuf,
        /// What it looks at.
        features: Features,
        /// What the base computes in.
        precision: BasePrecision,
    },
}

/// Returns what the command line wants the base to compute in.
pub(super) fn precision(args: &TrainArgs) -> BasePrecision {
    match args.precision {
        EncoderPrecision::Int8 => BasePrecision::Int8,
        EncoderPrecision::F32 => BasePrecision::F32,
    }
}

/// Returns what the command line wants an encoder student to look at.
pub(super) fn features(args: &TrainArgs) -> Features {
    match args.features {
        StudentFeatures::Joined => Features::Joined,
        StudentFeatures::Dense => Features::Dense,
    }
}

impl Wanted {
    /// Reads what the command line asks for.
    pub(crate) fn of(args: &TrainArgs) -> Result<Self, Failure> {
        let base = match (args.kind, &args.base) {
            (StudentKind::Linear, None) => return Ok(Self::Linear),
            (StudentKind::Linear, Some(_)) => {
                return Err(Failure::new(Outcome::Usage, "a linear student stands on no base")
                    .hint("say --kind encoder, or leave --base out"));
            }
            (StudentKind::Encoder | StudentKind::Tagger, None) => {
                return Err(Failure::new(Outcome::Usage, "a student of this kind needs a base")
                    .hint("name its folder with --base FOLDER"));
            }
            (StudentKind::Encoder | StudentKind::Tagger, Some(base)) => base.clone(),
            (StudentKind::Decoder, _) => {
                return Err(Failure::new(Outcome::Usage, "a decoder is not learnt this way")
                    .hint("say --kind linear or --kind encoder"));
            }
        };
        let (features, precision) = (features(args), precision(args));
        Ok(Self::Encoder { base, features, precision })
    }

    /// Returns what people call it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Linear => "n-grams",
            Self::Encoder { features: Features::Joined, .. } => "an encoder's vectors and n-grams",
            Self::Encoder { features: Features::Dense, .. } => "an encoder's vectors",
        }
    }
}

/// What is settled for every kind.
pub(crate) struct Lesson<'l> {
    pub(crate) rows: &'l [Example],
    pub(crate) out_of_scope_label: &'l str,
    pub(crate) seed: u64,
    /// Where the student will be saved.
    pub(crate) out: &'l Path,
}

/// Learns a student.
pub(crate) fn learn(
    lesson: &Lesson<'_>,
    wanted: &Wanted,
    bases: &Bases,
    on_progress: &mut dyn FnMut(EncoderProgress),
) -> Result<(Student, TrainingReport), Failure> {
    let settings = |recommended: LinearConfig| LinearConfig {
        out_of_scope_label: lesson.out_of_scope_label.to_owned(),
        seed: lesson.seed,
        ..recommended
    };
    let trained = match wanted {
        Wanted::Linear => {
            let config = settings(LinearConfig::recommended());
            let fitting = &mut |progress: Progress| on_progress(EncoderProgress::Fitting(progress));
            linear::train_with_progress(lesson.rows, &config, fitting)
                .map(|(student, report)| (Student::Linear(student), report))
        }
        Wanted::Encoder { base: folder, features, precision } => {
            let base = bases.open(folder, *precision).map_err(|error| {
                let hint = error.kind.hint();
                Failure::from_error("cannot use the base", &error).hint(hint).outcome(Outcome::ModelMissing)
            })?;
            let recommended = EncoderConfig::recommended(*features);
            let config = EncoderConfig { linear: settings(recommended.linear.clone()), ..recommended };
            let path = path_from(lesson.out, folder);
            encoder::train(lesson.rows, &base, path, &config, on_progress)
                .map(|(student, report)| (Student::Encoder(student), report))
        }
    };
    trained.map_err(|error| Failure::from_error("cannot train the student", &error).hint(error.hint()))
}

/// Returns the way to `folder` from the folder of `file`, so that both may be moved together.
pub(super) fn path_from(file: &Path, folder: &Path) -> PathBuf {
    let whole = |path: &Path| {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        absolute.canonicalize().unwrap_or(absolute)
    };
    let from = whole(file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    let to = whole(folder);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    if shared <= 1 {
        // Nothing in common but the root: such a pair is not moved together.
        return to;
    }
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(to.components().skip(shared)).collect();
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_base_is_seen_from_the_student_s_folder() {
        let place = tempfile::tempdir().unwrap();
        let base = place.path().join("models/minilm");
        std::fs::create_dir_all(&base).unwrap();
        std::fs::create_dir_all(place.path().join("students")).unwrap();
        let check = |file: &str, expected: &str| {
            let way = path_from(&place.path().join(file), &base);
            assert_eq!(way, Path::new(expected));
            let from = place.path().join(file);
            assert!(from.parent().unwrap().join(way).is_dir());
        };
        check("intent.student", "models/minilm");
        check("students/intent.student", "../models/minilm");
        check("models/minilm/intent.student", ".");
    }
}
