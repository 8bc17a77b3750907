//! From a request to a plan: which way of training it means, with every setting checked.

mod decoder;
mod fields;

use std::path::{Path, PathBuf};

use bantam_student::tagger::LinearTaggerConfig;
use bantam_student::{BasePrecision, EncoderConfig, Features, LinearConfig};
use bantam_train::TuneConfig;
use bantam_types::TaskKind;

use crate::request::{BaseTuning, StudentKind, TaskFacts, TrainingRequest};
pub(crate) use decoder::DecoderPlan;
use fields::check_fields;

/// Where nothing is said.
const SEED: u64 = 7;
const OUT_OF_SCOPE_LABEL: &str = "oos";
const CHECKPOINT_EVERY: u64 = 100;
/// Low-rank changes are scaled by this times their rank.
const ALPHA_PER_RANK: f32 = 2.0;

/// A training that can begin: its settings make sense, and each of them means something to the student.
#[derive(Clone, Debug)]
pub struct TrainingPlan {
    pub(crate) kind: StudentKind,
    pub(crate) out: PathBuf,
    pub(crate) task: Option<TaskFacts>,
    pub(crate) method: Method,
    pub(crate) records: RecordPaths,
}

/// The ways of training.
#[derive(Clone, Debug)]
pub(crate) enum Method {
    /// A classifier over n-grams.
    Linear(LinearConfig),
    /// A classifier over an encoder that is left as it is.
    Encoder { base: PathBuf, precision: BasePrecision, config: EncoderConfig },
    /// A classifier over an encoder that is changed for it.
    TunedEncoder(TuningPlan),
    /// A tagger over words.
    LinearTagger(LinearTaggerConfig),
    /// A tagger over an encoder that is changed for it.
    EncoderTagger(TuningPlan),
    /// A decoder.
    Decoder(Box<DecoderPlan>),
}

/// How an encoder is changed.
#[derive(Clone, Debug)]
pub(crate) struct TuningPlan {
    pub(crate) base: PathBuf,
    pub(crate) config: TuneConfig,
    pub(crate) checkpoint: CheckpointPlan,
    pub(crate) peft: Option<PathBuf>,
}

/// Where and when the state of a training is kept.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointPlan {
    pub(crate) path: PathBuf,
    pub(crate) resume: bool,
    pub(crate) every: u64,
}

/// Where a training is written down while it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordPaths {
    pub(crate) log: Option<PathBuf>,
    pub(crate) curve: Option<PathBuf>,
    pub(crate) tensorboard: Option<PathBuf>,
    /// Whether the log goes on behind what an interrupted training wrote.
    pub(crate) resume: bool,
}

/// Why a request cannot be planned: which field, and what is wrong with it. Fields are named as [`TrainingRequest`] has them.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A field that this training would have to ignore.
    #[error("`{field}` does nothing for {student}")]
    Unused {
        /// The field.
        field: &'static str,
        /// What is trained, in words.
        student: &'static str,
    },
    /// A field that this training cannot do without.
    #[error("{student} needs `{field}`")]
    Missing {
        /// The field.
        field: &'static str,
        /// What is trained, in words.
        student: &'static str,
    },
    /// A number out of its range.
    #[error("`{field}` must be {range}")]
    Range {
        /// The field.
        field: &'static str,
        /// What it must be.
        range: &'static str,
    },
    /// A base for a student that has none.
    #[error("a linear student has no base")]
    LinearOnBase,
    /// A base that is to be left as it is, for a student that always changes it.
    #[error("{student} is trained itself, so `tune` cannot be `none`")]
    AlwaysTuned {
        /// What is trained, in words.
        student: &'static str,
    },
    /// A tagger for a task that does not extract.
    #[error("the task's kind is `{kind}`, and a tagger extracts")]
    OtherTask {
        /// The task's kind.
        kind: TaskKind,
    },
    /// A schema for answers that are labels.
    #[error("a schema cannot be used with answers that are labels")]
    LabelsWithSchema,
    /// A schema that answers cannot be kept to.
    #[error("the schema cannot be used: {what}")]
    Schema {
        /// What is wrong with it.
        what: String,
    },
    /// A place for the student that is not the name of a file or folder.
    #[error("`out` is not a file name: {}", .out.display())]
    Out {
        /// The place.
        out: PathBuf,
    },
}

