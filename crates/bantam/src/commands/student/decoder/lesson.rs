//! From rows and a base, or none, to what is trained.

use std::path::{Path, PathBuf};

use bantam_kernels::Pool;
use bantam_train::{
    BaseForm, Checkpoint, Control, DecoderNetwork, DecoderTuning, Dpo, Judged as _, Layout, LoraConfig,
    Objective, RowWriter, RunConfig, Sft, SmallTokens, Taught, TeachConfig, TeachError, TeachEvent, TokenRow,
    teach, whole_config,
};
use bantam_weights::Tokenizer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::rows::{self, Numbered, Row};
use crate::cli::TrainArgs;
use crate::cli::decoder::BaseFormArg;
use crate::failure::{Failure, Outcome};

/// Numbers of a decoder without a base, where nothing is said.
const SIZE: usize = 1_000_000;
/// Widths and layers of decoders without a base.
const SHAPES: [(usize, usize); 9] =
    [(64, 2), (96, 3), (128, 3), (128, 4), (192, 4), (256, 4), (256, 6), (384, 6), (512, 6)];
/// Rows of its batches, and the passes over the rows, so many that there are enough steps.
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
/// Rank of changes, where nothing is said, and how they are scaled.
const RANK: usize = 16;
const ALPHA_PER_RANK: f32 = 2.0;

/// What all of a training depends on, beside the rows.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) instructions: String,
    /// The schema of all answers, where they have one.
    pub(super) schema: Option<Value>,
    pub(super) seed: u64,
    pub(super) tokens_max: usize,
}

/// A decoder that is to be trained, and what with.
pub(super) struct Lesson {
    pub(super) objective: Taken,
    pub(super) layout: Layout,
    pub(super) config: TeachConfig,
    /// What the training begins with.
    pub(super) begin: Vec<f32>,
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

/// What is learnt.
pub(super) enum Taken {
    /// Answers.
    Answers(Sft),
    /// Preferences.
    Preferences(Dpo),
}

impl Taken {
    pub(super) fn network(&self) -> &DecoderNetwork {
        match self {
            Self::Answers(sft) => sft.network(),
            Self::Preferences(dpo) => dpo.network(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Answers(sft) => sft.rows(),
            Self::Preferences(dpo) => dpo.rows(),
        }
    }
}

/// Rows held out that are run through the engine, and tokens of each.
const PROBES: usize = 8;
const PROBE_TOKENS: usize = 256;

impl Lesson {
    /// Prepares the training of a decoder from nothing. `scratch` is a folder to write its tokens into.
    pub(super) fn from_nothing(
        args: &TrainArgs,
        plan: &Plan,
        (learnt, held_out): (&[Numbered], &[Numbered]),
        scratch: &Path,
    ) -> Result<Self, Failure> {
        if learnt.iter().any(|row| matches!(row.row, Row::Pair { .. })) {
            return Err(Failure::new(Outcome::Usage, "preferences change a model that answers already")
                .hint("name a base with --base, or train on answers"));
        }
        let texts: Vec<String> = learnt.iter().flat_map(|row| texts(&row.row, plan)).collect();
        let tokens = SmallTokens::learn(texts.iter().map(String::as_str), usize::from(args.decoder.merges));
        let path = scratch.join("tokens.gguf");
        tokens.write(&path).map_err(|error| Failure::from_error("cannot write the tokens", &error))?;
        let tokenizer = open_tokenizer(&path)?;
        // Nothing reads them any more.
        let _ = std::fs::remove_file(&path);
        let size = args.decoder.size.unwrap_or(SIZE);
        let of = |(width, layers): (usize, usize)| 11 * width * width * layers + tokens.vocabulary() * width;
        let shape = SHAPES.into_iter().min_by_key(|shape| of(*shape).abs_diff(size)).unwrap_or(SHAPES[0]);
        let config = whole_config(tokens.vocabulary(), shape, plan.tokens_max);
        let mut layout = Layout::default();
        let network = DecoderNetwork::whole(config, false, &mut layout)
            .map_err(|error| Failure::from_error("cannot begin the decoder", &error).hint(error.hint()))?;
        let steps_a_pass = learnt.len().div_ceil(BATCH).max(1) as u32;
        let epochs = STEPS_MIN.div_ceil(steps_a_pass).clamp(EPOCHS_MIN, EPOCHS_MAX);
        let rate = RATE_TIMES_WIDTH / shape.0 as f64;
        let run = RunConfig { epochs, batch_rows: BATCH, rate, decay: 0.05, ..defaults() };
        let lesson = Self::of_answers(args, plan, (learnt, held_out), (&tokenizer, network, layout), run)?;
        Ok(Self { tokens: Some(tokens), ..lesson })
    }

