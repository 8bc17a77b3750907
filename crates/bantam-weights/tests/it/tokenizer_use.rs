//! Beyond equal ids: no forged control tokens, streams, folders, and errors.

use bantam_weights::{EncodeOptions, FillInTheMiddle, TextStream, Tokenizer, WeightFile};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Gguf, array, chain, golden, shared, text};
use crate::tokenizer::{NAMES, PLAIN, WHOLE};

fn small(name: &str) -> Tokenizer {
    Tokenizer::from_json(&golden(&format!("tokenizers/{name}.json"))).unwrap()
}

#[test]
fn plain_text_never_produces_control_tokens() {
    let words = "<|im_start|>system <|im_end|><s></s><unk>[INST]<tool> <|im_start|";
    for name in NAMES {
        let tokenizer = small(name);
        let unknown = tokenizer.added_id("<unk>");
        for text in [words.to_owned(), words.replace(' ', ""), "</s>".repeat(40)] {
            let ids = tokenizer.encode(&text, PLAIN);
            let forged = ids.iter().find(|id| tokenizer.is_control(**id) && Some(**id) != unknown);
            assert_eq!(forged, None, "{name}: {text:?} gives {ids:?}");
        }
        let start = tokenizer.added_id("<|im_start|>");
        let parsed = tokenizer.encode("<|im_start|>", EncodeOptions { parse_special: true, ..PLAIN });
        let has_none = matches!(name, "unigram-bytes" | "charsmap");
        assert!(has_none || parsed == [start.unwrap()], "{name}: {parsed:?}");
    }
}

#[test]
fn tokens_that_look_like_control_tokens_are_control_tokens() {
    let mut definition: Value = serde_json::from_slice(&golden("tokenizers/qwen2.json")).unwrap();
    let tokens = definition["added_tokens"].as_array_mut().unwrap();
    for (id, name) in (900..).zip(["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]) {
        tokens.push(json!({"id": id, "content": name, "special": false}));
    }
    let tokenizer = Tokenizer::from_json(definition.to_string().as_bytes()).unwrap();
    let middle = FillInTheMiddle { prefix: 900, suffix: 901, middle: 902 };
    assert_eq!(tokenizer.fill_in_the_middle(), Some(middle));
    assert!(!tokenizer.encode("<|fim_prefix|>", PLAIN).contains(&900));
    assert_eq!(tokenizer.encode("<|fim_prefix|>", WHOLE), [900]);
    assert_eq!(tokenizer.vocabulary(), 903);
    assert!(tokenizer.is_control(899) && tokenizer.token_bytes(899).is_empty(), "no token has this id");
    assert!(tokenizer.is_control(u32::MAX) && tokenizer.token_bytes(u32::MAX).is_empty());
}

#[test]
fn the_bytes_of_tokens_equal_the_text() {
    let text = "The caf\u{e9} \u{1f999} costs 12\n\tit's \u{6f22}\u{5b57} fine  ";
    for name in NAMES.into_iter().filter(|name| !name.starts_with("unigram") && *name != "charsmap") {
        let tokenizer = small(name);
        let ids = tokenizer.encode(text, PLAIN);
        let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.token_bytes(*id).to_vec()).collect();
        let whole = String::from_utf8(bytes).unwrap();
        let has_space = matches!(name, "llama2" | "mistral");
        assert_eq!(whole, if has_space { format!(" {text}") } else { text.to_owned() }, "{name}");
        assert_eq!(tokenizer.decode(&ids), text, "{name}");
    }
}

#[test]
fn a_stream_returns_characters_as_soon_as_they_are_complete() {
    let tokenizer = small("qwen2");
    let ids = tokenizer.encode("a\u{1f999}b", PLAIN);
    let mut stream = TextStream::new();
    let parts: Vec<String> = ids.iter().map(|id| stream.push(&tokenizer, *id)).collect();
    assert_eq!(parts, ["a", "", "", "", "\u{1f999}", "b"]);
    // The first bytes of the llama emoji, followed by something else.
    let mut stream = TextStream::new();
    let cut = [ids[1], ids[2], ids[0], ids[1]];
    let parts: Vec<String> = cut.iter().map(|id| stream.push(&tokenizer, *id)).collect();
    assert_eq!(parts, ["", "", "\u{fffd}a", ""]);
    assert_eq!(stream.finish(), "\u{fffd}");
    assert_eq!(stream.finish(), "");
}

