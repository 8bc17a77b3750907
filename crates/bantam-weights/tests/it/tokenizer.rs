//! Encoding and decoding compared with llama.cpp and PyPI `tokenizers`.

use std::path::PathBuf;

use bantam_weights::{EncodeOptions, Tokenizer, WeightFile};
use serde_json::Value;

use crate::support::{chain, golden, shared};

pub(crate) const PLAIN: EncodeOptions = EncodeOptions { add_special: false, parse_special: false };
pub(crate) const WHOLE: EncodeOptions = EncodeOptions { add_special: true, parse_special: true };

/// The small tokenizers trained by scripts/make_tokenizer_goldens.py.
pub(crate) const NAMES: [&str; 12] = [
    "smollm",
    "llama3",
    "qwen2",
    "qwen35",
    "o200k",
    "tekken",
    "llama2",
    "mistral",
    "gemma",
    "unigram",
    "unigram-bytes",
    "charsmap",
];

/// Returns llama.cpp's test texts for a vocabulary with the expected ids.
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
fn llama_cpp_vocabularies_give_the_expected_ids() {
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

#[test]
fn the_qwen_vocabulary_gives_the_ids_of_llama_cpp() {
    let Some(folder) = shared("tokenizers/qwen2.5") else { return };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let mut definition: Value = serde_json::from_slice(&golden("tokenizers/qwen2.json")).unwrap();
    definition["added_tokens"] = Value::Array(Vec::new());
    definition["model"]["vocab"] = serde_json::from_str(&read("vocab.json")).unwrap();
    let merges = read("merges.txt");
    let merges = merges.lines().filter(|line| !line.is_empty() && !line.starts_with("#version"));
    definition["model"]["merges"] = merges.collect();
    let tokenizer = Tokenizer::from_json(definition.to_string().as_bytes()).unwrap();
    check_llama_cpp(&tokenizer, "qwen2");
}

/// Compares all cases of a file and returns their number.
#[track_caller]
fn check_cases(name: &str, definition: &[u8], cases: &str) -> usize {
    let tokenizer =
        Tokenizer::from_json(definition).map_err(|error| format!("{name}: {}", chain(&error))).unwrap();
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let ids = |kind: &str| serde_json::from_value::<Option<Vec<u32>>>(case[kind].clone()).unwrap();
        let text = case["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text, PLAIN), ids("plain").unwrap(), "{name}, plain: {text:?}");
        if let Some(whole) = ids("whole") {
            assert_eq!(tokenizer.encode(text, WHOLE), whole, "{name}, whole: {text:?}");
        }
    }
    cases.lines().count()
}

#[test]
fn ids_match_the_reference() {
    for name in NAMES {
        let definition = golden(&format!("tokenizers/{name}.json"));
        let cases = String::from_utf8(golden(&format!("tokenizers/{name}.jsonl"))).unwrap();
        assert!(check_cases(name, &definition, &cases) > 40);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads its environment itself")]
fn ids_match_the_reference_on_ten_thousand_texts() {
    let Some(folder) = std::env::var_os("BANTAM_TOKENIZER_CASES").map(PathBuf::from) else {
        println!(
            "SKIPPED: set BANTAM_TOKENIZER_CASES to the output folder of `scripts/make_tokenizer_goldens.py all`"
        );
        return;
    };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    assert!(!files.is_empty());
    for path in files {
        let definition = std::fs::read(path.with_extension("json")).unwrap();
        let count =
            check_cases(&path.display().to_string(), &definition, &std::fs::read_to_string(&path).unwrap());
        assert!(count > 2_000);
        println!("{}: {count} cases agree", path.display());
    }
}
