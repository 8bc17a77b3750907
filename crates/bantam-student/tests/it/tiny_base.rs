//! A base of a few kilobytes with seeded random weights. It knows nothing, but every word has its own vector, so that a
//! head on top can learn.

use std::path::Path;

use bantam_weights::{Dtype, NewTensor, write_safetensors};

const WIDTH: usize = 32;
const WIDE: usize = 48;
const POSITIONS: usize = 24;
const WORDS: &[&str] = &[
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "please", "could", "you", "i", "want", "to", "help", "me", "now",
    "kindly", "block", "my", "card", "order", "a", "new", "was", "stolen", "the", "is", "broken", "show",
    "exchange", "rate", "what", "today", "for", "euros", "compare", "rates", "transfer", "money", "abroad",
    "send", "late", "cancel", "where", "parcel", "back", "with", "refund", "invoice", "lamp", "tent", "?",
];

/// Creates `folder` and writes a base into it; another seed gives other weights.
pub(crate) fn write(folder: &Path, seed: u64) {
    std::fs::create_dir_all(folder).unwrap();
    let vocabulary: Vec<String> = WORDS
        .iter()
        .map(|word| (*word).to_owned())
        .chain(('a'..='z').flat_map(|letter| [format!("##{letter}"), format!("{letter}")]))
        .collect();
    let mut distinct: Vec<String> = Vec::new();
    vocabulary.into_iter().for_each(|word| {
        if !distinct.contains(&word) {
            distinct.push(word);
        }
    });
    let config = serde_json::json!({
        "_name_or_path": "tiny-random", "model_type": "bert", "hidden_act": "gelu", "hidden_size": WIDTH,
        "intermediate_size": WIDE, "num_attention_heads": 4, "num_hidden_layers": 1, "type_vocab_size": 2,
        "max_position_embeddings": POSITIONS, "vocab_size": distinct.len(), "layer_norm_eps": 1e-12,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer(&distinct)).unwrap();
    std::fs::write(folder.join("sentence_bert_config.json"), "{\"max_seq_length\": 20}").unwrap();
    weights(&folder.join("model.safetensors"), distinct.len(), seed);
}

fn tokenizer(vocabulary: &[String]) -> String {
    let ids: serde_json::Map<String, serde_json::Value> =
        vocabulary.iter().enumerate().map(|(id, word)| (word.clone(), id.into())).collect();
    let special = |word: &str, id: u32| {
        serde_json::json!({"id": id, "special": true, "content": word, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false})
    };
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special("[PAD]", 0), special("[UNK]", 1), special("[CLS]", 2), special("[SEP]", 3)],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": ids},
    })
    .to_string()
}

fn weights(path: &Path, vocabulary: usize, seed: u64) {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut numbers = |count: usize, centre: f32, spread: f32| -> Vec<u8> {
        let number = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            centre + spread * ((state >> 40) as f32 / (1 << 23) as f32 - 1.0)
        };
        (0..count).map(number).flat_map(f32::to_le_bytes).collect()
    };
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut table = |name: &str, shape: &[usize], centre: f32, spread: f32| {
        let bytes = numbers(shape.iter().product(), centre, spread);
        tensors.push((name.to_owned(), shape.to_vec(), bytes));
    };
    table("embeddings.word_embeddings.weight", &[vocabulary, WIDTH], 0.0, 1.0);
    table("embeddings.position_embeddings.weight", &[POSITIONS, WIDTH], 0.0, 0.1);
    table("embeddings.token_type_embeddings.weight", &[2, WIDTH], 0.0, 0.1);
    let layer = "encoder.layer.0";
    for (name, outputs, inputs) in [
        ("attention.self.query", WIDTH, WIDTH),
        ("attention.self.key", WIDTH, WIDTH),
        ("attention.self.value", WIDTH, WIDTH),
        ("attention.output.dense", WIDTH, WIDTH),
        ("intermediate.dense", WIDE, WIDTH),
        ("output.dense", WIDTH, WIDE),
    ] {
        table(&format!("{layer}.{name}.weight"), &[outputs, inputs], 0.0, 0.15);
        table(&format!("{layer}.{name}.bias"), &[outputs], 0.0, 0.05);
    }
    let norms = ["embeddings".to_owned(), format!("{layer}.attention.output"), format!("{layer}.output")];
    for norm in norms {
        table(&format!("{norm}.LayerNorm.weight"), &[WIDTH], 1.0, 0.1);
        table(&format!("{norm}.LayerNorm.bias"), &[WIDTH], 0.0, 0.1);
    }
    let borrowed: Vec<NewTensor<'_>> = tensors
        .iter()
        .map(|(name, shape, bytes)| NewTensor { name, dtype: Dtype::F32, shape, bytes })
        .collect();
    write_safetensors(path, &[], &borrowed).unwrap();
}
