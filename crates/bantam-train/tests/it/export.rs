//! Checks that the serving engine reproduces the trainer's logits from every export format.

use std::path::{Path, PathBuf};

use bantam_kernels::Pool;
use bantam_train::{
    BaseForm, DecoderNetwork, DecoderNetworkScratch, DecoderTuning, Key, Layout, LoraConfig, ReplayError,
    SmallTokens, read_gguf_adapter, replay, whole_config, write_gguf_adapter, write_merged, write_peft,
    write_whole,
};
use bantam_weights::{Dtype, EncodeOptions, Tokenizer, WeightFile};

const ROUNDING: f32 = 1e-4;

fn engine_fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bantam-engine/tests/fixtures").join(name)
}

fn parity_fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity").join(name)
}

fn prompts() -> Vec<Vec<u32>> {
    vec![(3..40).collect(), vec![7, 7, 60, 1]]
}

/// Loads a base with an adapter of random numbers.
fn adapted(base: &Path, form: BaseForm) -> (DecoderNetwork, Layout, Vec<f32>) {
    let lora = LoraConfig { rank: 3, alpha: 6.0, lora_dropout: 0.0, dropout: 0.0, recompute: true };
    let mut layout = Layout::default();
    let network = DecoderNetwork::load(base, &DecoderTuning { lora, form }, &mut layout).unwrap();
    let parameters = (0..layout.len() as u64).map(|index| 0.1 * Key::new(4).normal(index)).collect();
    (network, layout, parameters)
}

#[test]
fn adapters_in_both_formats_reproduce_the_trainer() {
    let folder = tempfile::tempdir().unwrap();
    let bases = [
        engine_fixture("llama"),
        engine_fixture("llama/model.gguf"),
        engine_fixture("qwen3"),
        parity_fixture("qwen2"),
    ];
    for base in bases {
        for form in [BaseForm::Wide, BaseForm::AsStored] {
            let (network, layout, parameters) = adapted(&base, form);
            let trained = (&network, &layout, &*parameters);
            let (peft, gguf) = (folder.path().join("peft"), folder.path().join("adapter.gguf"));
            write_peft(&peft, "base", trained).unwrap();
            write_gguf_adapter(&gguf, trained).unwrap();
            assert!(read_gguf_adapter(&gguf, &network, &layout).unwrap() == parameters, "{}", base.display());
            for adapter in [&peft, &gguf] {
                let export = (&*base, Some(&**adapter));
                let found = replay(export, (&network, &parameters), &prompts(), ROUNDING, &Pool::new(1));
                let found = found.unwrap_or_else(|error| panic!("{} {form:?}: {error}", base.display()));
                assert_eq!((found.tokens, found.same), (41, 41));
            }
            // Without the adapter, the base's logits differ, and the replay detects it.
            let error = replay((&base, None), (&network, &parameters), &prompts(), ROUNDING, &Pool::new(1));
            assert!(matches!(error, Err(ReplayError::Differs(_))), "{error:?}");
        }
    }
}

#[test]
fn merged_models_reproduce_the_trainer() {
    let folder = tempfile::tempdir().unwrap();
    let bases = [
        (engine_fixture("llama/model.gguf"), folder.path().join("merged.gguf")),
        (engine_fixture("qwen3"), folder.path().join("merged")),
    ];
    for (base, out) in bases {
        let (network, layout, parameters) = adapted(&base, BaseForm::AsStored);
        write_merged(&base, &out, (&network, &layout, &parameters)).unwrap();
        // Merged weights are rounded to the base's 16 bits.
        let found = replay((&out, None), (&network, &parameters), &prompts(), 1e-2, &Pool::new(1));
        found.unwrap_or_else(|error| panic!("{}: {error}", base.display()));
    }
}

#[test]
fn a_replay_over_the_unquantised_base_rejects_an_adapter_trained_over_four_bits() {
    let base = engine_fixture("llama");
    let (network, layout, parameters) = adapted(&base, BaseForm::Nf4);
    let folder = tempfile::tempdir().unwrap();
    write_peft(folder.path(), "base", (&network, &layout, &parameters)).unwrap();
    let export = (&*base, Some(folder.path()));
    let error = replay(export, (&network, &parameters), &prompts(), ROUNDING, &Pool::new(1)).unwrap_err();
    assert!(error.to_string().contains("does not reproduce the trainer"), "{error}");
    assert!(error.hint().contains("4 bits"));
}

#[test]
fn a_decoder_from_scratch_is_served_from_one_file_with_its_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    let tokens = SmallTokens::bytes();
    let mut layout = Layout::default();
    let network =
        DecoderNetwork::whole(whole_config(tokens.vocabulary(), (128, 2), 256), true, &mut layout).unwrap();
    let mut parameters = vec![0.0; layout.len()];
    network.initialise(&layout, 1, &mut parameters);
    write_whole(&path, (&tokens, Dtype::F32), (&network, &layout, &parameters)).unwrap();
    let tokenizer = Tokenizer::from_gguf(&WeightFile::open(&path).unwrap().metadata()).unwrap();
    let options = EncodeOptions { add_special: false, parse_special: true };
    let ids = tokenizer.encode("<|im_start|>user\nÄ 1<|im_end|>", options);
    assert_eq!((ids[0], ids[1], *ids.last().unwrap()), (256, u32::from(b'u'), 257));
    assert_eq!(ids.len(), 11);
    assert_eq!(tokenizer.eos_ids(), [257]);
    assert!(tokenizer.chat_template().is_some());
    let found = replay((&path, None), (&network, &parameters), &[ids], ROUNDING, &Pool::new(1)).unwrap();
    assert_eq!((found.tokens, found.same), (11, 11));
}

#[test]
fn an_adapter_of_zeros_gives_the_base_s_logits() {
    let base = parity_fixture("qwen2");
    let (network, _, mut parameters) = adapted(&base, BaseForm::Wide);
    parameters.fill(0.0);
    let ids = [3, 4, 5];
    let with = network.logits(&parameters, &ids, &mut DecoderNetworkScratch::default());
    assert!(with.iter().all(|logit| logit.is_finite()));
    replay((&base, None), (&network, &parameters), &[ids.to_vec()], ROUNDING, &Pool::new(1)).unwrap();
}
