//! Text to ids and back, against what llama.cpp and PyPI `tokenizers` give.

use bantam_weights::{EncodeOptions, Tokenizer, WeightFile};

use crate::support::shared;

pub(crate) const PLAIN: EncodeOptions = EncodeOptions { add_special: false, parse_special: false };
pub(crate) const PARSED: EncodeOptions = EncodeOptions { add_special: false, parse_special: true };
pub(crate) const WHOLE: EncodeOptions = EncodeOptions { add_special: true, parse_special: true };

/// llama.cpp's texts for a vocabulary with the ids that it expects.
fn llama_cpp_cases(name: &str) -> Option<Vec<(String, Vec<u32>)>> {
    let read = |end| {
        Some(std::fs::read_to_string(shared(&format!("tokenizers/ggml-vocab-{name}.gguf{end}"))?).unwrap())
    };
    let (texts, ids) = (read(".inp")?, read(".out")?);
    let ids = ids.lines().map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect());
    let cases: Vec<_> = texts.split("\n__ggml_vocab_test__\n").map(str::to_owned).zip(ids).collect();
    assert!(cases.len() > 40);
    Some(cases)
}

#[track_caller]
fn check_llama_cpp(tokenizer: &Tokenizer, name: &str) {
    for (text, expected) in llama_cpp_cases(name).unwrap() {
        assert_eq!(tokenizer.encode(&text, PLAIN), expected, "{name}: {text:?}");
    }
}

#[test]
fn vocabularies_of_llama_cpp_give_its_ids() {
    for name in ["gpt-2", "llama-spm", "phi-3"] {
        let Some(path) = shared(&format!("tokenizers/ggml-vocab-{name}.gguf")) else { return };
        let file = WeightFile::open(path).unwrap();
        let tokenizer = Tokenizer::from_gguf(&file.metadata()).unwrap();
        check_llama_cpp(&tokenizer, name);
        for (text, ids) in llama_cpp_cases(name).unwrap() {
            assert_eq!(tokenizer.decode(&ids), text, "{name}");
        }
    }
}