impl PlanError {
    /// Returns the field that is wrong.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Unused { field, .. } | Self::Missing { field, .. } | Self::Range { field, .. } => field,
            Self::LinearOnBase => "base",
            Self::AlwaysTuned { .. } => "tune",
            Self::OtherTask { .. } => "kind",
            Self::LabelsWithSchema | Self::Schema { .. } => "schema",
            Self::Out { .. } => "out",
        }
    }

    /// Returns what to do about it. Fields stand in backticks.
    pub fn hint(&self) -> String {
        match self {
            Self::Unused { field, student } if *student == fields::LINEAR_TAGGER => {
                format!("give an encoder's folder as `base`, or leave `{field}` out")
            }
            Self::Unused { field, .. } => format!("leave `{field}` out"),
            Self::Missing { field: "base", .. } => "give an encoder's folder as `base`".to_owned(),
            Self::Missing { field, .. } => format!("give `{field}`"),
            Self::Range { .. } => "leave it out for the recommended value".to_owned(),
            Self::LinearOnBase => "set `kind` to encoder, or leave `base` out".to_owned(),
            Self::AlwaysTuned { .. } => "leave `tune` out".to_owned(),
            Self::OtherTask { .. } => "leave `kind` out, or change the task's kind".to_owned(),
            Self::LabelsWithSchema => "leave `schema` out".to_owned(),
            Self::Schema { .. } => {
                "leave out what cannot be honoured; validators of your own may check it".to_owned()
            }
            Self::Out { .. } => "give a file or folder that can be written, such as NAME.student".to_owned(),
        }
    }
}

impl TrainingPlan {
    /// Returns the plan of a request.
    ///
    /// # Errors
    /// [`PlanError`] for the first field that is wrong: out of range, missing, or without a meaning for this student.
    pub fn new(request: TrainingRequest) -> Result<Self, PlanError> {
        if request.out.file_name().is_none() {
            return Err(PlanError::Out { out: request.out });
        }
        check_fields(&request)?;
        let records = RecordPaths {
            log: request.log.clone(),
            curve: request.curve.clone(),
            tensorboard: request.tensorboard.clone(),
            resume: request.resume,
        };
        let method = Method::of(&request)?;
        Ok(Self { kind: request.kind, out: request.out, task: request.task, method, records })
    }

    /// Returns the kind of student.
    pub const fn kind(&self) -> StudentKind {
        self.kind
    }

