//! Checks the whole network's gradients against finite differences.

use bantam_engine::{Architecture, Biases, DecoderConfig, DecoderRope};

use super::*;
use crate::gradcheck::check;

pub(crate) fn config(architecture: Architecture) -> DecoderConfig {
    DecoderConfig {
        architecture,
        vocabulary: 11,
        hidden: 6,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_size: 4,
        intermediate: 10,
        positions: 64,
        norm_epsilon: 1e-5,
        attention_scale: 0.5,
        attention_softcap: None,
        logit_softcap: None,
        embedding_scale: 1.0,
        is_tied: true,
        rope: DecoderRope { frequencies: vec![1.0, 0.1], magnitude: 1.0 },
        local_rope: None,
        windows: vec![None; 2],
        biases: Biases::default(),
    }
}

fn packed() -> Packed {
    let mut packed = Packed::default();
    packed.push(&[1, 5, 3], None);
    packed.push(&[2, 2, 9, 10], None);
    packed
}

const TARGETS: [Target; 4] = [
    Target { row: 0, token: 5 },
    Target { row: 1, token: 3 },
    Target { row: 4, token: 9 },
    Target { row: 6, token: 0 },
];

#[test]
fn gradients_of_a_fully_trained_decoder_match_finite_differences() {
    for (architecture, recompute) in
        [(Architecture::Llama, false), (Architecture::Llama, true), (Architecture::Qwen3, true)]
    {
        let mut layout = Layout::default();
        let network = DecoderNetwork::whole(config(architecture), recompute, &mut layout).unwrap();
        let mut parameters = vec![0.0; layout.len()];
        network.initialise(&layout, 1, &mut parameters);
        // Larger than the initial weights, so that slopes are not lost in rounding.
        let larger = |number: &f32| if *number == 1.0 { 1.0 } else { number * 20.0 };
        let parameters: Vec<f32> = parameters.iter().map(larger).collect();
        check(&parameters, 3e-3, 1e-2, |parameters, weights| {
            let mut scratch = DecoderNetworkScratch::default();
            let (mut gradient, mut losses) = (vec![0.0; parameters.len()], Vec::new());
            network.forward(parameters, &packed(), &mut scratch);
            let targets = (&TARGETS[..], weights[0]);
            network.token_losses(parameters, targets, &mut losses, &mut gradient, &mut scratch);
            network.backward(parameters, &packed(), &mut gradient, &mut scratch);
            (vec![losses.iter().sum::<f64>() as f32], gradient)
        });
    }
}

#[test]
fn a_loss_is_the_negative_log_probability_of_its_target() {
    let mut layout = Layout::default();
    let network = DecoderNetwork::whole(config(Architecture::Llama), true, &mut layout).unwrap();
    let mut parameters = vec![0.0; layout.len()];
    network.initialise(&layout, 2, &mut parameters);
    let mut scratch = DecoderNetworkScratch::default();
    let logits = network.logits(&parameters, &[2, 2, 9, 10], &mut scratch);
    network.forward(&parameters, &packed(), &mut scratch);
    let (mut losses, mut gradient) = (Vec::new(), vec![0.0; parameters.len()]);
    network.token_losses(&parameters, (&TARGETS, 1.0), &mut losses, &mut gradient, &mut scratch);
    let row = &logits[11..22];
    let total: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
    assert!((losses[2] - (total.ln() - f64::from(row[9]))).abs() < 1e-5, "{losses:?}");
}

#[test]
fn an_unsupported_family_or_feature_is_refused_by_name() {
    let refused =
        |config| DecoderNetwork::whole(config, true, &mut Layout::default()).unwrap_err().to_string();
    assert!(refused(config(Architecture::Gemma3)).starts_with("training does not support gemma3;"));
    let window = DecoderConfig { windows: vec![Some(4), None], ..config(Architecture::Llama) };
    assert!(refused(window).starts_with("training does not support sliding-window attention;"));
}

#[test]
fn recomputing_blocks_gives_the_same_bits_as_keeping_them() {
    let mut layout = Layout::default();
    let mut network = DecoderNetwork::whole(config(Architecture::Qwen3), true, &mut layout).unwrap();
    let mut parameters = vec![0.0; layout.len()];
    network.initialise(&layout, 3, &mut parameters);
    let gradient = |network: &DecoderNetwork| {
        let mut scratch = DecoderNetworkScratch::default();
        let (mut gradient, mut losses) = (vec![0.0; parameters.len()], Vec::new());
        network.forward(&parameters, &packed(), &mut scratch);
        network.token_losses(&parameters, (&TARGETS, 1.0), &mut losses, &mut gradient, &mut scratch);
        network.backward(&parameters, &packed(), &mut gradient, &mut scratch);
        (gradient, scratch.saved.len())
    };
    let (again, one) = gradient(&network);
    network.recompute_beyond(100, 100 * network.kept_bytes_per_token());
    let (kept, all) = gradient(&network);
    assert_eq!((one, all), (1, network.config().layers));
    assert!(again.iter().zip(&kept).all(|(again, kept)| again.to_bits() == kept.to_bits()));
    network.recompute_beyond(100, 100 * network.kept_bytes_per_token() - 1);
    assert_eq!(gradient(&network).1, 1);
}
