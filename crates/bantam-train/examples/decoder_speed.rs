//! Trains an adapter on rows of equal length and prints tokens per second and the peak memory: `decoder_speed BASE
//! [STEPS] [TOKENS] [ROWS] [THREADS] [KEPT_MIB]`. Blocks are recomputed if keeping them would take more than KEPT_MIB
//! MiB (default 1024). `bench/train.py` runs it next to trl and peft.
#![allow(clippy::print_stdout, reason = "printing is the example's purpose")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use bantam_kernels::Pool;
use bantam_train::{
    BaseForm, Control, DecoderNetwork, DecoderTuning, Key, Layout, LoraConfig, Objective as _, RunConfig,
    Sft, State, TokenRow, run,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let base = arguments.first().ok_or("name a base")?;
    let number = |index: usize, or: usize| arguments.get(index).map_or(Ok(or), |text| text.parse());
    let (steps, tokens, rows, threads) = (number(1, 4)?, number(2, 256)?, number(3, 4)?, number(4, 2)?);
    let kept_bytes = number(5, 1024)? << 20;
    let lora = LoraConfig { rank: 16, alpha: 32.0, lora_dropout: 0.0, dropout: 0.0, recompute: true };
    let mut layout = Layout::default();
    let tuning = DecoderTuning { lora, form: BaseForm::Wide };
    let mut network = DecoderNetwork::load(Path::new(base), &tuning, &mut layout)?;
    // Here a slice is one row and each thread has one lane.
    network.recompute_beyond(tokens * threads, kept_bytes);
    let vocabulary = network.config().vocabulary as u64;
    let row = |row: usize| TokenRow {
        ids: (0..tokens as u64).map(|index| (Key::new(row as u64).bits(index) % vocabulary) as u32).collect(),
        is_learnt: vec![true; tokens],
    };
    let mut parameters = vec![0.0; layout.len()];
    network.initialise(&layout, 1, &mut parameters);
    let sft = Sft::new(network, layout, (0..rows * steps).map(row).collect());
    let config = RunConfig {
        epochs: 1,
        batch_rows: rows,
        slice_tokens: tokens,
        lanes: threads,
        rate: 2e-4,
        head_rate: 2e-4,
        warmup: 0.1,
        decay: 0.0,
        clip: 1.0,
        seed: 1,
    };
    let mut state = State::new(parameters);
    let (mut last, mut times) = (Instant::now(), Vec::new());
    run(&sft, &config, &Pool::new(threads), &mut state, &mut |_, step| {
        times.push(last.elapsed().as_secs_f64());
        last = Instant::now();
        println!("step {}: loss {:.4}, {:.2} s", step.step, step.loss, times[times.len() - 1]);
        Control::Continue
    })?;
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = memory.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown");
    println!(
        "{} parameters trained, {:.1} tokens/s (median step), {peak}",
        sft.layout().len(),
        (rows * tokens) as f64 / median
    );
    Ok(())
}
