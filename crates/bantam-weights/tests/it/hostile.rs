//! Damaged files of every kind: nothing may panic, and everything in a file that opens must be readable.

use proptest::prelude::*;

use crate::exercise;
use crate::support::{golden, small_gguf, small_safetensors};

/// Small valid files of every supported kind.
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
fn every_truncation_is_refused_or_readable() {
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
fn any_change_of_one_byte_is_refused_or_readable() {
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
    fn changed_bytes_are_refused_or_readable(
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
    fn any_integer_in_a_header_is_refused_or_readable(at: prop::sample::Index, value: u64, shift in 0..64u32) {
        for mut bytes in [small_gguf(), small_safetensors()] {
            let at = at.index(bytes.len() - 8);
            bytes[at..at + 8].copy_from_slice(&(value >> shift).to_le_bytes());
            exercise::weights(&bytes);
        }
    }

    #[test]
    fn random_bytes_are_refused_or_readable(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        exercise_all(&bytes);
    }
}

/// Small tokenizers of several kinds.
fn tokenizers() -> [Vec<u8>; 4] {
    ["qwen2", "llama2", "unigram", "llama3"].map(|name| golden(&format!("tokenizers/{name}.json")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn damaged_tokenizers_are_refused_or_usable(
        file in 0..4usize,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..14usize), 1..6),
    ) {
        let mut bytes = tokenizers()[file].clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = b"0123456789-\\ea"[value];
        }
        exercise::tokenizer_json(&bytes);
    }

    #[test]
    fn tokenizers_with_swapped_parts_are_refused_or_usable(a in 0..4usize, b in 0..4usize, part in 0..6usize) {
        let read = |file: usize| serde_json::from_slice::<serde_json::Value>(&tokenizers()[file]).unwrap();
        let (mut mixed, other) = (read(a), read(b));
        let part = ["normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens", "model"][part];
        mixed[part] = other[part].clone();
        exercise::tokenizer_json(mixed.to_string().as_bytes());
    }
}