#[test]
fn only_the_start_of_a_text_loses_the_space_added_by_encoding() {
    let tokenizer = small("llama2");
    let ids = tokenizer.encode(" a b", PLAIN);
    assert_eq!(tokenizer.decode(&ids), " a b");
    let word = tokenizer.encode("a", PLAIN);
    assert_eq!(tokenizer.decode(&word), "a");
    let first = TextStream::within_text().push(&tokenizer, word[0]);
    assert!(first.starts_with(' '), "{first:?}");
}

proptest! {
    #[test]
    fn a_stream_equals_decoding_all_ids(name in 0..NAMES.len(), ids in proptest::collection::vec(0..1300u32, 0..40)) {
        let tokenizer = small(NAMES[name]);
        let mut stream = TextStream::new();
        let mut parts: String = ids.iter().map(|id| stream.push(&tokenizer, *id)).collect();
        parts.push_str(&stream.finish());
        let bytes: Vec<u8> =
            ids.iter().filter(|id| !tokenizer.is_control(**id)).flat_map(|id| tokenizer.token_bytes(*id).to_vec()).collect();
        let lossy = String::from_utf8_lossy(&bytes);
        prop_assert!(parts == lossy || Some(&*parts) == lossy.strip_prefix(' '), "{parts:?} {lossy:?}");
        prop_assert_eq!(tokenizer.decode(&ids), parts);
    }

    #[test]
    fn every_text_survives_a_round_trip_through_byte_tokenizers(text: String) {
        for name in ["smollm", "llama3", "o200k", "gemma", "mistral"] {
            let tokenizer = small(name);
            let back = tokenizer.decode(&tokenizer.encode(&text, PLAIN));
            let expected = if name.len() > 6 || name == "gemma" { text.replace('\u{2581}', " ") } else { text.clone() };
            // Mistral's adds a space only if there is none, but always removes one.
            prop_assert!(back == expected || Some(&*back) == expected.strip_prefix(' '), "{name}: {back:?} {expected:?}");
        }
    }
}

#[test]
fn wordpiece_models_are_supported() {
    let tokenizer = Tokenizer::from_json(&golden("tokenizer.json")).unwrap();
    let plain = tokenizer.encode("[CLS] hello, the world", PLAIN);
    assert!(!plain.contains(&101));
    let whole = tokenizer.encode("the [SEP] the", WHOLE);
    assert_eq!((whole[0], whole[2], *whole.last().unwrap()), (101, 102, 102));
    assert_eq!(tokenizer.decode(&whole), "the the");
    let Some(path) = shared("tokenizers/ggml-vocab-bert-bge.gguf") else { return };
    let file = WeightFile::open(path).unwrap();
    let tokenizer = Tokenizer::from_gguf(&file.metadata()).unwrap();
    let ids = tokenizer.encode("Hello, y'all!", WHOLE);
    assert_eq!(ids, [101, 7592, 1010, 1061, 1005, 2035, 999, 102]);
    assert_eq!(tokenizer.decode(&ids), "hello , y ' all !");
}

#[test]
fn a_folders_files_name_the_special_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let missing = Tokenizer::open(folder.path()).unwrap_err();
    assert!(missing.to_string().ends_with("tokenizer.json"), "{missing}");
    write("tokenizer.json", &golden("tokenizers/llama3.json"));
    let tokenizer = Tokenizer::open(folder.path()).unwrap();
    let turn = tokenizer.added_id("<|im_end|>").unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos_ids(), tokenizer.chat_template()), (None, &[turn][..], None));
    write(
        "tokenizer_config.json",
        br#"{"bos_token":"<s>","eos_token":{"content":"</s>"},"chat_template":[{"name":"default","template":"{{x}}"}]}"#,
    );
    write("generation_config.json", br#"{"eos_token_id":[1,3],"pad_token_id":2}"#);
    let tokenizer = Tokenizer::open(folder.path().join("tokenizer.json")).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.pad()), (Some(0), Some(2)));
    assert_eq!(tokenizer.eos_ids(), [1, 3, turn]);
    assert_eq!(tokenizer.chat_template(), Some("{{x}}"));
    write("generation_config.json", br#"{"eos_token_id":99999}"#);
    let error = Tokenizer::open(folder.path()).unwrap_err();
    assert!(error.to_string().starts_with("the EOS token has the id 99999"), "{error}");
    write("generation_config.json", b"{");
    assert!(chain(&Tokenizer::open(folder.path()).unwrap_err()).contains("generation_config.json: EOF"));
}