    /// Prepares the training of changes of the base at `base`.
    pub(super) fn over(
        args: &TrainArgs,
        plan: &Plan,
        (learnt, held_out): (&[Numbered], &[Numbered]),
        base: &Path,
        pool: &Pool,
    ) -> Result<Self, Failure> {
        let tokenizer = open_tokenizer(base)?;
        let form = form_of(args);
        let mut layout = Layout::default();
        let mut network = load(base, rank_of(args), form, &mut layout)?;
        network.recompute_beyond(BASE_SLICE * usize::from(args.decoder.lanes), KEPT_BYTES_MAX);
        let defaults = || RunConfig { slice_tokens: BASE_SLICE, ..defaults() };
        let is_pair = |row: &Numbered| matches!(row.row, Row::Pair { .. });
        let mut lesson = if learnt.iter().any(is_pair) {
            let run = RunConfig { epochs: 1, batch_rows: 8, rate: 5e-6, ..defaults() };
            let parts = (&tokenizer, network, layout);
            Self::of_preferences(args, plan, (learnt, held_out), parts, (run, pool))?
        } else {
            let run = RunConfig { epochs: 3, batch_rows: 16, rate: 2e-4, ..defaults() };
            Self::of_answers(args, plan, (learnt, held_out), (&tokenizer, network, layout), run)?
        };
        lesson.facts.push(format!("{form:?}"));
        Ok(lesson)
    }

    fn of_answers(
        args: &TrainArgs,
        plan: &Plan,
        (learnt, held_out): (&[Numbered], &[Numbered]),
        (tokenizer, network, layout): (&Tokenizer, DecoderNetwork, Layout),
        run: RunConfig,
    ) -> Result<Self, Failure> {
        let writer = writer(tokenizer, plan, &network)?;
        let of_task = (&*plan.instructions, plan.schema.as_ref());
        let learnt = rows::answers(learnt, &writer, of_task)?;
        let held_out = rows::answers(held_out, &writer, of_task)?;
        let begin = begin(&network, &layout, plan.seed);
        let all = || learnt.iter().chain(&held_out);
        let probes = held_out.iter().take(PROBES).map(probe).collect();
        let (row_tokens_max, answer_tokens_max) = longest(all());
        let facts = vec!["answers".to_owned(), hash(all())];
        let objective = Taken::Answers(Sft::new(network, layout.clone(), learnt).judged_on(held_out));
        let config = settle(args, plan, run);
        let tokens = None;
        Ok(Self {
            objective,
            layout,
            config,
            begin,
            tokens,
            probes,
            row_tokens_max,
            answer_tokens_max,
            facts,
        })
    }

    fn of_preferences(
        args: &TrainArgs,
        plan: &Plan,
        (learnt, held_out): (&[Numbered], &[Numbered]),
        (tokenizer, network, layout): (&Tokenizer, DecoderNetwork, Layout),
        (run, pool): (RunConfig, &Pool),
    ) -> Result<Self, Failure> {
        let writer = writer(tokenizer, plan, &network)?;
        let mut pairs = rows::preferences(learnt, &writer)?;
        pairs.extend(rows::preferences(held_out, &writer)?);
        let begin = begin(&network, &layout, plan.seed);
        let all = || pairs.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]);
        let probes = pairs.iter().rev().take(PROBES).map(|pair| probe(&pair.chosen)).collect();
        let (row_tokens_max, answer_tokens_max) = longest(all());
        let facts = vec![format!("preferences {}", args.decoder.beta), hash(all())];
        let dpo = Dpo::new(network, layout.clone(), pairs, args.decoder.beta, pool);
        let objective = Taken::Preferences(dpo.judged_on_last(held_out.len()));
        let config = settle(args, plan, run);
        let tokens = None;
        Ok(Self {
            objective,
            layout,
            config,
            begin,
            tokens,
            probes,
            row_tokens_max,
            answer_tokens_max,
            facts,
        })
    }

    /// Trains it. `base` is the hash of what it stands on.
    pub(super) fn teach(
        &self,
        base: &str,
        checkpoint: Option<Checkpoint<'_>>,
        pool: &Pool,
        on_event: &mut dyn FnMut(TeachEvent) -> Control,
    ) -> Result<Taught, TeachError> {
        let facts: Vec<&str> = self.facts.iter().map(String::as_str).chain([base]).collect();
        let begin = (self.begin.clone(), &*facts);
        match &self.objective {
            Taken::Answers(sft) => teach(sft, &self.config, begin, checkpoint, pool, on_event),
            Taken::Preferences(dpo) => teach(dpo, &self.config, begin, checkpoint, pool, on_event),
        }
    }

