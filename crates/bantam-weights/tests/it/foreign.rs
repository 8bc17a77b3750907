//! Files of other formats, which are refused by name, and real files that must be readable.

use bantam_weights::{Dtype, Format, WeightFile, WordPiece};

use crate::support::{refused, shared};

#[test]
fn other_formats_are_named_regardless_of_the_file_name() {
    let check = |bytes: &[u8], message: &str| {
        let folder = tempfile::tempdir().unwrap();
        for name in ["model.safetensors", "model.gguf", "model.bin"] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let error = WeightFile::open(&path).unwrap_err();
            assert_eq!(error.kind.to_string(), message);
            assert_eq!(error.path, path);
        }
        assert_eq!(refused(bytes).0, message);
    };
    check(b"", "the file is empty");
    check(b"\x80\x02}q\x00.", "the file is a Python pickle");
    check(b"\x80\x05\x95\x10\0\0\0\0\0\0\0", "the file is a Python pickle");
    check(b"cos\nsystem\n(S'true'\ntR.", "the file is a Python pickle");
    check(b"(lp0\nI1\na.", "the file is a Python pickle");
    let zip = b"PK\x03\x04\x14\0\0\0\0\0archive/data.pkl";
    check(zip, "the file is a PyTorch checkpoint, a zip archive with a Python pickle inside");
    check(b"PK\x03\x04\x14\0\0\0\0\0arr_0.npy", "the file is a zip archive");
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    check(&tar, "the file is a tar archive");
    check(b"tjgg\x03\0\0\0", "the file is in a llama.cpp format older than GGUF");
    check(b"\x89HDF\r\n\x1a\n", "the file is HDF5, a format of Keras");
    check(b"\x08\x07\x12\x07pytorch", "the file looks like ONNX");
    check(b"\x1c\0\0\0TFL3", "the file is TensorFlow Lite");
    check(b"\x93NUMPY\x01\0", "the file is a NumPy array");
    check(b"\x1f\x8b\x08\0", "the file is a gzip archive");
    check(b"\x7fELF\x02", "the file is an executable");
    check(
        b"version https://git-lfs.github.com/spec/v1\n",
        "the file is a Git LFS pointer, not the file it points to",
    );
    check(b"<!DOCTYPE html>", "the file is a web page");
    check(b"GGU", "the file is neither GGUF nor safetensors");
    check(&[0; 64], "the file is neither GGUF nor safetensors");
}

#[test]
fn unreadable_paths_are_refused_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let kind = |path| WeightFile::open(path).unwrap_err().kind.to_string();
    assert_eq!(kind(folder.path().join("absent")), "cannot read the file");
    let message = "the folder has neither model.safetensors nor model.safetensors.index.json";
    assert_eq!(kind(folder.path().to_owned()), message);
    #[cfg(unix)]
    assert_eq!(kind("/dev/null".into()), "not a regular file");
}

#[test]
fn a_real_decoder_is_read() {
    let Some(path) = shared("models/stories260Ktok512.gguf") else { return };
    let file = WeightFile::open(path).unwrap();
    assert_eq!(file.format(), Format::Gguf { version: 3 });
    assert_eq!(file.tensors().len(), 48);
    let metadata = file.metadata();
    assert_eq!(metadata.text("general.architecture"), Some("llama"));
    assert_eq!(metadata.u32("llama.block_count"), Some(5));
    assert!((metadata.f32("llama.attention.layer_norm_rms_epsilon").unwrap() - 1e-5).abs() < 1e-9);
    assert_eq!(metadata.texts("tokenizer.ggml.tokens").unwrap().len(), 512);
    let embedding = file.require("token_embd.weight", &[512, 64]).unwrap();
    assert_eq!(embedding.dtype(), Dtype::F32);
    assert!(embedding.to_f32().unwrap().iter().all(|value| value.abs() < 10.0));
    let error = file.require("token_embd.weight", &[64, 512]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor \"token_embd.weight\" has shape [512, 64]; the model needs [64, 512]"
    );
    let error = WordPiece::from_gguf(&file).unwrap_err();
    assert_eq!(error.to_string(), "the tokenizer's model \"llama\" is not supported");
}

#[test]
fn real_vocabularies_are_read() {
    for (name, tokens) in [("bert-bge", 30_522), ("gpt-2", 50_257), ("llama-spm", 32_000), ("phi-3", 32_064)]
    {
        let Some(path) = shared(&format!("tokenizers/ggml-vocab-{name}.gguf")) else { continue };
        let file = WeightFile::open(path).unwrap();
        assert_eq!(file.metadata().texts("tokenizer.ggml.tokens").unwrap().count(), tokens, "{name}");
        assert_eq!(file.tensors().len(), 0);
    }
}