#[test]
fn unsupported_features_are_refused_by_name() {
    let good: Value = serde_json::from_slice(&golden("tokenizers/qwen2.json")).unwrap();
    let check = |change: &dyn Fn(&mut Value), message: &str| {
        let mut changed = good.clone();
        change(&mut changed);
        let error = Tokenizer::from_json(changed.to_string().as_bytes()).unwrap_err();
        assert!(chain(&error).starts_with(message), "{}", chain(&error));
    };
    let unsupported = |what: &str, found: &str| format!("the tokenizer's {what} {found:?} is not supported");
    check(&|file| file["model"]["type"] = "WordLevel".into(), &unsupported("model", "WordLevel"));
    check(&|file| file["model"]["dropout"] = 0.5.into(), &unsupported("dropout", "0.5"));
    check(&|file| file["normalizer"]["type"] = "Nmt".into(), &unsupported("normalizer", "Nmt"));
    check(
        &|file| file["pre_tokenizer"]["type"] = "Whitespace".into(),
        &unsupported("pre-tokenizer", "Whitespace"),
    );
    check(
        &|file| file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a+)+$".into(),
        &unsupported("split pattern", "(a+)+$"),
    );
    check(
        &|file| file["model"]["merges"][5] = json!(["a"]),
        "cannot read the tokenizer's JSON: a merge must have two tokens",
    );
    check(
        &|file| file["model"]["merges"][0] = "zzz a".into(),
        "merge 0 (\"zzz a\") is invalid: its left part is not in the vocabulary",
    );
    check(&|file| file["model"]["unk_token"] = "<no>".into(), "the token \"<no>\" is not in the vocabulary");
    check(&|file| file["model"]["vocab"]["zzz"] = 7.into(), "the id 7 of the token");
    check(
        &|file| file["model"]["vocab"]["zzz"] = 4_000_000_000u32.into(),
        "the vocabulary has 4000000001 ids",
    );
    check(&|file| file["model"]["more"] = 1.into(), "cannot read the tokenizer's JSON: unknown field `more`");
    check(
        &|file| {
            file["post_processor"] = json!({"type": "BertProcessing", "sep": ["a", 1], "cls": ["b", 5000]});
        },
        "the token around a text has the id 5000",
    );
    let text = String::from_utf8(golden("tokenizers/qwen2.json")).unwrap();
    let twice = text.replacen("\"vocab\":{", "\"vocab\":{\"</s>\":3,", 1);
    let error = Tokenizer::from_json(twice.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "the token \"</s>\" appears twice");
    assert!(Tokenizer::from_json(b"{}").is_err());
}

/// Returns a GGUF tokenizer of three letters and one merge.
fn gguf(model: &str, pre: &str, merges: &[&str], kinds: &[i32]) -> Gguf {
    let tokens = ["a", "b", "c", "ab", "<|end|>"];
    let texts = |texts: &[&str]| {
        array(8, texts.len() as u64, &texts.iter().flat_map(|one| text(one)).collect::<Vec<_>>())
    };
    let numbers: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_le_bytes()).collect();
    Gguf::new()
        .key("tokenizer.ggml.model", 8, &text(model))
        .key("tokenizer.ggml.pre", 8, &text(pre))
        .key("tokenizer.ggml.tokens", 9, &texts(&tokens))
        .key("tokenizer.ggml.merges", 9, &texts(merges))
        .key("tokenizer.ggml.token_type", 9, &array(5, kinds.len() as u64, &numbers))
}

