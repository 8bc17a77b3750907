//! Adapters: their effect on logits, several in one step, and what is refused.

use std::path::Path;

use bantam_engine::{Adapter, Decoder, DecoderPrecision, DecoderScratch, ForwardError, LogitRows, Span};
use bantam_kernels::Pool;

use super::support::{distance, divergence, expected, fixture, golden, open, open_f32, paged, run};
use crate::support::pools;

#[test]
fn adapters_and_models_of_both_formats_match_the_reference() {
    let tokens = &golden("llama")[0].tokens;
    for model in ["llama", "llama/model.gguf"] {
        let decoder = open_f32(model);
        for (adapter, logits) in [
            ("llama/adapter-few", "logits.few"),
            ("llama/adapter-few.gguf", "logits.few"),
            ("llama/adapter-every", "logits.every"),
        ] {
            let opened = Adapter::open(fixture(adapter), &decoder).unwrap();
            let found = run(&decoder, &Pool::new(2), &[(tokens, Some(&opened))], &[6, 1]);
            let distance = distance(&found[0], &expected("llama", logits));
            assert!(distance < 1e-4, "{model} {adapter} {distance}");
        }
    }
}

#[test]
fn adapters_on_a_quantised_model_are_close_to_the_reference() {
    let decoder = open(fixture("llama"), DecoderPrecision::Quantised);
    let tokens = &golden("llama")[0].tokens;
    for (adapter, logits) in [("llama/adapter-few", "logits.few"), ("llama/adapter-every", "logits.every")] {
        let opened = Adapter::open(fixture(adapter), &decoder).unwrap();
        let found = run(&decoder, &Pool::new(2), &[(tokens, Some(&opened))], &[64]);
        let (divergence, _) = divergence(&found[0], &expected("llama", logits), 64);
        assert!(divergence < 0.01, "{adapter} {divergence}");
    }
}

#[test]
fn sequences_with_different_adapters_in_one_step_get_the_same_logits_as_alone() {
    let golden = golden("llama");
    let tokens = [&*golden[0].tokens, &golden[1].tokens, &golden[0].tokens[3..15]];
    for precision in [DecoderPrecision::F32, DecoderPrecision::Quantised] {
        let decoder = open(fixture("llama"), precision);
        let [few, every] = ["few", "every"]
            .map(|name| Adapter::open(fixture(&format!("llama/adapter-{name}")), &decoder).unwrap());
        let adapters = [Some(&few), None, Some(&every)];
        let mut sequences = Vec::new();
        for tokens in tokens {
            sequences.extend(adapters.map(|adapter| (tokens, adapter)));
        }
        for pool in pools() {
            let together = run(&decoder, &pool, &sequences, &[4, 1]);
            for (sequence, together) in sequences.iter().zip(&together) {
                let alone = run(&decoder, &pool, &[*sequence], &[4, 1]);
                assert_eq!(&alone[0], together, "{precision:?} {}", pool.isa().name());
            }
        }
    }
}

#[test]
fn logits_of_only_the_last_token_use_the_sequences_adapter() {
    let (decoder, golden) = (open(fixture("llama"), DecoderPrecision::Quantised), golden("llama"));
    let every = Adapter::open(fixture("llama/adapter-every"), &decoder).unwrap();
    let (tokens, pool) = (&golden[0].tokens, Pool::new(2));
    let mut kv = decoder.new_kv(4);
    let plain = Span { tokens, start: 0, pages: &[0, 1], adapter: None, logits: LogitRows::Last };
    let adapted = Span { pages: &[2, 3], adapter: Some(&every), ..plain };
    let mut scratch = DecoderScratch::default();
    let logits = decoder.forward(&pool, &mut kv, &[plain, adapted], &mut scratch).unwrap();
    for (row, adapter) in logits.rows().zip([None, Some(&every)]) {
        let alone = &run(&decoder, &pool, &[(tokens, adapter)], &[64])[0];
        assert_eq!(row, &alone[19 * 64..]);
    }
}

