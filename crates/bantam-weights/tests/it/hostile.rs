//! Damage of every kind: nothing may panic, and what opens must be readable to the end.

use proptest::prelude::*;

use crate::exercise;
use crate::support::{golden, small_gguf, small_safetensors};

/// Small valid files of every kind that is read.
fn valid() -> [Vec<u8>; 4] {
    [small_gguf(), small_safetensors(), golden("quants.gguf"), golden("tokenizer.json")]
}

fn exercise_all(bytes: &[u8]) {
    exercise::weights(bytes);
    exercise::gguf(bytes);
    exercise::safetensors(bytes);
    exercise::tokenizer_json(bytes);
}

#[test]
fn every_truncation_is_refused_or_read() {
    for file in valid() {
        let step = (file.len() / 2000).max(1);
        for end in (0..file.len()).step_by(step) {
            exercise::weights(&file[..end]);
        }
    }
    let tokenizer = golden("tokenizer.json");
    for end in (0..tokenizer.len()).step_by(37) {
        exercise::tokenizer_json(&tokenizer[..end]);
    }
}

#[test]
fn every_byte_of_the_small_files_may_be_any_other() {
    for file in [small_gguf(), small_safetensors()] {
        for at in 0..file.len() {
            for value in [0, 1, 7, 0x20, 0x22, 0x7f, 0x80, 0xfe, 0xff, file[at] ^ 1, file[at].wrapping_add(8)]
            {
                let mut bytes = file.clone();
                bytes[at] = value;
                exercise::weights(&bytes);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn flipped_bytes_are_refused_or_read(
        file in 0..4usize,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = valid()[file].clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if file == 3 { exercise::tokenizer_json(&bytes) } else { exercise::weights(&bytes) }
    }

    #[test]
    fn integers_in_a_header_may_be_anything(at: prop::sample::Index, value: u64, shift in 0..64u32) {
        for mut bytes in [small_gguf(), small_safetensors()] {
            let at = at.index(bytes.len() - 8);
            bytes[at..at + 8].copy_from_slice(&(value >> shift).to_le_bytes());
            exercise::weights(&bytes);
        }
    }

    #[test]
    fn random_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        exercise_all(&bytes);
    }
}
