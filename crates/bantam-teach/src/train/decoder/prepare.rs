//! From rows and a base, or none, to what is trained.

use std::path::Path;

use bantam_kernels::Pool;
use bantam_train::{
    BaseForm, Checkpoint, Control, DecoderNetwork, DecoderTuning, Dpo, Layout, LoraConfig, RowWriter,
    RunConfig, Sft, SmallTokens, TeachConfig, TeachError, TeachEvent, TokenRow, TrainedDecoder, whole_config,
};
use bantam_weights::Tokenizer;
use data_encoding::HEXLOWER;
use jiff::civil::DateTime;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::KnownBase;
use super::exchange::Exchange;
use super::objective::DecoderObjective;
use crate::decoder_rows::{DecoderRow, RowContent, answer_tokens, preference_tokens, written};
use crate::plan::DecoderPlan;
use crate::train::TrainError;

/// Widths and layers of decoders without a base.
const SHAPES: [(usize, usize); 9] =
    [(64, 2), (96, 3), (128, 3), (128, 4), (192, 4), (256, 4), (256, 6), (384, 6), (512, 6)];
/// Rows of their batches; they pass over the rows until there are enough steps.
const BATCH: usize = 8;
/// Their highest rate times their width: what a step does to a sum grows with the numbers that are summed (Yang and others
/// 2022). Of short replies 128 wide ones had 36 % right after four passes at a rate of 1e-3, 99 % at 7e-4, 95 and 100 % (two
/// seeds) at 5e-4; of slots written as JSON 58 % after three passes at 2e-3, 65 % at 1e-3, 62 % at 5e-4. 64 wide ones learn
/// replies alike at 1e-3 and 2e-3.
const RATE_TIMES_WIDTH: f64 = 0.09;
const STEPS_MIN: u32 = 1_000;
const EPOCHS_MIN: u32 = 8;
const EPOCHS_MAX: u32 = 60;
/// Passes without progress, where nothing is said.
const PATIENCE: u32 = 3;
/// Tokens that go through a base together on a thread, and the memory that its blocks may take meanwhile: beyond it they
/// are computed again.
const BASE_SLICE: usize = 256;
const KEPT_BYTES_MAX: usize = 1 << 30;
/// How changes are scaled.
const ALPHA_PER_RANK: f32 = 2.0;
/// Rows held out that are run through the engine, and tokens of each.
const PROBES: usize = 8;
const PROBE_TOKENS: usize = 256;

/// A decoder that is ready to be trained, and what it is trained with.
pub(super) struct Prepared {
    pub(super) objective: DecoderObjective,
    pub(super) layout: Layout,
    pub(super) config: TeachConfig,
    /// The parameters before the first step.
    begin: Vec<f32>,
    /// The tokens of a decoder without a base.
    pub(super) tokens: Option<SmallTokens>,
    /// Some rows held out, to run through the engine.
    pub(super) probes: Vec<Vec<u32>>,
    /// The most tokens of a row.
    pub(super) row_tokens_max: usize,
    /// The most tokens of an answer.
    pub(super) answer_tokens_max: usize,
    /// Everything that steps depend on and settings do not tell.
    facts: Vec<String>,
}

/// A network with its tokenizer and what of it is trained.
struct Parts<'p> {
    tokenizer: &'p Tokenizer,
    network: DecoderNetwork,
    layout: Layout,
}

/// What is the same for every way of preparing.
#[derive(Clone, Copy)]
struct Setting<'s> {
    plan: &'s DecoderPlan,
    exchange: &'s Exchange,
    learnt: &'s [DecoderRow],
    held_out: &'s [DecoderRow],
    now: DateTime,
    pool: &'s Pool,
}

impl Prepared {
    /// Prepares a training over `base`, or from nothing. `scratch` is a folder to write tokens into.
    pub(super) fn new(
        (plan, exchange): (&DecoderPlan, &Exchange),
        (learnt, held_out): (&[DecoderRow], &[DecoderRow]),
        (base, scratch): (Option<&KnownBase<'_>>, &Path),
        (now, pool): (DateTime, &Pool),
    ) -> Result<Self, TrainError> {
        let setting = Setting { plan, exchange, learnt, held_out, now, pool };
        match base {
            Some(base) => setting.over(base.path),
            None => setting.whole(scratch),
        }
    }

    /// Trains it. `base` is the hash of what it stands on.
    pub(super) fn teach(
        &self,
        base: &str,
        checkpoint: Checkpoint<'_>,
        pool: &Pool,
        on_event: &mut dyn FnMut(TeachEvent) -> Control,
    ) -> Result<TrainedDecoder, TeachError> {
        let facts: Vec<&str> = self.facts.iter().map(String::as_str).chain([base]).collect();
        self.objective.teach(&self.config, (self.begin.clone(), &facts), checkpoint, pool, on_event)
    }

    /// Describes the settings for the student's file.
    pub(super) fn described(&self, plan: &DecoderPlan) -> Value {
        let config = self.objective.network().config();
        let mut json = json!({
            "objective": self.objective.name(), "architecture": config.architecture.name(),
            "width": config.hidden, "layers": config.layers, "vocabulary": config.vocabulary,
            "run": self.config.run, "patience": self.config.patience, "held_out": plan.held_out,
        });
        if plan.base.is_some() {
            json["rank"] = plan.rank.into();
            json["alpha"] = (ALPHA_PER_RANK * plan.rank as f32).into();
            json["base_form"] = json!(plan.base_form);
        }
        if matches!(self.objective, DecoderObjective::Preferences(_)) {
            json["beta"] = plan.beta.into();
        }
        json
    }
}

impl Setting<'_> {
    fn has_pairs(self) -> bool {
        self.learnt.iter().any(|row| matches!(row.content, RowContent::Pair { .. }))
    }

