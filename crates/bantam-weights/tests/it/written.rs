//! Written files are readable, and writes are atomic.

use std::fs;
use std::time::{Duration, SystemTime};

use bantam_weights::{
    Dtype, MappedFile, NewTensor, NewValue, PlannedTensor, WeightFile, quantise, write_file, write_gguf,
    write_gguf_planned, write_safetensors,
};
use proptest::prelude::*;

use crate::support::chain;

const DTYPES: [Dtype; 4] = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::Q8_0];

/// Random tensors: name, type, shape, bytes.
fn tensors(with_blocks: bool) -> impl Strategy<Value = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>> {
    let one = (0..if with_blocks { 4usize } else { 3 }, 1..4usize, 1..3usize, any::<u32>());
    proptest::collection::vec(one, 0..6).prop_map(|list| {
        let make = |(index, (dtype, rows, blocks, seed)): (usize, (usize, usize, usize, u32))| {
            let shape = vec![rows, blocks * 32];
            let values: Vec<f32> =
                (0..rows * blocks * 32).map(|at| (at as f32 * 0.37 + seed as f32).sin()).collect();
            let bytes = quantise(DTYPES[dtype], &values).unwrap();
            (format!("layer.{index}"), DTYPES[dtype], shape, bytes)
        };
        list.into_iter().enumerate().map(make).collect()
    })
}

fn borrowed(tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<NewTensor<'_>> {
    let new = |(name, dtype, shape, bytes)| NewTensor { name, dtype, shape, bytes };
    tensors.iter().map(|(name, dtype, shape, bytes)| new((name.as_str(), *dtype, shape, bytes))).collect()
}

