//! Logits against those of transformers.

use bantam_engine::DecoderPrecision;

use super::support::{NAMES, distance, divergence, fixture, golden, open, open_f32, run};
use crate::support::pools;

/// Largest difference from the reference's logits, relative to the largest of them.
const TOLERANCE: f32 = 1e-4;

#[test]
fn logits_in_f32_are_those_of_the_reference() {
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
fn prefill_in_parts_and_decoding_token_by_token_give_the_same() {
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
fn logits_in_8_bits_are_near_those_of_the_reference() {
    for name in NAMES {
        let (decoder, golden) = (open(fixture(name), DecoderPrecision::Quantised), golden(name));
        for pool in pools() {
            let found = run(&decoder, &pool, &[(&golden[0].tokens, None)], &[7, 1]);
            let (divergence, others) = divergence(&found[0], &golden[0].logits, decoder.config().vocabulary);
            // Models this small, with weights this wild, suffer most; what it is for a trained one is tested apart.
            assert!(divergence < 0.01 && others <= 4, "{name} {} {divergence} {others}", pool.isa().name());
        }
    }
}