    fn whole(self, scratch: &Path) -> Result<Prepared, TrainError> {
        if self.has_pairs() {
            return Err(TrainError::PreferencesWithoutBase);
        }
        let texts: Vec<String> = self.learnt.iter().flat_map(|row| self.texts(&row.content)).collect();
        let tokens = SmallTokens::learn(texts.iter().map(String::as_str), self.plan.merges);
        let path = scratch.join("tokens.gguf");
        tokens.write(&path)?;
        let tokenizer = open_tokenizer(&path)?;
        // Nothing reads them any more.
        let _ = std::fs::remove_file(&path);
        let size = self.plan.size;
        let of = |(width, layers): (usize, usize)| 11 * width * width * layers + tokens.vocabulary() * width;
        let shape = SHAPES.into_iter().min_by_key(|shape| of(*shape).abs_diff(size)).unwrap_or(SHAPES[0]);
        let config = whole_config(tokens.vocabulary(), shape, self.plan.tokens_max);
        let mut layout = Layout::default();
        let network = DecoderNetwork::whole(config, false, &mut layout).map_err(TrainError::Begin)?;
        let steps_a_pass = self.learnt.len().div_ceil(BATCH).max(1) as u32;
        let epochs = STEPS_MIN.div_ceil(steps_a_pass).clamp(EPOCHS_MIN, EPOCHS_MAX);
        let rate = RATE_TIMES_WIDTH / shape.0 as f64;
        let run = RunConfig { epochs, batch_rows: BATCH, rate, decay: 0.05, ..recommended() };
        let prepared = self.of_answers(Parts { tokenizer: &tokenizer, network, layout }, run)?;
        Ok(Prepared { tokens: Some(tokens), ..prepared })
    }

    fn over(self, base: &Path) -> Result<Prepared, TrainError> {
        let tokenizer = open_tokenizer(base)?;
        let mut layout = Layout::default();
        let mut network = load(base, self.plan.rank, self.plan.base_form, &mut layout)?;
        network.recompute_beyond(BASE_SLICE * self.plan.lanes, KEPT_BYTES_MAX);
        let recommended = RunConfig { slice_tokens: BASE_SLICE, ..recommended() };
        let parts = Parts { tokenizer: &tokenizer, network, layout };
        let mut prepared = if self.has_pairs() {
            let run = RunConfig { epochs: 1, batch_rows: 8, rate: 5e-6, ..recommended };
            self.of_preferences(parts, run)?
        } else {
            let run = RunConfig { epochs: 3, batch_rows: 16, rate: 2e-4, ..recommended };
            self.of_answers(parts, run)?
        };
        prepared.facts.push(format!("{:?}", self.plan.base_form));
        Ok(prepared)
    }

    fn of_answers(self, parts: Parts<'_>, run: RunConfig) -> Result<Prepared, TrainError> {
        let writer = self.writer(&parts)?;
        let exchange = (&*self.exchange.instructions, self.exchange.schema());
        let learnt = answer_tokens(self.learnt, &writer, exchange)?;
        let held_out = answer_tokens(self.held_out, &writer, exchange)?;
        let Parts { network, layout, .. } = parts;
        let begin = begin(&network, &layout, self.plan.seed);
        let all = || learnt.iter().chain(&held_out);
        let probes = held_out.iter().take(PROBES).map(probe).collect();
        let (row_tokens_max, answer_tokens_max) = longest(all());
        let facts = vec!["answers".to_owned(), hash(all())];
        let sft = Sft::new(network, layout.clone(), learnt).judged_on(held_out);
        Ok(Prepared {
            objective: DecoderObjective::Answers(sft),
            layout,
            config: self.settle(run),
            begin,
            tokens: None,
            probes,
            row_tokens_max,
            answer_tokens_max,
            facts,
        })
    }