fn check_same(file: &WeightFile, tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]) {
    assert_eq!(file.tensors().len(), tensors.len());
    for (name, dtype, shape, bytes) in tensors {
        let found = file.tensor(name).unwrap();
        assert_eq!((found.dtype(), found.shape(), found.bytes()), (*dtype, &shape[..], &bytes[..]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn written_safetensors_are_readable(tensors in tensors(false)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let hash = write_safetensors(&path, &[("k", "v\"\n")], &borrowed(&tensors)).unwrap();
        let file = WeightFile::open(&path).unwrap();
        check_same(&file, &tensors);
        assert_eq!(file.sha256(), hash);
        assert_eq!(file.metadata().text("k"), Some("v\"\n"));
        let mut reversed = borrowed(&tensors);
        reversed.reverse();
        assert_eq!(write_safetensors(folder.path().join("b"), &[("k", "v\"\n")], &reversed).unwrap(), hash);
    }

    #[test]
    fn written_gguf_is_readable(tensors in tensors(true), number: u32, text: String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let metadata = [
            ("u32", NewValue::U32(number)),
            ("u64", NewValue::U64(u64::from(number) << 20)),
            ("i32", NewValue::I32(-5)),
            ("f32", NewValue::F32(0.25)),
            ("bool", NewValue::Bool(true)),
            ("text", NewValue::Text(&text)),
            ("texts", NewValue::Texts(&["a", &text])),
            ("i32s", NewValue::I32s(&[1, -1])),
            ("f32s", NewValue::F32s(&[0.5])),
        ];
        let hash = write_gguf(&path, &metadata, &borrowed(&tensors)).unwrap();
        let file = WeightFile::open(&path).unwrap();
        check_same(&file, &tensors);
        assert_eq!(file.sha256(), hash);
        let metadata = file.metadata();
        assert_eq!(metadata.u32("u32"), Some(number));
        assert_eq!(metadata.u64("u64"), Some(u64::from(number) << 20));
        assert_eq!(metadata.text("text"), Some(text.as_str()));
        assert_eq!(metadata.texts("texts").unwrap().collect::<Vec<_>>(), ["a", &text]);
        assert_eq!(metadata.array("f32s").unwrap().len(), 1);
    }
}

#[test]
fn files_that_readers_would_refuse_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let good = NewTensor { name: "a", dtype: Dtype::U8, shape: &[2], bytes: &[1, 2] };
    let safetensors = |metadata: &[(&str, &str)], tensors: &[NewTensor<'_>]| {
        chain(&write_safetensors(&path, metadata, tensors).unwrap_err().kind)
    };
    let gguf = |metadata: &[(&str, NewValue<'_>)], tensors: &[NewTensor<'_>]| {
        chain(&write_gguf(&path, metadata, tensors).unwrap_err().kind)
    };
    assert_eq!(safetensors(&[], &[good, good]), "tensor \"a\": the name appears twice");
    let short = NewTensor { bytes: &[1], ..good };
    assert_eq!(safetensors(&[], &[short]), "tensor \"a\": it has 1 bytes; its type and shape need 2");
    let own = NewTensor { name: "__metadata__", ..good };
    assert_eq!(safetensors(&[], &[own]), "tensor \"__metadata__\": the name appears twice");
    let quantised = NewTensor { dtype: Dtype::Q8_0, ..good };
    assert_eq!(safetensors(&[], &[quantised]), "tensor \"a\": its type Q8_0 is not supported");
    assert_eq!(safetensors(&[("k", "1"), ("k", "2")], &[]), "the key \"k\" is empty, reserved or duplicated");
    assert_eq!(gguf(&[], &[good]), "tensor \"a\": its type U8 is not supported");
    let reserved = [("general.alignment", NewValue::U32(64))];
    assert_eq!(gguf(&reserved, &[]), "the key \"general.alignment\" is empty, reserved or duplicated");
    let zero = NewTensor { dtype: Dtype::F32, shape: &[0, 2], bytes: &[], ..good };
    assert_eq!(gguf(&[], &[zero]), "tensor \"a\": dimension 1 is zero");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_failed_write_leaves_the_previous_content() {
    let folder = tempfile::tempdir().unwrap();
    // A non-empty folder cannot be replaced by a file, so the last step fails.
    let path = folder.path().join("occupied");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("kept"), b"kept").unwrap();
    assert!(write_safetensors(&path, &[], &[]).is_err());
    assert_eq!(fs::read(path.join("kept")).unwrap(), b"kept");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no temporary file is left");
    let missing = folder.path().join("absent/a");
    assert!(write_gguf(&missing, &[], &[]).unwrap_err().to_string().starts_with("write the weights"));
}

#[test]
fn an_open_file_keeps_its_content_when_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let tensor = |bytes| NewTensor { name: "a", dtype: Dtype::U8, shape: &[2], bytes };
    write_safetensors(&path, &[], &[tensor(&[1, 2])]).unwrap();
    let before = WeightFile::open(&path).unwrap();
    write_safetensors(&path, &[], &[tensor(&[3, 4])]).unwrap();
    assert_eq!(before.tensor("a").unwrap().bytes(), [1, 2]);
    assert_eq!(WeightFile::open(&path).unwrap().tensor("a").unwrap().bytes(), [3, 4]);
}

#[test]
fn any_file_is_written_completely_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    write_file(&path, |sink| sink.write_all(b"first")).unwrap();
    let mapped = MappedFile::open(&path).unwrap();
    let failed = write_file(&path, |sink| {
        sink.write_all(b"half of")?;
        Err(std::io::Error::other("no more"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "no more");
    assert_eq!(fs::read(&path).unwrap(), b"first");
    write_file(&path, |sink| sink.write_all(b"second")).unwrap();
    assert_eq!((mapped.as_ref(), MappedFile::open(&path).unwrap().as_ref()), (&b"first"[..], &b"second"[..]));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(MappedFile::open(folder.path()).is_err());
}

#[test]
fn the_fingerprint_changes_with_content_length_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let fingerprint = |numbers: &[f32], time: u64| {
        let bytes = quantise(Dtype::F32, numbers).unwrap();
        let tensor = NewTensor { name: "x", dtype: Dtype::F32, shape: &[numbers.len()], bytes: &bytes };
        write_safetensors(&path, &[], &[tensor]).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        WeightFile::open(&path).unwrap().fingerprint()
    };
    let first = fingerprint(&[1.0, 2.0], 7);
    assert_eq!(fingerprint(&[1.0, 2.0], 7), first);
    assert_ne!(fingerprint(&[1.0, 3.0], 7), first);
    assert_ne!(fingerprint(&[1.0, 2.0, 3.0], 7), first);
    assert_ne!(fingerprint(&[1.0, 2.0], 8), first);
}

#[test]
fn planned_and_direct_writes_give_the_same_file_and_raw_keys_are_copied_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let [once, planned, again] = ["once", "planned", "again"].map(|name| folder.path().join(name));
    let (texts, numbers) = (["a", "b"], [1, -2, 3]);
    let metadata = [
        ("k.text", NewValue::Text("x")),
        ("k.texts", NewValue::Texts(&texts)),
        ("k.numbers", NewValue::I32s(&numbers)),
        ("k.flag", NewValue::Bool(true)),
    ];
    let bytes: Vec<u8> = (0..32).collect();
    let tensor = NewTensor { name: "t", dtype: Dtype::F32, shape: &[2, 4], bytes: &bytes };
    write_gguf(&once, &metadata, &[tensor]).unwrap();
    let plan = PlannedTensor { name: "t".to_owned(), dtype: Dtype::F32, shape: vec![2, 4] };
    write_gguf_planned(&planned, &metadata, std::slice::from_ref(&plan), |_| Ok(bytes.clone())).unwrap();
    assert_eq!(fs::read(&once).unwrap(), fs::read(&planned).unwrap());
    let file = WeightFile::open(&once).unwrap();
    let from = file.metadata();
    let copied: Vec<(&str, NewValue<'_>)> =
        metadata.iter().map(|(key, _)| (*key, NewValue::Raw(from.raw(key).unwrap()))).collect();
    write_gguf_planned(&again, &copied, std::slice::from_ref(&plan), |_| Ok(bytes.clone())).unwrap();
    assert_eq!(fs::read(&once).unwrap(), fs::read(&again).unwrap());
}

#[test]
fn a_planned_write_that_fails_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let plan = |name: &str, shape: &[usize]| PlannedTensor {
        name: name.to_owned(),
        dtype: Dtype::Q8_0,
        shape: shape.to_vec(),
    };
    let short = write_gguf_planned(&path, &[], &[plan("t", &[32])], |_| Ok(vec![0; 3]));
    let failed = write_gguf_planned(&path, &[], &[plan("t", &[32])], |_| Err(std::io::Error::other("no")));
    assert!(short.is_err() && failed.is_err());
    for plans in [vec![plan("t", &[32]), plan("t", &[32])], vec![plan("t", &[33])], vec![plan("", &[32])]] {
        assert!(write_gguf_planned(&path, &[], &plans, |_| Ok(vec![0; 34])).is_err());
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
