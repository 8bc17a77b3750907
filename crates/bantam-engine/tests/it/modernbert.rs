//! ModernBERT: its vectors and what is refused. One model is saved in the library's current format, without biases;
//! the other in its older format, as a classifier with biases.

use bantam_engine::{
    EncodeError, Encoder, EncoderArchitecture, EncoderScratch, Pooling, Precision, TokenBatch,
};
use bantam_kernels::Pool;

use crate::support::{assert_batch_invariant, batch, changed, cosine, data, golden_of, pools, refused};

const MODELS: [&str; 2] = ["tiny-modernbert", "tiny-modernbert-biased"];

/// Calls `check` with the found and expected states of all cases, once for each instruction set and thread count.
fn states(model: &str, precision: Precision, check: impl Fn(&[f32], &[f32], usize, &str)) {
    let (encoder, cases) = (Encoder::load(data(model), precision).unwrap(), golden_of(model));
    let expected: Vec<f32> = cases.iter().flat_map(|case| case.states.clone()).collect();
    for pool in pools() {
        let mut scratch = EncoderScratch::default();
        let found = encoder.hidden_states(&batch(&cases), &pool, &mut scratch).unwrap();
        assert_eq!(found.len(), expected.len());
        check(found, &expected, encoder.config().hidden, &format!("{model} {}", pool.isa().name()));
    }
}

#[test]
fn f32_states_match_the_reference() {
    for model in MODELS {
        states(model, Precision::F32, |found, expected, _, case| {
            let largest = expected.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
            let worst = found.iter().zip(expected).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
            assert!(worst < 1e-5 * largest, "{case}: error {worst}, largest state {largest}");
        });
    }
}

#[test]
fn int8_states_are_close_to_the_reference() {
    for model in MODELS {
        states(model, Precision::Int8, |found, expected, width, case| {
            let rows = found.chunks(width).zip(expected.chunks(width));
            let lowest = rows.map(|(a, b)| cosine(a, b)).fold(1.0, f64::min);
            assert!(lowest > 0.99, "{case} {lowest}");
        });
    }
}

#[test]
fn vectors_do_not_depend_on_the_batch_or_the_number_of_threads() {
    for model in MODELS {
        for precision in [Precision::F32, Precision::Int8] {
            assert_batch_invariant(&Encoder::load(data(model), precision).unwrap(), &golden_of(model));
        }
    }
}

#[test]
fn current_and_older_configurations_are_read() {
    let [new, old] = MODELS.map(|model| {
        let encoder = Encoder::load(data(model), Precision::F32).unwrap();
        match &encoder.config().architecture {
            EncoderArchitecture::ModernBert(modern) => modern.clone(),
            EncoderArchitecture::Bert => panic!("expected ModernBERT"),
        }
    });
    assert_eq!(new.is_global, [true, false, false, true, false]);
    assert_eq!((new.global_base, new.local_base, new.local_reach), (160_000.0, 10_000.0, 4));
    assert_eq!(old.is_global, [true, false, true, false]);
    assert_eq!((old.global_base, old.local_base, old.local_reach), (2000.0, 50.0, 4));
    assert!(old.norm_bias && old.attention_bias && old.mlp_bias);
}

#[test]
fn a_pair_is_encoded_as_one_text_and_long_texts_are_refused() {
    let encoder = Encoder::load(data(MODELS[0]), Precision::Int8).unwrap();
    let pool = Pool::new(1);
    let embed = |first: &[u32], second: &[u32]| {
        let (mut batch, mut scratch) = (TokenBatch::new(), EncoderScratch::default());
        batch.push_pair(first, second);
        encoder.embed(&batch, Pooling::Cls, &pool, &mut scratch).map(<[f32]>::to_vec)
    };
    assert_eq!(embed(&[1, 5, 2], &[7, 2]), embed(&[1, 5, 2, 7, 2], &[]));
    assert!(embed(&[3; 48], &[]).is_ok());
    let long = EncodeError::TooLong { sequence: 0, tokens: 49, tokens_max: 48 };
    assert_eq!(embed(&[3; 49], &[]), Err(long));
    let unknown = EncodeError::UnknownToken { sequence: 0, token: 60, vocabulary: 60 };
    assert_eq!(embed(&[60], &[]), Err(unknown));
}

#[test]
fn tensors_that_do_not_match_the_configuration_are_refused_by_name() {
    let missing = [
        ("\"vocab_size\": 60", "\"vocab_size\": 61", "tok_embeddings.weight"),
        ("\"intermediate_size\": 21", "\"intermediate_size\": 20", "layers.0.mlp.Wi.weight"),
        ("\"num_hidden_layers\": 4", "\"num_hidden_layers\": 5", "model.layers.4.attn_norm.weight"),
    ];
    for (from, to, tensor) in missing {
        let error = refused(changed(MODELS[1], &[(from, to)]).path());
        assert!(error.starts_with("check a tensor: ") && error.contains(tensor), "{error}");
    }
    let left_over = [
        ("\"num_hidden_layers\": 4", "\"num_hidden_layers\": 3", "model.layers.3.attn.Wo.bias"),
        ("\"mlp_bias\": true", "\"mlp_bias\": false", "model.layers.0.mlp.Wi.bias"),
        ("\"norm_bias\": true", "\"norm_bias\": false", "model.embeddings.norm.bias"),
    ];
    for (from, to, tensor) in left_over {
        let error = refused(changed(MODELS[1], &[(from, to)]).path());
        assert_eq!(error, format!("tensor {tensor} does not belong to a model of this configuration"));
    }
    let error =
        refused(changed(MODELS[0], &[("\"attention_bias\": false", "\"attention_bias\": true")]).path());
    assert!(error.contains("layers.0.attn.Wqkv.bias"), "{error}");
}

#[test]
fn tensors_with_nan_or_infinity_are_refused_by_name() {
    let folder = changed(MODELS[0], &[]);
    let path = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&0x7c00_u16.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = refused(folder.path());
    assert!(error.ends_with("contains NaN or infinity"), "{error}");
}
