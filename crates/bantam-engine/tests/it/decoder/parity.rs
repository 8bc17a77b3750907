//! Logits compared with transformers.

use bantam_engine::DecoderPrecision;

use super::support::{NAMES, distance, divergence, fixture, golden, open, open_f32, run};
use crate::support::pools;

/// Largest difference from the reference's logits, relative to the largest reference logit.
const TOLERANCE: f32 = 1e-4;

#[test]
fn f32_logits_match_the_reference() {
    for name in NAMES {
        let (decoder, golden) = (open_f32(name), golden(name));
        for pool in pools() {
            for golden in &golden {
                let found = run(&decoder, &pool, &[(&golden.tokens, None)], &[64]);
                let distance = distance(&found[0], &golden.logits);
                assert!(distance < TOLERANCE, "{name} {} {distance}", pool.isa().name());
            }
        }
    }
}

#[test]
fn chunked_prefill_and_single_token_steps_match_the_reference() {
    for name in NAMES {
        let (decoder, golden) = (open_f32(name), golden(name));
        let both = [(&*golden[0].tokens, None), (&*golden[1].tokens, None)];
        for pool in pools() {
            for lengths in [&[1][..], &[5, 1], &[3, 4]] {
                let found = run(&decoder, &pool, &both, lengths);
                for (found, golden) in found.iter().zip(&golden) {
                    let distance = distance(found, &golden.logits);
                    assert!(distance < TOLERANCE, "{name} {lengths:?} {} {distance}", pool.isa().name());
                }
            }
        }
    }
}

#[test]
fn quantised_logits_are_close_to_the_reference() {
    for name in NAMES {
        let (decoder, golden) = (open(fixture(name), DecoderPrecision::Quantised), golden(name));
        for pool in pools() {
            let found = run(&decoder, &pool, &[(&golden[0].tokens, None)], &[7, 1]);
            let (divergence, others) = divergence(&found[0], &golden[0].logits, decoder.config().vocabulary);
            // Tiny models with random weights lose the most; the loss of a trained model is tested separately.
            assert!(divergence < 0.01 && others <= 4, "{name} {} {divergence} {others}", pool.isa().name());
        }
    }
}
