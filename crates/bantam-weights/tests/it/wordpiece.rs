//! WordPiece compared with PyPI `tokenizers` and llama.cpp.

use std::path::PathBuf;

use bantam_weights::{Fit, WeightFile, WordPiece};
use serde_json::Value;

use crate::support::{chain, golden, shared};

fn ids(tokenizer: &WordPiece, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    assert_eq!(tokenizer.encode(text, usize::MAX, &mut ids), Fit::Whole);
    ids
}

/// Returns the tokenizer of a definition, with the case's rules if it has any.
fn with_rules(definition: &Value, rules: &Value) -> WordPiece {
    let mut definition = definition.clone();
    if let Some(bits) = rules.as_u64() {
        for (bit, rule) in
            ["clean_text", "handle_chinese_chars", "strip_accents", "lowercase"].iter().enumerate()
        {
            definition["normalizer"][*rule] = Value::from(bits >> bit & 1 == 1);
        }
    }
    WordPiece::from_tokenizer_json(definition.to_string().as_bytes()).unwrap()
}

/// Compares all cases of a file and returns their number.
#[track_caller]
fn check_cases(definition: &[u8], cases: &str) -> usize {
    let definition: Value = serde_json::from_slice(definition).unwrap();
    let own = with_rules(&definition, &Value::Null);
    let with: Vec<WordPiece> = (0..16u64).map(|bits| with_rules(&definition, &bits.into())).collect();
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let tokenizer = case["rules"].as_u64().map_or(&own, |bits| &with[bits as usize]);
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        let text = case["text"].as_str().unwrap();
        assert_eq!(ids(tokenizer, text), expected, "rules {}, text {text:?}", case["rules"]);
    }
    cases.lines().count()
}