    fn of_preferences(self, parts: Parts<'_>, run: RunConfig) -> Result<Prepared, TrainError> {
        let writer = self.writer(&parts)?;
        let mut pairs = preference_tokens(self.learnt, &writer)?;
        pairs.extend(preference_tokens(self.held_out, &writer)?);
        let Parts { network, layout, .. } = parts;
        let begin = begin(&network, &layout, self.plan.seed);
        let all = || pairs.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]);
        let probes = pairs.iter().rev().take(PROBES).map(|pair| probe(&pair.chosen)).collect();
        let (row_tokens_max, answer_tokens_max) = longest(all());
        let beta = self.plan.beta;
        let facts = vec![format!("preferences {beta}"), hash(all())];
        let dpo =
            Dpo::new(network, layout.clone(), pairs, beta, self.pool).judged_on_last(self.held_out.len());
        Ok(Prepared {
            objective: DecoderObjective::Preferences(dpo),
            layout,
            config: self.settle(run),
            begin,
            tokens: None,
            probes,
            row_tokens_max,
            answer_tokens_max,
            facts,
        })
    }

    fn writer<'t>(self, parts: &Parts<'t>) -> Result<RowWriter<'t>, TrainError> {
        let config = parts.network.config();
        let tokens_max = self.plan.tokens_max.min(config.positions);
        Ok(RowWriter::new(parts.tokenizer, self.now, (tokens_max, config.vocabulary))?)
    }

    /// Puts what the plan says in the place of what is recommended.
    fn settle(self, run: RunConfig) -> TeachConfig {
        let plan = self.plan;
        let rate = plan.rate.unwrap_or(run.rate);
        let run = RunConfig {
            epochs: plan.epochs.unwrap_or(run.epochs),
            batch_rows: plan.batch_rows.unwrap_or(run.batch_rows),
            lanes: plan.lanes,
            rate,
            head_rate: rate,
            seed: plan.seed,
            ..run
        };
        // A decoder from nothing learns to copy all at once, after passes that show little.
        let patience = if plan.base.is_none() { (run.epochs / 4).max(PATIENCE) } else { PATIENCE };
        TeachConfig { run, patience: plan.patience.unwrap_or(patience) }
    }

    /// Returns all that a row says, as the tokenizer will see it.
    fn texts(self, content: &RowContent) -> Vec<String> {
        match content {
            RowContent::Question { text, answer, .. } => vec![
                self.exchange.instructions.clone(),
                text.clone(),
                written(answer, self.exchange.schema()),
                "system user assistant".to_owned(),
            ],
            RowContent::Conversation { messages, .. } => {
                let said = messages.iter().flat_map(|message| [&message["role"], &message["content"]]);
                said.filter_map(Value::as_str).map(str::to_owned).collect()
            }
            RowContent::Pair { .. } => Vec::new(),
        }
    }
}

/// Opens a base with changes of `rank`.
pub(super) fn load(
    base: &Path,
    rank: usize,
    form: BaseForm,
    layout: &mut Layout,
) -> Result<DecoderNetwork, TrainError> {
    let alpha = ALPHA_PER_RANK * rank as f32;
    let lora = LoraConfig { rank, alpha, lora_dropout: 0.0, dropout: 0.0, recompute: true };
    Ok(DecoderNetwork::load(base, &DecoderTuning { lora, form }, layout)?)
}

fn open_tokenizer(path: &Path) -> Result<Tokenizer, TrainError> {
    Tokenizer::open(path).map_err(|source| TrainError::Tokenizer { path: path.to_owned(), source })
}

fn begin(network: &DecoderNetwork, layout: &Layout, seed: u64) -> Vec<f32> {
    let mut parameters = vec![0.0; layout.len()];
    network.initialise(layout, seed, &mut parameters);
    parameters
}

fn probe(row: &TokenRow) -> Vec<u32> {
    row.ids.iter().copied().take(PROBE_TOKENS).collect()
}

fn longest<'r>(rows: impl Iterator<Item = &'r TokenRow>) -> (usize, usize) {
    rows.fold((0, 0), |(row, answer), other| (row.max(other.ids.len()), answer.max(other.terms())))
}

/// Names rows by their tokens, and by which of them are learnt.
fn hash<'r>(rows: impl Iterator<Item = &'r TokenRow>) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        hash.update((row.ids.len() as u64).to_le_bytes());
        row.ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
        hash.update(row.is_learnt.iter().map(|is| u8::from(*is)).collect::<Vec<u8>>());
    }
    HEXLOWER.encode(&hash.finalize())
}

fn recommended() -> RunConfig {
    RunConfig {
        epochs: 3,
        batch_rows: 16,
        slice_tokens: 1024,
        lanes: 2,
        rate: 2e-4,
        head_rate: 2e-4,
        warmup: 0.06,
        decay: 0.0,
        clip: 1.0,
        seed: 7,
    }
}
