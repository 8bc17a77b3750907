//! all-MiniLM-L6-v2 compared with the reference implementation, if the model is available.

#![expect(
    clippy::disallowed_methods,
    reason = "a test can learn where the model is only from the environment"
)]

use std::path::PathBuf;

use bantam_engine::{Encoder, EncoderScratch, Pooling, Precision, TokenBatch};
use bantam_kernels::Pool;
use bantam_weights::{WeightFile, WordPiece};

use crate::support::{cosine, data};

/// Returns the folder in `BANTAM_MINILM` (with config.json, model.safetensors and tokenizer.json).
fn model() -> Option<PathBuf> {
    let folder = std::env::var_os("BANTAM_MINILM").map(PathBuf::from);
    if folder.is_none() {
        println!("SKIPPED: set BANTAM_MINILM to the folder of all-MiniLM-L6-v2 to run this test");
    }
    folder
}

fn batch(folder: &std::path::Path, texts: &[String]) -> TokenBatch {
    let tokenizer = std::fs::read(folder.join("tokenizer.json")).unwrap();
    let tokenizer = WordPiece::from_tokenizer_json(&tokenizer).unwrap();
    let (mut batch, mut ids) = (TokenBatch::new(), Vec::new());
    for text in texts {
        tokenizer.encode(text, 256, &mut ids);
        batch.push(&ids);
    }
    batch
}

/// Embeds all texts by mean pooling.
fn embeddings(encoder: &Encoder, batch: &TokenBatch) -> Vec<f32> {
    let mut scratch = EncoderScratch::default();
    encoder.embed(batch, Pooling::Mean, &Pool::new(2), &mut scratch).unwrap().to_vec()
}

fn lowest(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.chunks(384).zip(expected.chunks(384)).map(|(a, b)| cosine(a, b)).fold(1.0, f64::min)
}

#[test]
fn minilm_vectors_of_texts_match_the_reference() {
    let Some(folder) = model() else { return };
    let texts: Vec<String> =
        serde_json::from_slice(&std::fs::read(data("minilm/texts.json")).unwrap()).unwrap();
    let file = WeightFile::open(data("minilm/embeddings.safetensors")).unwrap();
    let expected = file.tensor("embeddings").unwrap().to_f32().unwrap();
    let batch = batch(&folder, &texts);
    for (precision, least) in [(Precision::F32, 0.999_99), (Precision::Int8, 0.99)] {
        let encoder = Encoder::load(&folder, precision).unwrap();
        let lowest = lowest(&embeddings(&encoder, &batch), &expected);
        assert!(lowest >= least, "{precision:?} {lowest}");
    }
}

#[test]
fn minilm_int8_vectors_of_a_thousand_sentences_are_close_to_f32() {
    let Some(folder) = model() else { return };
    let words =
        ["refund", "the", "Card", "why", "seventeen", "quickly", "naïve", "?", "overheating", "日本", "x9"];
    let mut state = 1_u64;
    let mut below = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % most
    };
    let texts: Vec<String> = (0..1000)
        .map(|_| {
            let count = 1 + below(40);
            (0..count).map(|_| words[below(words.len())]).collect::<Vec<_>>().join(" ")
        })
        .collect();
    let batch = batch(&folder, &texts);
    let [f32, int8] = [Precision::F32, Precision::Int8]
        .map(|precision| embeddings(&Encoder::load(&folder, precision).unwrap(), &batch));
    let lowest = lowest(&int8, &f32);
    assert!(lowest >= 0.99, "{lowest}");
}
