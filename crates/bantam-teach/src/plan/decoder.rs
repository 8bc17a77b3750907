//! The plan of a decoder.

use std::path::PathBuf;

use bantam_train::BaseForm;
use bantam_types::TaskKind;
use serde_json::Value;

use super::{CheckpointPlan, PlanError, SEED};
use crate::request::{TaskFacts, TrainingRequest};

/// Parameters of a decoder without a base, where nothing is said.
const SIZE: usize = 1_000_000;
const MERGES: usize = 2_048;
const HELD_OUT: f64 = 0.1;
const TOKENS_MAX: usize = 1_024;
const BETA: f64 = 0.1;
const LANES: usize = 2;
const RANK: usize = 16;

/// How a decoder is trained. What depends on the rows, such as the number of passes, is settled when they are there.
#[derive(Clone, Debug)]
pub(crate) struct DecoderPlan {
    pub(crate) base: Option<PathBuf>,
    pub(crate) base_form: BaseForm,
    pub(crate) rank: usize,
    pub(crate) seed: u64,
    pub(crate) epochs: Option<u32>,
    pub(crate) batch_rows: Option<usize>,
    pub(crate) rate: Option<f64>,
    pub(crate) patience: Option<u32>,
    pub(crate) size: usize,
    pub(crate) merges: usize,
    pub(crate) held_out: f64,
    pub(crate) tokens_max: usize,
    pub(crate) samples: usize,
    pub(crate) beta: f64,
    pub(crate) lanes: usize,
    pub(crate) checkpoint: CheckpointPlan,
    /// The system message, where one is said.
    pub(crate) instructions: Option<String>,
    /// The schema of all answers, where they have one.
    pub(crate) schema: Option<Value>,
    /// The task's labels.
    pub(crate) labels: Vec<String>,
    /// Whether answers are known to be labels.
    pub(crate) classifies: bool,
}

impl DecoderPlan {
    pub(super) fn new(request: &TrainingRequest) -> Result<Self, PlanError> {
        let task = request.task.as_ref();
        let of_task = |get: fn(&TaskFacts) -> Option<&Value>| task.and_then(get).cloned();
        let plan = Self {
            base: request.base.clone(),
            base_form: request.base_form.unwrap_or(BaseForm::Wide),
            rank: request.rank.unwrap_or(RANK),
            seed: request.seed.unwrap_or(SEED),
            epochs: request.epochs,
            batch_rows: request.batch_rows,
            rate: request.rate,
            patience: request.patience,
            size: request.size.unwrap_or(SIZE),
            merges: request.merges.unwrap_or(MERGES),
            held_out: request.held_out.unwrap_or(HELD_OUT),
            tokens_max: request.tokens_max.unwrap_or(TOKENS_MAX),
            samples: request.samples.unwrap_or(0),
            beta: request.beta.unwrap_or(BETA),
            lanes: request.lanes.unwrap_or(LANES),
            checkpoint: CheckpointPlan::new(request)?,
            instructions: request
                .instructions
                .clone()
                .or_else(|| task.and_then(|task| task.instructions.clone())),
            schema: request.schema.clone().or_else(|| of_task(|task| task.schema.as_ref())),
            labels: task.map(|task| task.labels.clone()).unwrap_or_default(),
            classifies: task.is_some_and(|task| task.kind == TaskKind::Classify),
        };
        plan.check()?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), PlanError> {
        let rate = |rate: f64| rate > 0.0 && rate <= 1.0;
        let checks = [
            ((1..=1024).contains(&self.rank), "rank", "from 1 to 1,024"),
            (self.epochs.is_none_or(|epochs| (1..=1000).contains(&epochs)), "epochs", "from 1 to 1,000"),
            (
                self.batch_rows.is_none_or(|rows| (1..=1 << 20).contains(&rows)),
                "batch_rows",
                "from 1 to 1,048,576",
            ),
            (self.rate.is_none_or(rate), "rate", "above 0 and at most 1"),
            (self.patience != Some(0), "patience", "at least 1"),
            ((10_000..=100_000_000).contains(&self.size), "size", "from 10,000 to 100,000,000"),
            (self.merges <= 16_384, "merges", "from 0 to 16,384"),
            ((0.01..=0.5).contains(&self.held_out), "held_out", "from 0.01 to 0.5"),
            ((8..=65_536).contains(&self.tokens_max), "tokens_max", "from 8 to 65,536"),
            (self.samples <= 16, "samples", "from 0 to 16"),
            (self.beta > 0.0 && self.beta <= 10.0, "beta", "above 0 and at most 10"),
            ((1..=256).contains(&self.lanes), "lanes", "from 1 to 256"),
        ];
        if let Some((_, field, range)) = checks.into_iter().find(|(is_fine, _, _)| !is_fine) {
            return Err(PlanError::Range { field, range });
        }
        match &self.schema {
            Some(_) if self.classifies => Err(PlanError::LabelsWithSchema),
            Some(schema) => bantam_local::check_schema(schema)
                .map_err(|error| PlanError::Schema { what: error.to_string() }),
            None => Ok(()),
        }
    }
}
