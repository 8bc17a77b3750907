//! A published model of 260 thousand parameters, if its file is available.

#![expect(
    clippy::disallowed_methods,
    reason = "a test can learn where the data is only from the environment"
)]

use std::path::PathBuf;

use bantam_engine::{Decoder, DecoderPrecision, DecoderScratch, LogitRows, Span};
use bantam_kernels::Pool;

use super::support::{divergence, open, run};

/// Prompts and the 48 tokens with which transformers 5.23 continues them, always choosing the likeliest
/// (`scripts/decoder_fixtures.py --stories`).
pub(crate) const CONTINUATIONS: [(&[u32], [u32; 48]); 2] = [
    (
        &[1, 403, 407, 261, 378],
        [
            432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396, 267, 337, 410, 408, 419,
            292, 411, 322, 265, 282, 295, 433, 426, 385, 328, 432, 358, 394, 261, 370, 432, 352, 266, 268,
            388, 426, 338, 391, 266, 267, 337, 335, 312, 432,
        ],
    ),
    (
        &[1, 365, 373, 505, 300, 420, 290],
        [
            421, 419, 263, 415, 414, 397, 396, 322, 261, 370, 272, 414, 276, 356, 426, 410, 459, 363, 328,
            432, 383, 286, 261, 370, 432, 262, 415, 271, 422, 268, 421, 425, 411, 430, 285, 420, 422, 426,
            291, 268, 421, 425, 411, 430, 285, 420, 422, 286,
        ],
    ),
];

pub(crate) fn model() -> Option<PathBuf> {
    let shared = std::env::var_os("BANTAM_SHARED_DATA").map(PathBuf::from);
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let path = shared.unwrap_or_else(beside).join("models/stories260Ktok512.gguf");
    if !path.exists() {
        println!("SKIPPED: {} is missing; set BANTAM_SHARED_DATA to the folder of models/", path.display());
        return None;
    }
    Some(path)
}

/// Continues several texts together, token by token.
fn continuations(decoder: &Decoder, pool: &Pool) -> Vec<Vec<u32>> {
    let (mut kv, mut scratch) = (decoder.new_kv(8), DecoderScratch::default());
    let mut texts: Vec<Vec<u32>> = CONTINUATIONS.iter().map(|(prompt, _)| prompt.to_vec()).collect();
    let mut done = [0; 2];
    for _ in 0..48 {
        let spans: Vec<Span<'_>> = (0..2)
            .map(|index| Span {
                tokens: &texts[index][done[index]..],
                start: done[index],
                pages: [&[0, 1, 2, 3], &[4, 5, 6, 7]][index],
                adapter: None,
                logits: LogitRows::Last,
            })
            .collect();
        let logits = decoder.forward(pool, &mut kv, &spans, &mut scratch).unwrap();
        for (index, row) in logits.rows().enumerate() {
            let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
            done[index] = texts[index].len();
            texts[index].push(best as u32);
        }
    }
    texts
}

#[test]
fn f32_stories_match_the_reference() {
    let Some(path) = model() else { return };
    let decoder = open(path, DecoderPrecision::F32);
    for pool in crate::support::pools() {
        let texts = continuations(&decoder, &pool);
        for (text, (prompt, expected)) in texts.iter().zip(&CONTINUATIONS) {
            assert_eq!(text[prompt.len()..], *expected, "{}", pool.isa().name());
        }
    }
}

#[test]
fn quantised_stories_are_close_to_f32() {
    let Some(path) = model() else { return };
    let text: Vec<u32> =
        CONTINUATIONS.iter().flat_map(|(prompt, rest)| [prompt, &rest[..]].concat()).collect();
    let [exact, quantised] = [DecoderPrecision::F32, DecoderPrecision::Quantised]
        .map(|precision| run(&open(&path, precision), &Pool::new(2), &[(&text, None)], &[128]));
    let (divergence, others) = divergence(&quantised[0], &exact[0], 512);
    assert!(divergence < 2e-3 && others <= 1, "{divergence} nats, {others} of {}", text.len());
}
