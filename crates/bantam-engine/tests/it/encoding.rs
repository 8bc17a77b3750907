//! Vectors of an encoder and the input that it refuses.

use bantam_engine::{EncodeError, Encoder, EncoderScratch, Pooling, Precision, TokenBatch};
use bantam_kernels::Pool;

use crate::support::{assert_batch_invariant, batch, cosine, golden, pools, tiny};

fn refused(encoder: &Encoder, sequences: &[(&[u32], &[u32])]) -> EncodeError {
    let mut batch = TokenBatch::new();
    sequences.iter().for_each(|(first, second)| batch.push_pair(first, second));
    let mut scratch = EncoderScratch::default();
    encoder.embed(&batch, Pooling::Mean, &Pool::new(1), &mut scratch).unwrap_err()
}

#[test]
fn f32_states_match_the_reference() {
    let (encoder, cases) = (tiny(Precision::F32), golden());
    let expected: Vec<f32> = cases.iter().flat_map(|case| case.states.clone()).collect();
    for pool in pools() {
        let mut scratch = EncoderScratch::default();
        let found = encoder.hidden_states(&batch(&cases), &pool, &mut scratch).unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 5e-5, "{} {found} is not {expected}", pool.isa().name());
        }
    }
}

#[test]
fn int8_states_are_close_to_the_reference() {
    let (encoder, cases) = (tiny(Precision::Int8), golden());
    let expected: Vec<f32> = cases.iter().flat_map(|case| case.states.clone()).collect();
    for pool in pools() {
        let mut scratch = EncoderScratch::default();
        let found = encoder.hidden_states(&batch(&cases), &pool, &mut scratch).unwrap();
        let lowest = found.chunks(30).zip(expected.chunks(30)).map(|(a, b)| cosine(a, b)).fold(1.0, f64::min);
        assert!(lowest > 0.99, "{} {lowest}", pool.isa().name());
    }
}

#[test]
fn vectors_do_not_depend_on_the_batch_or_the_number_of_threads() {
    for precision in [Precision::F32, Precision::Int8] {
        assert_batch_invariant(&tiny(precision), &golden());
    }
}

#[test]
fn embeddings_are_pooled_states_of_length_one() {
    let (encoder, cases) = (tiny(Precision::F32), golden());
    let (pool, mut scratch) = (Pool::new(2), EncoderScratch::default());
    for (pooling, case) in [Pooling::Mean, Pooling::Cls].into_iter().zip([&cases[2], &cases[4]]) {
        let mut one = TokenBatch::new();
        one.push_pair(&case.first, &case.second);
        let found = encoder.embed(&one, pooling, &pool, &mut scratch).unwrap();
        let length = found.iter().map(|number| number * number).sum::<f32>();
        assert!((length - 1.0).abs() < 1e-5);
        let mut expected = case.states[..30].to_vec();
        if pooling == Pooling::Mean {
            for state in case.states[30..].chunks(30) {
                expected.iter_mut().zip(state).for_each(|(sum, number)| *sum += number);
            }
        }
        assert!(cosine(found, &expected) > 0.999_999);
    }
}

#[test]
fn an_empty_batch_has_no_vectors() {
    let mut scratch = EncoderScratch::default();
    let encoder = tiny(Precision::Int8);
    let batch = TokenBatch::new();
    assert_eq!(encoder.embed(&batch, Pooling::Mean, &Pool::new(2), &mut scratch), Ok(&[][..]));
    assert_eq!(encoder.hidden_states(&batch, &Pool::new(2), &mut scratch), Ok(&[][..]));
}

#[test]
fn invalid_sequences_are_refused_with_their_index() {
    let encoder = tiny(Precision::Int8);
    let ok: (&[u32], &[u32]) = (&[1, 2], &[]);
    assert_eq!(refused(&encoder, &[ok, (&[], &[])]), EncodeError::EmptySequence { sequence: 1 });
    let long = EncodeError::TooLong { sequence: 0, tokens: 25, tokens_max: 24 };
    assert_eq!(refused(&encoder, &[(&[1; 20], &[1; 5])]), long);
    let unknown = EncodeError::UnknownToken { sequence: 2, token: 40, vocabulary: 40 };
    assert_eq!(refused(&encoder, &[ok, ok, (&[39, 40], &[])]), unknown);
    assert_eq!(unknown.to_string(), "sequence 2 contains token 40, outside the vocabulary of 40");
}
