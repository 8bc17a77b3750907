//! Sharded models, and indices that point elsewhere.

use std::fs;
use std::path::Path;

use bantam_weights::{Dtype, Format, NewTensor, WeightFile, write_safetensors};

use crate::support::chain;

fn shard(folder: &Path, name: &str, tensors: &[&str]) {
    let tensors: Vec<NewTensor<'_>> = tensors
        .iter()
        .map(|name| NewTensor { name, dtype: Dtype::U8, shape: &[2], bytes: &[1, 2] })
        .collect();
    write_safetensors(folder.join(name), &[("format", "pt")], &tensors).unwrap();
}

fn list(folder: &Path, map: &str) {
    let text = format!(r#"{{"metadata":{{"total_size":6}},"weight_map":{map}}}"#);
    fs::write(folder.join("model.safetensors.index.json"), text).unwrap();
}

#[track_caller]
fn check(folder: &Path, map: &str, message: &str) {
    list(folder, map);
    let error = WeightFile::open(folder).unwrap_err();
    let shown = chain(&error.kind);
    assert!(shown.starts_with(&format!("invalid shard index: {message}")), "{shown}");
    assert!(!error.kind.hint().is_empty());
}

#[test]
fn a_folder_of_shards_opens_as_one_model() {
    let folder = tempfile::tempdir().unwrap();
    shard(folder.path(), "one", &["a", "c"]);
    shard(folder.path(), "two", &["b"]);
    list(folder.path(), r#"{"a":"one","b":"two","c":"one"}"#);
    let file = WeightFile::open(folder.path()).unwrap();
    assert_eq!(file.format(), Format::ShardedSafetensors { shards: 2 });
    let names: Vec<&str> = file.tensors().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "c", "b"]);
    assert_eq!(file.tensor("b").unwrap().bytes(), [1, 2]);
    assert_eq!(file.metadata().text("format"), Some("pt"));
    let hash = file.sha256();
    let again = WeightFile::open(folder.path().join("model.safetensors.index.json")).unwrap();
    assert_eq!(again.sha256(), hash);
    shard(folder.path(), "two", &["b", "d"]);
    list(folder.path(), r#"{"a":"one","b":"two","c":"one","d":"two"}"#);
    assert_ne!(WeightFile::open(folder.path()).unwrap().sha256(), hash);
}

#[test]
fn a_single_file_is_preferred_to_a_shard_index() {
    let folder = tempfile::tempdir().unwrap();
    shard(folder.path(), "model.safetensors", &["a"]);
    list(folder.path(), "{}");
    assert_eq!(WeightFile::open(folder.path()).unwrap().format(), Format::Safetensors);
}

#[test]
fn disagreements_between_index_and_shards_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    shard(at, "one", &["a"]);
    shard(at, "two", &["b"]);
    check(at, r#"{"a":"one","b":"one"}"#, "the index and shard \"one\" disagree about tensor \"b\"");
    check(
        at,
        r#"{"a":"one","b":"two","c":"two"}"#,
        "the index and shard \"two\" disagree about tensor \"c\"",
    );
    check(at, r#"{"b":"two","c":"one"}"#, "the index and shard \"one\" disagree about tensor \"a\"");
    check(
        at,
        r#"{"a":"one","a":"two"}"#,
        "the file is JSON but not a shard index: the key \"a\" appears twice",
    );
    check(at, r#"{"a":"three"}"#, "cannot read shard \"three\"");
    check(at, r#"{"a":3}"#, "the file is JSON but not a shard index: invalid type: integer `3`");
    fs::write(at.join("pickle"), b"\x80\x02.").unwrap();
    check(at, r#"{"a":"pickle"}"#, "shard \"pickle\" is not a safetensors file");
    fs::write(at.join("short"), [9, 0, 0, 0, 0, 0, 0, 0, b'{']).unwrap();
    check(at, r#"{"a":"short"}"#, "shard \"short\": the header is 9 bytes long");
    let many: Vec<String> = (0..1025).map(|shard| format!("\"t{shard}\":\"s{shard}\"")).collect();
    check(at, &format!("{{{}}}", many.join(",")), "it names 1025 shards; the limit is 1024");
    fs::write(at.join("model.safetensors.index.json"), "{\"a\":1}").unwrap();
    let shown = chain(&WeightFile::open(at).unwrap_err().kind);
    assert!(shown.contains("not a shard index: unknown field `a`"), "{shown}");
}

#[test]
fn no_index_leads_out_of_its_folder() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("model");
    fs::create_dir(&folder).unwrap();
    shard(outer.path(), "secret", &["a"]);
    let absolute = outer.path().join("secret").display().to_string();
    for path in ["../secret", "model/../../secret", &absolute, "..", ".", "", "..\\\\secret", "a\\u0000b"] {
        check(&folder, &format!(r#"{{"a":"{path}"}}"#), "shard");
        let shown = chain(&WeightFile::open(&folder).unwrap_err().kind);
        assert!(shown.ends_with("is not a plain file name"), "{path}: {shown}");
    }
    fs::create_dir(folder.join("inner")).unwrap();
    check(&folder, r#"{"a":"inner"}"#, "shard \"inner\" is not a file in the folder");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
        check(&folder, r#"{"a":"link"}"#, "shard \"link\" is not a file in the folder");
        shard(&folder, "own", &["a"]);
        std::os::unix::fs::symlink("own", folder.join("inside")).unwrap();
        list(&folder, r#"{"a":"inside"}"#);
        assert!(WeightFile::open(&folder).is_ok(), "a link within the folder is accepted");
    }
}
