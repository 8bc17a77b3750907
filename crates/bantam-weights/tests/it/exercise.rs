//! Opens bytes as weights or tokenizers and uses whatever opens. The fuzz targets of `bantam-fuzz` include this file.

use bantam_weights::{EncodeOptions, Tokenizer, Value, WeightFile, WordPiece};

/// Treats the bytes as a GGUF file. Adds the magic number, so that the fuzzer does not have to find it.
pub(crate) fn gguf(bytes: &[u8]) {
    weights(&[b"GGUF", bytes].concat());
}

/// Treats the bytes as a safetensors header with the correct length, and as data from the first NUL on.
pub(crate) fn safetensors(bytes: &[u8]) {
    let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (header, data) = bytes.split_at(cut);
    weights(&[&(header.len() as u64).to_le_bytes()[..], header, data.get(1..).unwrap_or_default()].concat());
    weights(bytes);
}

/// Opens the bytes as weights and reads everything in them.
pub(crate) fn weights(bytes: &[u8]) {
    let Ok(file) = WeightFile::from_bytes(bytes.to_vec()) else { return };
    let metadata = file.metadata();
    for key in metadata.keys() {
        walk(metadata.get(key).expect("every listed key has a value"));
        if let Some(texts) = metadata.texts(key) {
            assert_eq!(texts.len(), texts.clone().count());
        }
    }
    for (name, tensor) in file.tensors() {
        assert!(file.tensor(name).is_some());
        assert_eq!(tensor.dtype().bytes_of(tensor.shape()), Some(tensor.bytes().len()));
        if let Ok(values) = tensor.to_f32() {
            assert_eq!(values.len(), tensor.len());
        }
    }
    file.sha256();
    if let Ok(tokenizer) = WordPiece::from_gguf(&file) {
        encode(&tokenizer);
    }
    if let Ok(tokenizer) = Tokenizer::from_gguf(&metadata) {
        round_trip(&tokenizer);
    }
}

/// Reads the bytes as a tokenizer and uses it.
pub(crate) fn tokenizer_json(bytes: &[u8]) {
    if let Ok(tokenizer) = WordPiece::from_tokenizer_json(bytes) {
        encode(&tokenizer);
    }
    if let Ok(tokenizer) = Tokenizer::from_json(bytes) {
        round_trip(&tokenizer);
    }
}

fn round_trip(tokenizer: &Tokenizer) {
    let text = "Ünïcode, 漢字 and\u{302e}\u{301}\u{5c9} it's 1234 <|im_start|> </s>\r\n\n plain ▁words<0x0A>";
    for parse_special in [false, true] {
        let ids = tokenizer.encode(text, EncodeOptions { add_special: true, parse_special });
        assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary()));
        tokenizer.decode(&ids);
    }
    for id in tokenizer.eos_ids().iter().copied().chain(tokenizer.bos()).chain(tokenizer.pad()) {
        assert!(!tokenizer.token_bytes(id).is_empty() || (id as usize) < tokenizer.vocabulary());
    }
}

fn walk(value: Value<'_>) {
    if let Value::Array(array) = value {
        let mut count = 0;
        for value in array.iter() {
            walk(value);
            count += 1;
        }
        assert_eq!(count, array.len(), "a checked array has all its values");
    }
}

fn encode(tokenizer: &WordPiece) {
    let mut ids = Vec::new();
    tokenizer.encode("Ünïcode, 漢字 and\u{302e}\u{301} plain words", 16, &mut ids);
    assert!(ids.len() <= 16 && ids.iter().all(|id| *id < tokenizer.vocabulary_size()));
}