    /// Returns where the student will be written.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Returns every place that is written to at the end, which must be known to be writable before hours are spent.
    pub(crate) fn destinations(&self) -> Vec<(&'static str, &Path)> {
        let mut places: Vec<(&'static str, &Path)> = vec![("out", &self.out)];
        let (checkpoint, peft) = match &self.method {
            Method::TunedEncoder(plan) | Method::EncoderTagger(plan) => {
                (Some(&plan.checkpoint), plan.peft.as_deref())
            }
            Method::Decoder(plan) => (Some(&plan.checkpoint), None),
            _ => (None, None),
        };
        places.extend(checkpoint.map(|checkpoint| ("checkpoint", checkpoint.path.as_path())));
        let RecordPaths { log, curve, .. } = &self.records;
        places.extend(log.as_deref().map(|path| ("log", path)));
        places.extend(curve.as_deref().map(|path| ("curve", path)));
        places.extend(peft.map(|path| ("peft", path)));
        places
    }
}

impl Method {
    fn of(request: &TrainingRequest) -> Result<Self, PlanError> {
        let seed = request.seed.unwrap_or(SEED);
        let linear = |recommended: LinearConfig| LinearConfig {
            out_of_scope_label: request
                .out_of_scope_label
                .clone()
                .unwrap_or_else(|| OUT_OF_SCOPE_LABEL.to_owned()),
            seed,
            ..recommended
        };
        let features = request.features.unwrap_or(Features::Joined);
        let precision = request.precision.unwrap_or(BasePrecision::Int8);
        let encoder = || {
            let recommended = EncoderConfig::recommended(features);
            EncoderConfig { linear: linear(recommended.linear.clone()), ..recommended }
        };
        match (request.kind, &request.base) {
            (StudentKind::Linear, _) => Ok(Self::Linear(linear(LinearConfig::recommended()))),
            (StudentKind::Encoder, Some(base)) if request.tune != Some(BaseTuning::Lora) => {
                Ok(Self::Encoder { base: base.clone(), precision, config: encoder() })
            }
            (StudentKind::Encoder, Some(base)) => {
                let config = TuneConfig { student: encoder(), ..TuneConfig::for_classifiers(precision) };
                Ok(Self::TunedEncoder(TuningPlan::new(request, base, config)?))
            }
            (StudentKind::Encoder, None) => {
                Err(PlanError::Missing { field: "base", student: fields::ENCODER })
            }
            (StudentKind::Tagger, None) => {
                let recommended = LinearTaggerConfig::recommended();
                let passes = request.epochs.unwrap_or(recommended.passes);
                if !(1..=1000).contains(&passes) {
                    return Err(PlanError::Range { field: "epochs", range: "from 1 to 1,000" });
                }
                Ok(Self::LinearTagger(LinearTaggerConfig { seed, passes, ..recommended }))
            }
            (StudentKind::Tagger, Some(base)) => {
                let mut config = TuneConfig::for_taggers(precision);
                config.student.features = features;
                Ok(Self::EncoderTagger(TuningPlan::new(request, base, config)?))
            }
            (StudentKind::Decoder, _) => Ok(Self::Decoder(Box::new(DecoderPlan::new(request)?))),
        }
    }
}

impl TuningPlan {
    /// Puts what is said in the place of what is recommended.
    fn new(request: &TrainingRequest, base: &Path, mut config: TuneConfig) -> Result<Self, PlanError> {
        let run = &mut config.run;
        run.seed = request.seed.unwrap_or(SEED);
        run.epochs = request.epochs.unwrap_or(run.epochs);
        run.batch_rows = request.batch_rows.unwrap_or(run.batch_rows);
        run.rate = request.rate.unwrap_or(run.rate);
        run.head_rate = request.head_rate.unwrap_or(run.head_rate);
        if let Some(rank) = request.rank {
            config.lora.rank = rank;
            config.lora.alpha = ALPHA_PER_RANK * rank as f32;
        }
        config.lora.dropout = request.dropout.unwrap_or(config.lora.dropout);
        if let Some((field, range)) = config.fault() {
            return Err(PlanError::Range { field, range });
        }
        let checkpoint = CheckpointPlan::new(request)?;
        Ok(Self { base: base.to_owned(), config, checkpoint, peft: request.peft.clone() })
    }
}

impl CheckpointPlan {
    fn new(request: &TrainingRequest) -> Result<Self, PlanError> {
        let every = request.checkpoint_every.unwrap_or(CHECKPOINT_EVERY);
        if every == 0 {
            return Err(PlanError::Range { field: "checkpoint_every", range: "at least 1" });
        }
        let beside = || {
            let mut path = request.out.as_os_str().to_owned();
            path.push(".checkpoint");
            PathBuf::from(path)
        };
        let path = request.checkpoint.clone().unwrap_or_else(beside);
        Ok(Self { path, resume: request.resume, every })
    }

    /// Returns the checkpoint as the trainer takes it.
    pub(crate) fn for_trainer(&self) -> bantam_train::Checkpoint<'_> {
        bantam_train::Checkpoint { path: &self.path, resume: self.resume, every: self.every }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: StudentKind, change: impl FnOnce(&mut TrainingRequest)) -> TrainingRequest {
        let mut request = TrainingRequest::new(kind, "desk.student");
        change(&mut request);
        request
    }

    #[track_caller]
    fn refused(kind: StudentKind, change: impl FnOnce(&mut TrainingRequest), field: &str, message: &str) {
        let error = TrainingPlan::new(request(kind, change)).unwrap_err();
        assert_eq!((error.field(), error.to_string().as_str()), (field, message));
        assert!(!error.hint().is_empty() && !error.hint().contains("--"), "{}", error.hint());
    }