#[test]
fn gguf_vocabularies_are_checked() {
    let read = |file: &Gguf| Tokenizer::from_gguf(&WeightFile::from_bytes(file.bytes()).unwrap().metadata());
    let kinds = [1, 1, 1, 1, 3];
    let tokenizer = read(&gguf("gpt2", "gpt-2", &["a b"], &kinds)).unwrap();
    assert_eq!(tokenizer.encode("abcab<|end|>z", PLAIN), [3, 2, 3]);
    assert_eq!(tokenizer.encode("<|end|>", WHOLE), [4]);
    assert_eq!(tokenizer.eos_ids(), [4]);
    let check = |file: &Gguf, message: &str| assert_eq!(read(file).unwrap_err().to_string(), message);
    let good = || gguf("gpt2", "gpt-2", &["a b"], &kinds);
    check(&gguf("rwkv", "gpt-2", &[], &kinds), "the tokenizer's model \"rwkv\" is not supported");
    check(
        &gguf("gpt2", "no-such", &[], &kinds),
        "the tokenizer's pre-tokenizer \"no-such\" is not supported",
    );
    check(
        &gguf("gpt2", "gpt-2", &[], &kinds[..3]),
        "\"tokenizer.ggml.token_type\" has 3 values for 5 tokens",
    );
    check(&gguf("gpt2", "gpt-2", &[], &[1, 1, 1, 1, 9]), "the tokenizer's token type \"9\" is not supported");
    check(
        &gguf("gpt2", "gpt-2", &["a c"], &kinds),
        "merge 0 (\"a c\") is invalid: its result is not in the vocabulary",
    );
    check(
        &gguf("llama", "default", &[], &kinds),
        "the key \"tokenizer.ggml.scores\" is missing or has the wrong type",
    );
    check(
        &good().key("tokenizer.ggml.bos_token_id", 4, &7u32.to_le_bytes()),
        "the BOS token has the id 7, which is not in the vocabulary of 5",
    );
    let scores = |scores: &[f32]| {
        let bytes: Vec<u8> = scores.iter().flat_map(|score| score.to_le_bytes()).collect();
        gguf("llama", "default", &[], &kinds).key(
            "tokenizer.ggml.scores",
            9,
            &array(6, scores.len() as u64, &bytes),
        )
    };
    check(&scores(&[0.0]), "\"tokenizer.ggml.scores\" has 1 values for 5 tokens");
    check(
        &scores(&[0.0, 0.0, f32::NAN, 0.0, 0.0]),
        "the key \"tokenizer.ggml.scores\" is missing or has the wrong type",
    );
    assert_eq!(read(&scores(&[0.0; 5])).unwrap().encode("ab", PLAIN), [3]);
}

#[test]
fn a_unigram_vocabulary_is_the_same_in_gguf() {
    let definition: Value = serde_json::from_slice(&golden("tokenizers/unigram.json")).unwrap();
    let tokens = definition["model"]["vocab"].as_array().unwrap();
    let texts: Vec<u8> = tokens.iter().flat_map(|token| text(token[0].as_str().unwrap())).collect();
    let scores = tokens.iter().flat_map(|token| (token[1].as_f64().unwrap() as f32).to_le_bytes());
    let kinds = (0..tokens.len()).flat_map(|id| [3i32, 3, 2].get(id).unwrap_or(&1).to_le_bytes());
    let (scores, kinds): (Vec<u8>, Vec<u8>) = (scores.collect(), kinds.collect());
    let count = tokens.len() as u64;
    let file = Gguf::new()
        .key("tokenizer.ggml.model", 8, &text("t5"))
        .key("tokenizer.ggml.tokens", 9, &array(8, count, &texts))
        .key("tokenizer.ggml.scores", 9, &array(6, count, &scores))
        .key("tokenizer.ggml.token_type", 9, &array(5, count, &kinds))
        .key("tokenizer.ggml.eos_token_id", 4, &1u32.to_le_bytes())
        .key("tokenizer.ggml.remove_extra_whitespaces", 7, &[1]);
    let file = WeightFile::from_bytes(file.bytes()).unwrap();
    let from_gguf = Tokenizer::from_gguf(&file.metadata()).unwrap();
    let from_json = small("unigram");
    for text in ["", "bado ke, it's 123", "  Two   spaces ", "漢字 αβγ \u{1f999}?", "</s> a <s>b", "!"] {
        assert_eq!(from_gguf.encode(text, PLAIN), from_json.encode(text, PLAIN), "{text:?}");
    }
    let ids = from_gguf.encode("bado ke", WHOLE);
    assert_eq!(ids.last(), Some(&1));
    assert_eq!(from_gguf.decode(&ids), "bado ke");
}

#[test]
fn long_texts_take_linear_time() {
    for name in NAMES {
        let tokenizer = small(name);
        for unit in ["a", "ab", " ", "\n", "1", "'", "<", "<|im_start", "\u{301}", "\u{6f22}", "\u{5c9}", "A"]
        {
            let started = std::time::Instant::now();
            tokenizer.encode(&unit.repeat(50_000), WHOLE);
            assert!(started.elapsed().as_secs() < 5, "{name}, {unit:?}: {:?}", started.elapsed());
        }
    }
}
