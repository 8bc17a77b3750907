//! Steps: the logits they return, independence from the batch, and invalid input.

use bantam_engine::{Decoder, DecoderPrecision, DecoderScratch, ForwardError, LogitRows, Span};
use bantam_kernels::Pool;

use super::support::{NAMES, fixture, golden, open, open_f32, paged, run};
use crate::support::pools;

fn span(tokens: &[u32], logits: LogitRows) -> Span<'_> {
    Span { tokens, start: 0, pages: &[0, 1], adapter: None, logits }
}

#[test]
fn logits_of_a_sequence_do_not_depend_on_the_batch_or_the_number_of_threads() {
    for name in NAMES {
        let golden = golden(name);
        let sequences: Vec<(&[u32], Option<&_>)> = (0..20)
            .map(|index| (&golden[0].tokens[index..], None))
            .chain([(&*golden[1].tokens, None)])
            .collect();
        for precision in [DecoderPrecision::F32, DecoderPrecision::Quantised] {
            let decoder = open(fixture(name), precision);
            for pool in pools() {
                let together = run(&decoder, &pool, &sequences, &[13, 1]);
                let one = Pool::with_isa(1, pool.isa());
                for (sequence, together) in sequences.iter().zip(&together) {
                    let alone = run(&decoder, &one, &[*sequence], &[64]);
                    assert!(alone[0] == *together, "{name} {precision:?} {}", pool.isa().name());
                }
            }
        }
    }
}

#[test]
fn a_prefill_of_several_slices_equals_one_in_several_steps() {
    let decoder = open_f32("gemma3");
    let tokens: Vec<u32> = (0..250).map(|token| token * 7 % 64).collect();
    let sequences = [(&*tokens, None), (&tokens[3..], None), (&tokens[50..], None)];
    let pool = Pool::new(2);
    let (whole, parts) = (run(&decoder, &pool, &sequences, &[250]), run(&decoder, &pool, &sequences, &[31]));
    assert!(whole == parts);
}

fn check_wanted(decoder: &Decoder, tokens: &[u32], case: &str) {
    let pool = Pool::new(2);
    let all = &run(decoder, &pool, &[(tokens, None)], &[64])[0];
    let row = |index: usize| &all[index * 64..(index + 1) * 64];
    let mut scratch = DecoderScratch::default();
    for (wanted, expected) in [
        (LogitRows::Last, 19..20),
        (LogitRows::From(17), 17..20),
        (LogitRows::From(99), 0..0),
        (LogitRows::None, 0..0),
        (LogitRows::All, 0..20),
    ] {
        // The second sequence is shorter; its logits follow those of the first.
        let mut kv = decoder.new_kv(4);
        let second = Span { pages: &[2, 3], ..span(&tokens[..9], LogitRows::From(4)) };
        let spans = [span(tokens, wanted), second];
        let mut logits = decoder.forward(&pool, &mut kv, &spans, &mut scratch).unwrap();
        assert_eq!((logits.len(), logits.is_empty()), (expected.len() + 5, false));
        for (index, expected) in expected.chain(4..9).enumerate() {
            assert_eq!(logits.row(index).unwrap(), row(expected), "{case} {wanted:?}");
        }
        assert_eq!(logits.row(25), None);
        logits.rows_mut().for_each(|row| row.fill(0.0));
        assert!(logits.rows().flatten().all(|logit| *logit == 0.0));
        // Tokens without requested logits are still in the KV cache for later steps.
        let next = Span { start: 20, ..span(&[5], LogitRows::Last) };
        let found = decoder.forward(&pool, &mut kv, &[next], &mut scratch).unwrap().row(0).unwrap().to_vec();
        let longer = [tokens, &[5]].concat();
        let whole = &run(decoder, &pool, &[(&longer, None)], &[64])[0];
        assert_eq!(found, whole[20 * 64..], "{case} {wanted:?}");
    }
}

#[test]
fn logits_are_returned_for_the_requested_tokens_only() {
    for name in NAMES {
        for precision in [DecoderPrecision::F32, DecoderPrecision::Quantised] {
            check_wanted(&open(fixture(name), precision), &golden(name)[0].tokens, name);
        }
    }
}

#[test]
fn a_step_that_requests_no_logits_returns_none() {
    let (decoder, mut scratch) = (open_f32("llama"), DecoderScratch::default());
    let (pool, mut kv) = (Pool::new(2), decoder.new_kv(2));
    assert!(decoder.forward(&pool, &mut kv, &[], &mut scratch).unwrap().is_empty());
    let none = [span(&[1, 2, 3], LogitRows::None)];
    assert!(decoder.forward(&pool, &mut kv, &none, &mut scratch).unwrap().is_empty());
}

fn refused(decoder: &Decoder, spans: &[Span<'_>]) -> ForwardError {
    let mut kv = decoder.new_kv(2);
    decoder.forward(&Pool::new(1), &mut kv, spans, &mut DecoderScratch::default()).unwrap_err()
}

#[test]
fn invalid_spans_are_refused_with_their_index() {
    let decoder = open_f32("llama");
    let ok = span(&[1, 2], LogitRows::Last);
    assert_eq!(refused(&decoder, &[ok, span(&[], LogitRows::Last)]), ForwardError::EmptySpan { span: 1 });
    let unknown = ForwardError::UnknownToken { span: 0, token: 64, vocabulary: 64 };
    assert_eq!(refused(&decoder, &[span(&[63, 64], LogitRows::Last), ok]), unknown);
    assert_eq!(unknown.to_string(), "span 0 contains token 64, outside the vocabulary of 64");
    let late = Span { start: 255, ..ok };
    assert_eq!(refused(&decoder, &[late]), ForwardError::TooLong { span: 0, end: 257, positions: 256 });
    let overflowing = Span { start: usize::MAX, ..ok };
    let end = usize::MAX;
    assert_eq!(refused(&decoder, &[overflowing]), ForwardError::TooLong { span: 0, end, positions: 256 });
    let beyond = Span { start: 31, ..ok };
    assert_eq!(refused(&decoder, &[beyond]), ForwardError::TooFewPages { span: 0, end: 33, pages: 2 });
    let unknown = Span { pages: &[0, 2], ..ok };
    assert_eq!(refused(&decoder, &[unknown]), ForwardError::UnknownPage { span: 0, page: 2, pages: 2 });
}

#[test]
fn a_kv_store_of_another_model_is_refused() {
    let (decoder, other) = (open_f32("llama"), open_f32("gemma3"));
    let (mut kv, _) = paged(&other, &[(&[1, 2], None)]);
    let mut scratch = DecoderScratch::default();
    let found = decoder.forward(&Pool::new(1), &mut kv, &[span(&[1], LogitRows::Last)], &mut scratch);
    assert_eq!(found.unwrap_err(), ForwardError::OtherStore);
}