    #[test]
    fn every_kind_has_a_plan_with_nothing_but_its_base() {
        let plan = |kind, base: Option<&str>| {
            TrainingPlan::new(request(kind, |request| request.base = base.map(PathBuf::from))).unwrap().method
        };
        assert!(matches!(plan(StudentKind::Linear, None), Method::Linear(_)));
        assert!(matches!(plan(StudentKind::Encoder, Some("b")), Method::Encoder { .. }));
        assert!(matches!(plan(StudentKind::Tagger, None), Method::LinearTagger(_)));
        assert!(matches!(plan(StudentKind::Tagger, Some("b")), Method::EncoderTagger(_)));
        assert!(matches!(plan(StudentKind::Decoder, None), Method::Decoder(_)));
        assert!(matches!(plan(StudentKind::Decoder, Some("b")), Method::Decoder(_)));
    }

    #[test]
    fn what_is_said_takes_the_place_of_what_is_recommended() {
        let plan = TrainingPlan::new(request(StudentKind::Encoder, |request| {
            request.base = Some("base".into());
            request.tune = Some(BaseTuning::Lora);
            (request.rank, request.epochs, request.seed) = (Some(4), Some(3), Some(11));
            request.out_of_scope_label = Some("none".to_owned());
        }));
        let Method::TunedEncoder(plan) = plan.unwrap().method else { unreachable!("it is tuned") };
        let TuneConfig { lora, run, student, .. } = &plan.config;
        assert_eq!((lora.rank, lora.alpha, run.epochs, run.seed), (4, 8.0, 3, 11));
        assert_eq!((&*student.linear.out_of_scope_label, student.linear.seed), ("none", 11));
        assert_eq!(plan.checkpoint.path, Path::new("desk.student.checkpoint"));
    }

    #[test]
    fn a_field_that_would_be_ignored_is_refused_by_name() {
        refused(
            StudentKind::Tagger,
            |request| request.rank = Some(4),
            "rank",
            "`rank` does nothing for a tagger without a base",
        );
        refused(
            StudentKind::Linear,
            |request| request.resume = true,
            "resume",
            "`resume` does nothing for a linear student",
        );
        refused(
            StudentKind::Encoder,
            |request| (request.base, request.peft) = (Some("b".into()), Some("p".into())),
            "peft",
            "`peft` does nothing for an encoder student whose encoder is left as it is",
        );
        refused(
            StudentKind::Decoder,
            |request| (request.base, request.size) = (Some("b".into()), Some(300_000)),
            "size",
            "`size` does nothing for a decoder over a base",
        );
        refused(
            StudentKind::Linear,
            |request| request.base = Some("b".into()),
            "base",
            "a linear student has no base",
        );
    }

    #[test]
    fn what_is_missing_or_out_of_range_is_refused_by_name() {
        refused(StudentKind::Encoder, |_| {}, "base", "an encoder student needs `base`");
        let over_base = |request: &mut TrainingRequest| request.base = Some("b".into());
        refused(
            StudentKind::Tagger,
            |request| {
                over_base(request);
                request.rank = Some(0);
            },
            "rank",
            "`rank` must be from 1 to 1,024",
        );
        refused(
            StudentKind::Decoder,
            |request| request.held_out = Some(0.9),
            "held_out",
            "`held_out` must be from 0.01 to 0.5",
        );
        refused(
            StudentKind::Decoder,
            |request| request.checkpoint_every = Some(0),
            "checkpoint_every",
            "`checkpoint_every` must be at least 1",
        );
        refused(
            StudentKind::Decoder,
            |request| request.tune = Some(BaseTuning::None),
            "tune",
            "a decoder is trained itself, so `tune` cannot be `none`",
        );
        let facts =
            TaskFacts { kind: TaskKind::Classify, labels: Vec::new(), instructions: None, schema: None };
        refused(
            StudentKind::Tagger,
            |request| request.task = Some(facts),
            "kind",
            "the task's kind is `classify`, and a tagger extracts",
        );
        let error = TrainingPlan::new(TrainingRequest::new(StudentKind::Linear, "..")).unwrap_err();
        assert_eq!(error.field(), "out");
    }
}