#[test]
fn ids_match_the_reference() {
    let cases = String::from_utf8(golden("wordpiece.jsonl")).unwrap();
    assert!(check_cases(&golden("tokenizer.json"), &cases) > 400);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads its environment itself")]
fn ids_match_the_reference_on_ten_thousand_texts() {
    let Some(folder) = std::env::var_os("BANTAM_WORDPIECE_CASES").map(PathBuf::from) else {
        println!(
            "SKIPPED: set BANTAM_WORDPIECE_CASES to the output folder of `scripts/make_token_goldens.py all`"
        );
        return;
    };
    let cases = std::fs::read_to_string(folder.join("wordpiece.jsonl")).unwrap();
    let count = check_cases(&std::fs::read(folder.join("tokenizer.json")).unwrap(), &cases);
    assert!(count > 10_000);
    println!("{count} cases agree");
}

#[test]
fn gguf_vocabularies_give_the_expected_ids() {
    let Some(path) = shared("tokenizers/ggml-vocab-bert-bge.gguf") else { return };
    let tokenizer = WordPiece::from_gguf(&WeightFile::open(&path).unwrap()).unwrap();
    assert_eq!(tokenizer.vocabulary_size(), 30_522);
    assert_eq!((tokenizer.start_id(), tokenizer.end_id(), tokenizer.unknown_id()), (101, 102, 100));
    let read = |ending: &str| std::fs::read_to_string(path.with_extension(ending)).unwrap();
    let (input, output) = (read("gguf.inp"), read("gguf.out"));
    let texts: Vec<&str> = input.split("\n__ggml_vocab_test__\n").collect();
    // A separator also follows the last text.
    let (_, texts) = texts.split_last().unwrap();
    let expected: Vec<&str> = output.lines().collect();
    assert!(texts.len() > 40 && texts.len() == expected.len(), "{} {}", texts.len(), expected.len());
    for (text, expected) in texts.iter().zip(expected) {
        let expected: Vec<u32> = expected.split_whitespace().map(|id| id.parse().unwrap()).collect();
        let found = ids(&tokenizer, text);
        assert_eq!(found[1..found.len() - 1], expected, "{text:?}");
    }
}

#[test]
fn long_texts_are_truncated() {
    let tokenizer = WordPiece::from_tokenizer_json(&golden("tokenizer.json")).unwrap();
    let all = ids(&tokenizer, "a b c d");
    assert_eq!(all.len(), 6);
    let mut found = vec![9; 3];
    let mut check = |text: &str, room: usize, fit: Fit, expected: &[u32]| {
        assert_eq!(tokenizer.encode(text, room, &mut found), fit, "{text:?} {room}");
        assert_eq!(found, expected);
    };
    let (first, last) = (all[0], all[5]);
    check("a b c d", 6, Fit::Whole, &all);
    check("a b c d \n", 6, Fit::Whole, &all);
    check("a b c d", 5, Fit::Truncated, &[first, all[1], all[2], all[3], last]);
    check("a b c d", 2, Fit::Truncated, &[first, last]);
    check("", 2, Fit::Whole, &[first, last]);
    check("a", 1, Fit::Truncated, &[]);
    check("", 0, Fit::Truncated, &[]);
}

#[test]
fn a_text_cannot_forge_special_tokens() {
    let tokenizer = WordPiece::from_tokenizer_json(&golden("tokenizer.json")).unwrap();
    let found = ids(&tokenizer, "[CLS] a [SEP] b");
    assert_eq!(found.iter().filter(|id| [101, 102].contains(*id)).count(), 2);
}

#[test]
fn hostile_texts_take_linear_time() {
    let tokenizer = WordPiece::from_tokenizer_json(&golden("tokenizer.json")).unwrap();
    for unit in ["a", "\u{302e}\u{302f}", "\u{301}", "é", "漢", "!", "##", "\u{1f1e6}"] {
        let started = std::time::Instant::now();
        let mut found = Vec::new();
        tokenizer.encode(&unit.repeat(200_000), 512, &mut found);
        assert!(found.len() <= 512);
        assert!(started.elapsed().as_secs() < 5, "{unit:?} took {:?}", started.elapsed());
    }
}

#[test]
fn unsupported_features_are_refused_by_name() {
    let good: Value = serde_json::from_slice(&golden("tokenizer.json")).unwrap();
    let check = |change: &dyn Fn(&mut Value), message: &str| {
        let mut changed = good.clone();
        change(&mut changed);
        let error = WordPiece::from_tokenizer_json(changed.to_string().as_bytes()).unwrap_err();
        assert!(chain(&error).starts_with(message), "{}", chain(&error));
    };
    let unsupported = |what: &str, found: &str| format!("the tokenizer's {what} {found:?} is not supported");
    check(&|file| file["model"]["type"] = "BPE".into(), &unsupported("model", "BPE"));
    check(&|file| file["normalizer"]["type"] = "NFC".into(), &unsupported("normalizer", "NFC"));
    check(&|file| file["normalizer"] = Value::Null, &unsupported("normalizer", "none"));
    check(
        &|file| file["pre_tokenizer"]["type"] = "Metaspace".into(),
        &unsupported("pre_tokenizer", "Metaspace"),
    );
    check(&|file| file["post_processor"] = Value::Null, &unsupported("post_processor", "none"));
    check(
        &|file| file["post_processor"]["single"].as_array_mut().unwrap().truncate(2),
        &unsupported("post_processor", "TemplateProcessing"),
    );
    check(&|file| file["added_tokens"][0]["special"] = false.into(), &unsupported("added token", "[PAD]"));
    check(
        &|file| file["model"]["max_input_chars_per_word"] = 100_000.into(),
        &unsupported("max_input_chars_per_word", "100000"),
    );
    check(&|file| file["model"]["unk_token"] = "[NO]".into(), "the token \"[NO]\" is not in the vocabulary");
    check(&|file| file["more"] = 1.into(), "cannot read the tokenizer: unknown field `more`");
    let text = String::from_utf8(golden("tokenizer.json")).unwrap();
    let twice = text.replacen("\"vocab\":{", "\"vocab\":{\"[UNK]\":3,", 1);
    let error = WordPiece::from_tokenizer_json(twice.as_bytes()).unwrap_err();
    assert!(chain(&error).contains("the key \"[UNK]\" appears twice"), "{}", chain(&error));
    assert!(WordPiece::from_tokenizer_json(b"{}").is_err());
}
