//! Compares loss curves and logits with those of trl and peft that `scripts/train_parity.py` recorded.

use std::path::{Path, PathBuf};

use bantam_kernels::Pool;
use bantam_train::{
    BaseForm, Control, DecoderNetwork, DecoderNetworkScratch, DecoderTuning, Dpo, Key, Layout, LoraConfig,
    Nf4, Objective, Preference, RunConfig, Sft, State, TokenRow, run,
};
use bantam_weights::WeightFile;
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    input_ids: Vec<u32>,
    #[serde(default)]
    completion_mask: Vec<u8>,
    #[serde(default)]
    prompt_ids: Vec<u32>,
    #[serde(default)]
    chosen_ids: Vec<u32>,
    #[serde(default)]
    rejected_ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Expected {
    base: String,
    form: BaseForm,
    rank: usize,
    alpha: f32,
    rate: f64,
    beta: f64,
    probe: Vec<u32>,
    /// Read from a separate file that runs share.
    #[serde(skip)]
    rows: Vec<Row>,
    losses: Vec<f64>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity")
}

fn expected(name: &str) -> Expected {
    let read = |name: &str| std::fs::read(fixtures().join(format!("{name}.json"))).unwrap();
    let mut expected: Expected = serde_json::from_slice(&read(name)).unwrap();
    let kind = if name.starts_with("dpo") { "dpo_rows" } else { "sft_rows" };
    expected.rows = serde_json::from_slice(&read(kind)).unwrap();
    expected
}

fn network(expected: &Expected, layout: &mut Layout) -> DecoderNetwork {
    let (rank, alpha) = (expected.rank, expected.alpha);
    let lora = LoraConfig { rank, alpha, lora_dropout: 0.0, dropout: 0.0, recompute: true };
    let tuning = DecoderTuning { lora, form: expected.form };
    DecoderNetwork::load(&fixtures().join(&expected.base), &tuning, layout).unwrap()
}

/// Reorders rows so that the run's first pass, which shuffles them, visits them in the given order.
fn unshuffled<T>(rows: Vec<T>, seed: u64) -> Vec<T> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    Key::new(seed).part(1).part(0).shuffle(&mut order);
    let mut rows: Vec<(usize, T)> = order.into_iter().zip(rows).collect();
    rows.sort_by_key(|(index, _)| *index);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Trains like trl did, and returns the losses and the state after the last step.
fn trained<O: Objective>(
    objective: &O,
    name: &str,
    expected: &Expected,
    threads: usize,
) -> (Vec<f64>, State) {
    let before = WeightFile::open(fixtures().join(format!("{name}.safetensors"))).unwrap();
    let mut state = State::new(vec![0.0; objective.layout().len()]);
    for parameter in objective.layout().parameters() {
        if let Some(view) = before.tensor(&parameter.name) {
            state.parameters[parameter.range.clone()].copy_from_slice(&view.to_f32().unwrap());
        } else {
            assert!(parameter.name.ends_with("lora_B.weight"), "{}", parameter.name);
        }
    }
    let config = RunConfig {
        epochs: 1,
        batch_rows: 4,
        slice_tokens: 24,
        lanes: 2,
        rate: expected.rate,
        head_rate: expected.rate,
        warmup: 0.1,
        decay: 0.0,
        clip: 1.0,
        seed: 9,
    };
    let mut losses = Vec::new();
    run(objective, &config, &Pool::new(threads), &mut state, &mut |_, step| {
        losses.push(step.loss);
        Control::Continue
    })
    .unwrap();
    (losses, state)
}

#[track_caller]
fn check_curve(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(found, expected)| (found / expected - 1.0).abs());
    let (step, largest) =
        differences.enumerate().max_by(|(_, left), (_, right)| left.total_cmp(right)).unwrap();
    assert!(largest < 1e-4, "step {step}: {} instead of {}", found[step], expected[step]);
}

#[track_caller]
fn check_sft(name: &str) {
    let expected = expected(name);
    let rows: Vec<TokenRow> = expected
        .rows
        .iter()
        .map(|row| TokenRow {
            ids: row.input_ids.clone(),
            is_learnt: row.completion_mask.iter().map(|mask| *mask == 1).collect(),
        })
        .collect();
    let mut layout = Layout::default();
    let network = network(&expected, &mut layout);
    let sft = Sft::new(network, layout, unshuffled(rows, 9));
    let (losses, state) = trained(&sft, name, &expected, 2);
    check_curve(&losses, &expected.losses);
    check_probe(sft.network(), name, &expected, &state);
}

#[track_caller]
fn check_probe(network: &DecoderNetwork, name: &str, expected: &Expected, state: &State) {
    let after = WeightFile::open(fixtures().join(format!("{name}.safetensors"))).unwrap();
    let logits = after.tensor("probe_logits").unwrap().to_f32().unwrap();
    let found = network.logits(&state.parameters, &expected.probe, &mut DecoderNetworkScratch::default());
    let largest = found.iter().zip(&logits).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max);
    let scale = logits.iter().fold(0.0_f32, |scale, logit| scale.max(logit.abs()));
    assert!(largest < 2e-3 * scale, "{largest} of {scale}");
}

#[test]
fn fine_tuning_matches_trl_and_peft_step_by_step() {
    for name in ["sft_llama", "sft_qwen2", "sft_qwen3"] {
        check_sft(name);
    }
}

#[test]
fn fine_tuning_over_four_bits_matches_trl_peft_and_bitsandbytes() {
    check_sft("qlora_llama");
}

#[test]
fn preference_training_matches_trl_and_peft_step_by_step() {
    let expected = expected("dpo_llama");
    let row = |row: &Row, answer: &[u32]| {
        let mut tokens = TokenRow::default();
        tokens.push(&row.prompt_ids, false);
        tokens.push(answer, true);
        tokens
    };
    let pairs: Vec<Preference> = expected
        .rows
        .iter()
        .map(|pair| Preference {
            chosen: row(pair, &pair.chosen_ids),
            rejected: row(pair, &pair.rejected_ids),
        })
        .collect();
    let mut layout = Layout::default();
    let network = network(&expected, &mut layout);
    let dpo = Dpo::new(network, layout, unshuffled(pairs, 9), expected.beta, &Pool::new(2));
    let (losses, state) = trained(&dpo, "dpo_llama", &expected, 2);
    check_curve(&losses, &expected.losses);
    check_probe(dpo.network(), "dpo_llama", &expected, &state);
}

#[test]
fn four_bit_weights_match_bitsandbytes() {
    let file = WeightFile::open(fixtures().join("nf4.safetensors")).unwrap();
    let view = |name| file.tensor(name).unwrap();
    let nf4 = Nf4::new(&view("weight").to_f32().unwrap(), 72);
    let (bytes, scales) = nf4.parts();
    assert_eq!(bytes, view("bytes").bytes());
    let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(scales), bits(&view("absmax").to_f32().unwrap()));
    assert_eq!(bits(&nf4.to_f32()), bits(&view("wide").to_f32().unwrap()));
}

#[test]
fn equal_seeds_give_equal_bits_on_any_number_of_threads() {
    let expected = expected("sft_llama");
    let rows: Vec<TokenRow> = expected.rows[..40]
        .iter()
        .map(|row| TokenRow {
            ids: row.input_ids.clone(),
            is_learnt: row.completion_mask.iter().map(|mask| *mask == 1).collect(),
        })
        .collect();
    let run = |threads| {
        let mut layout = Layout::default();
        let network = network(&expected, &mut layout);
        trained(&Sft::new(network, layout, rows.clone()), "sft_llama", &expected, threads)
    };
    assert_eq!(run(1), run(3));
}
