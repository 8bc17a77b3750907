//! Compares steps with those of torch and PEFT that `scripts/train_fixtures.py` recorded.

use std::path::Path;

use bantam_engine::EncoderConfig;
use bantam_kernels::Pool;
use bantam_train::ops::PoolKind;
use bantam_train::{
    Classifier, Control, EncoderNetwork, Layout, LoraConfig, Objective, RunConfig, State, run,
};
use bantam_weights::WeightFile;

const STEPS: u32 = 40;

fn settings(lanes: usize, slice_tokens: usize) -> RunConfig {
    RunConfig {
        epochs: STEPS,
        batch_rows: 12,
        slice_tokens,
        lanes,
        rate: 5e-3,
        head_rate: 2e-2,
        warmup: 0.1,
        decay: 0.01,
        clip: 1.0,
        seed: 1,
    }
}

#[track_caller]
fn check(base: &str, lanes: usize, slice_tokens: usize, recompute: bool) {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(base);
    let recorded = WeightFile::open(folder.join("run.safetensors")).unwrap();
    let numbers = |name: &str| recorded.tensor(name).unwrap().to_f32().unwrap();
    let config = EncoderConfig::from_json(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let lora = LoraConfig { rank: 4, alpha: 8.0, lora_dropout: 0.0, dropout: 0.0, recompute };
    let mut layout = Layout::default();
    let weights = WeightFile::open(folder.join("model.safetensors")).unwrap();
    let network = EncoderNetwork::load(config, weights, lora, &mut layout).unwrap();
    let (ids, ends, classes) = (numbers("ids"), numbers("ends"), numbers("classes"));
    let mut start = 0;
    let rows: Vec<(Vec<u32>, u32)> = ends
        .iter()
        .zip(&classes)
        .map(|(end, class)| {
            let row = ids[start..*end as usize].iter().map(|id| *id as u32).collect();
            start = *end as usize;
            (row, *class as u32)
        })
        .collect();
    let classifier = Classifier::new(network, layout, PoolKind::Mean, (rows, 12, 5), (0.1, 0.0));
    let mut parameters = vec![0.0; classifier.layout().len()];
    for parameter in classifier.layout().parameters() {
        parameters[parameter.range.clone()].copy_from_slice(&numbers(&parameter.name));
    }
    let mut state = State::new(parameters);
    let mut found = Vec::new();
    run(&classifier, &settings(lanes, slice_tokens), &Pool::new(2), &mut state, &mut |_, step| {
        found.push((step.loss, step.gradient));
        Control::Continue
    })
    .unwrap();
    let (losses, lengths) = (numbers("losses"), numbers("lengths"));
    assert_eq!(found.len(), losses.len());
    assert!(losses[39] < losses[0] * 0.5, "the recorded run converged");
    for (step, ((loss, length), (torch_loss, torch_length))) in
        found.iter().zip(losses.iter().zip(&lengths)).enumerate()
    {
        let near = |found: f64, expected: f32, tolerance: f64| {
            (found - f64::from(expected)).abs() <= tolerance * f64::from(expected).abs()
        };
        assert!(near(*loss, *torch_loss, 1e-4), "step {step}: loss {loss}, torch {torch_loss}");
        assert!(
            near(*length, *torch_length, 2e-3),
            "step {step}: gradient norm {length}, torch {torch_length}"
        );
    }
}

#[test]
fn losses_match_torch_step_by_step() {
    check("tiny_bert", 1, 1000, false);
}

#[test]
fn losses_match_torch_with_split_batches_and_recomputed_blocks() {
    check("tiny_bert", 3, 1, true);
    check("tiny_bert", 2, 20, false);
}

#[test]
fn losses_of_a_modernbert_match_torch() {
    check("tiny_modernbert", 1, 1000, false);
    check("tiny_modernbert", 2, 20, true);
}