/// Returns the messages of an error's causes.
fn refused(path: &Path) -> String {
    let error = Adapter::open(path, &open_f32("llama")).unwrap_err();
    let first: Option<&dyn std::error::Error> = Some(&error);
    let causes = std::iter::successors(first, |error| std::error::Error::source(*error));
    causes.skip(1).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Returns a copy of an adapter with one change to its configuration.
fn changed(from: &str, to: &str) -> tempfile::TempDir {
    let (source, folder) = (fixture("llama/adapter-few"), tempfile::tempdir().unwrap());
    let config = std::fs::read_to_string(source.join("adapter_config.json")).unwrap();
    assert!(config.contains(from), "{from}");
    std::fs::write(folder.path().join("adapter_config.json"), config.replace(from, to)).unwrap();
    let weights = "adapter_model.safetensors";
    std::fs::copy(source.join(weights), folder.path().join(weights)).unwrap();
    folder
}

#[test]
fn adapters_that_cannot_be_applied_are_refused_with_the_cause() {
    let dora = changed("\"use_dora\": false", "\"use_dora\": true");
    assert_eq!(refused(dora.path()), "`use_dora` is true, which is not supported (expected plain LoRA)");
    let rank = changed("\"r\": 4", "\"r\": 5");
    assert!(
        refused(rank.path())
            .contains("has rank 4, which is too large or differs from the adapter's configuration"),
        "{}",
        refused(rank.path())
    );
    let empty = tempfile::tempdir().unwrap();
    assert!(refused(empty.path()).starts_with("read adapter_config.json: "));
    let config = std::fs::read(fixture("llama/adapter-few/adapter_config.json")).unwrap();
    std::fs::write(empty.path().join("adapter_config.json"), config).unwrap();
    assert!(refused(empty.path()).starts_with("open the weights: "));
    // A model is not an adapter.
    let expected = "`general.type` is missing, which is not supported (expected adapter)";
    assert_eq!(refused(&fixture("llama/model.gguf")), expected);
}

#[test]
fn adapters_of_other_models_are_refused_when_opened_and_when_used() {
    let error = Adapter::open(fixture("llama/adapter-few"), &open_f32("qwen2")).unwrap_err();
    assert_eq!(error.kind.to_string(), "check a tensor");
    let error = Adapter::open(fixture("llama/adapter-few.gguf"), &open_f32("qwen3")).unwrap_err();
    let expected = "`general.architecture` is llama, which is not supported (expected qwen3)";
    assert_eq!(error.kind.to_string(), expected);
    let error = Adapter::open(fixture("llama/adapter-few"), &open_f32("phi3")).unwrap_err();
    assert!(error.kind.to_string().contains("does not belong to a layer of this model"), "{}", error.kind);

    let adapter = Adapter::open(fixture("llama/adapter-few"), &open_f32("llama")).unwrap();
    let decoder = open_f32("qwen3");
    let (mut kv, _) = paged(&decoder, &[(&[1], None)]);
    let span = Span { tokens: &[1], start: 0, pages: &[0], adapter: Some(&adapter), logits: LogitRows::Last };
    let mut scratch = DecoderScratch::default();
    let error = decoder.forward(&Pool::new(1), &mut kv, &[span], &mut scratch).unwrap_err();
    assert_eq!(error, ForwardError::OtherAdapter { span: 0 });
}

#[test]
fn the_headers_of_an_adapter_give_its_size_and_whether_it_fits_the_model() {
    for adapter in ["llama/adapter-few", "llama/adapter-few.gguf", "llama/adapter-every"] {
        let decoder = open_f32("llama");
        let survey = Adapter::survey(fixture(adapter), decoder.config()).unwrap();
        let opened = Adapter::open(fixture(adapter), &decoder).unwrap();
        assert_eq!(survey.bytes, opened.bytes(), "{adapter}");
        assert!(survey.rank > 0 && survey.layers > 0);
        for other in ["qwen2", "gemma3", "phi3"] {
            let config = Decoder::survey(fixture(other), DecoderPrecision::F32).unwrap().config;
            Adapter::survey(fixture(adapter), &config).unwrap_err();
        }
    }
}

#[test]
fn the_headers_of_a_model_give_its_size() {
    for name in ["llama", "llama/model.gguf", "qwen3", "phi3"] {
        for precision in [DecoderPrecision::F32, DecoderPrecision::Quantised] {
            let survey = Decoder::survey(fixture(name), precision).unwrap();
            let decoder = open(fixture(name), precision);
            assert_eq!(survey.weight_bytes, decoder.weight_bytes(), "{name} {precision:?}");
            assert_eq!((&survey.config, survey.kv_shape), (decoder.config(), decoder.kv_shape()));
            assert!(survey.int4_bytes < survey.weight_bytes);
        }
    }
    Decoder::survey(fixture("none"), DecoderPrecision::Quantised).unwrap_err();
}