    /// Returns the loss on rows held out.
    pub(super) fn held_out_loss(&self, parameters: &[f32], pool: &Pool) -> Option<f64> {
        match &self.objective {
            Taken::Answers(sft) => sft.held_out_loss(parameters, pool),
            Taken::Preferences(dpo) => dpo.held_out_loss(parameters, pool),
        }
    }
}

/// Returns how a base is held while it is trained on.
pub(super) const fn form_of(args: &TrainArgs) -> BaseForm {
    match args.decoder.base_form {
        BaseFormArg::F32 => BaseForm::Wide,
        BaseFormArg::Served => BaseForm::AsStored,
        BaseFormArg::Nf4 => BaseForm::Nf4,
    }
}

pub(super) fn rank_of(args: &TrainArgs) -> usize {
    args.tune.rank.unwrap_or(RANK)
}

/// Opens a base with changes of `rank`.
pub(super) fn load(
    base: &Path,
    rank: usize,
    form: BaseForm,
    layout: &mut Layout,
) -> Result<DecoderNetwork, Failure> {
    let alpha = ALPHA_PER_RANK * rank as f32;
    let lora = LoraConfig { rank, alpha, lora_dropout: 0.0, dropout: 0.0, recompute: true };
    DecoderNetwork::load(base, &DecoderTuning { lora, form }, layout).map_err(|error| {
        let hint = error.kind.hint();
        let outcome = if base.exists() { Outcome::Failed } else { Outcome::ModelMissing };
        Failure::from_error("cannot train on the base", &error).hint(hint).outcome(outcome)
    })
}

fn open_tokenizer(path: &Path) -> Result<Tokenizer, Failure> {
    if !path.exists() {
        return Err(Failure::new(Outcome::ModelMissing, format!("there is no base at {}", path.display()))
            .hint("name a GGUF file, or a folder with config.json, safetensors and tokenizer.json"));
    }
    Tokenizer::open(path).map_err(|error| {
        Failure::from_error(format!("cannot read the tokenizer of {}", path.display()), &error)
            .hint("name a GGUF file, or a folder with config.json, safetensors and tokenizer.json")
    })
}

fn writer<'t>(
    tokenizer: &'t Tokenizer,
    plan: &Plan,
    network: &DecoderNetwork,
) -> Result<RowWriter<'t>, Failure> {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let tokens_max = plan.tokens_max.min(network.config().positions);
    RowWriter::new(tokenizer, now, (tokens_max, network.config().vocabulary))
        .map_err(|error| Failure::from_error("cannot use the base's chat template", &error))
}

/// All that a row says, as the tokenizer will see it.
fn texts(row: &Row, plan: &Plan) -> Vec<String> {
    match row {
        Row::Asked { text, answer, .. } => vec![
            plan.instructions.clone(),
            text.clone(),
            rows::written(answer, plan.schema.as_ref()),
            "system user assistant".to_owned(),
        ],
        Row::Talk { messages, .. } => {
            let said = messages.iter().flat_map(|message| [&message["role"], &message["content"]]);
            said.filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Row::Pair { .. } => Vec::new(),
    }
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
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn defaults() -> RunConfig {
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

/// Puts what the command line says in the place of what is recommended.
fn settle(args: &TrainArgs, plan: &Plan, run: RunConfig) -> TeachConfig {
    let tune = &args.tune;
    let rate = tune.rate.unwrap_or(run.rate);
    let run = RunConfig {
        epochs: tune.epochs.unwrap_or(run.epochs),
        batch_rows: tune.batch.unwrap_or(run.batch_rows),
        lanes: usize::from(args.decoder.lanes),
        rate,
        head_rate: rate,
        seed: plan.seed,
        ..run
    };
    // A decoder from nothing learns to copy all at once, after passes that show little.
    let patience = if args.base.is_none() { (run.epochs / 4).max(PATIENCE) } else { PATIENCE };
    TeachConfig { run, patience: args.decoder.patience.unwrap_or(patience) }
}

/// Describes the settings for the student's file.
pub(super) fn described(lesson: &Lesson, args: &TrainArgs, base: Option<&PathBuf>) -> Value {
    let config = lesson.objective.network().config();
    let mut json = json!({
        "objective": match &lesson.objective {
            Taken::Answers(_) => "answers",
            Taken::Preferences(_) => "preferences",
        },
        "architecture": config.architecture.name(), "width": config.hidden, "layers": config.layers,
        "vocabulary": config.vocabulary, "run": lesson.config.run, "patience": lesson.config.patience,
        "held_out": args.decoder.held_out,
    });
    if base.is_some() {
        json["rank"] = rank_of(args).into();
        json["alpha"] = (ALPHA_PER_RANK * rank_of(args) as f32).into();
        json["base_form"] = json!(form_of(args));
    }
    if matches!(lesson.objective, Taken::Preferences(_)) {
        json["beta"] = args.decoder.beta.into();
    }
    json
}
