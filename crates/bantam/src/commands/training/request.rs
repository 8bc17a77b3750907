//! From flags to a request.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_teach::{StudentKind, TaskFacts, TrainingRequest};
use serde_json::Value;

use crate::cli::train::TrainingArgs;
use crate::deploy::{instructions, read_schema};
use crate::failure::Failure;

/// Returns what flags ask for.
pub(crate) fn request(
    kind: StudentKind,
    out: PathBuf,
    settings: &TrainingArgs,
    task: Option<TaskFacts>,
) -> Result<TrainingRequest, Failure> {
    let TrainingArgs { base, features, precision, seed, tune, decoder } = settings;
    Ok(TrainingRequest {
        task,
        base: base.clone(),
        features: features.map(Into::into),
        precision: precision.map(Into::into),
        seed: *seed,
        tune: tune.tune.map(Into::into),
        epochs: tune.epochs,
        batch_rows: tune.batch,
        rate: tune.rate,
        head_rate: tune.head_rate,
        rank: tune.rank,
        dropout: tune.dropout,
        resume: tune.resume,
        checkpoint: tune.checkpoint.clone(),
        checkpoint_every: tune.checkpoint_every,
        log: tune.log.clone(),
        curve: tune.curve.clone(),
        tensorboard: tune.tensorboard.clone(),
        peft: tune.peft.clone(),
        instructions: decoder.instructions.clone(),
        schema: decoder.schema.as_deref().map(read_schema).transpose()?,
        size: decoder.size,
        merges: decoder.merges,
        base_form: decoder.base_form.map(Into::into),
        held_out: decoder.held_out,
        patience: decoder.patience,
        tokens_max: decoder.tokens_max,
        samples: decoder.samples,
        beta: decoder.beta,
        lanes: decoder.lanes,
        ..TrainingRequest::new(kind, out)
    })
}

/// Returns what the configuration says of a task.
pub(crate) fn task_facts(task: &bantam_config::Task) -> Result<TaskFacts, Failure> {
    let labels: Vec<Arc<str>> = task.labels.iter().map(|label| label.as_str().into()).collect();
    Ok(TaskFacts {
        kind: task.kind,
        labels: task.labels.clone(),
        instructions: Some(instructions(task, &labels)),
        schema: task.schema.as_deref().map(read_json).transpose()?,
    })
}

/// Reads a task's schema as it is: what of it can be honoured depends on the kind of student.
fn read_json(path: &Path) -> Result<Value, Failure> {
    let what = || format!("cannot use the schema {}", path.display());
    let text = std::fs::read(path).map_err(|error| Failure::from_error(what(), &error))?;
    serde_json::from_slice(&text).map_err(|error| {
        Failure::from_error(what(), &error)
            .hint("it must be a JSON schema, such as {\"type\": \"object\", ...}")
    })
}
