//! Models in several files, and lists that lead elsewhere.

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
    assert!(shown.starts_with(&format!("this list of shards is not right: {message}")), "{shown}");
    assert!(!error.kind.hint().is_empty());
}

#[test]
fn a_folder_of_shards_is_one_model() {
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
fn one_whole_file_in_a_folder_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    shard(folder.path(), "model.safetensors", &["a"]);
    list(folder.path(), "{}");
    assert_eq!(WeightFile::open(folder.path()).unwrap().format(), Format::Safetensors);
}

#[test]
fn lists_and_shards_that_disagree_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    shard(at, "one", &["a"]);
    shard(at, "two", &["b"]);
    check(at, r#"{"a":"one","b":"one"}"#, "the list and the shard \"one\" disagree about the tensor \"b\"");
    check(
        at,
        r#"{"a":"one","b":"two","c":"two"}"#,
        "the list and the shard \"two\" disagree about the tensor \"c\"",
    );
    check(at, r#"{"b":"two","c":"one"}"#, "the list and the shard \"one\" disagree about the tensor \"a\"");
    check(
        at,
        r#"{"a":"one","a":"two"}"#,
        "the file is JSON, and no list of shards: the key \"a\" stands twice",
    );
    check(at, r#"{"a":"three"}"#, "cannot read the shard \"three\"");
    check(at, r#"{"a":3}"#, "the file is JSON, and no list of shards: invalid type: integer `3`");
    fs::write(at.join("pickle"), b"\x80\x02.").unwrap();
    check(at, r#"{"a":"pickle"}"#, "the shard \"pickle\" is no safetensors file");
    fs::write(at.join("short"), [9, 0, 0, 0, 0, 0, 0, 0, b'{']).unwrap();
    check(at, r#"{"a":"short"}"#, "the shard \"short\": the header has 9 bytes");
    let many: Vec<String> = (0..1025).map(|shard| format!("\"t{shard}\":\"s{shard}\"")).collect();
    check(at, &format!("{{{}}}", many.join(",")), "it names 1025 shards; at most 1024 are read");
    fs::write(at.join("model.safetensors.index.json"), "{\"a\":1}").unwrap();
    let shown = chain(&WeightFile::open(at).unwrap_err().kind);
    assert!(shown.contains("no list of shards: unknown field `a`"), "{shown}");
}

#[test]
fn no_list_leads_out_of_its_folder() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("model");
    fs::create_dir(&folder).unwrap();
    shard(outer.path(), "secret", &["a"]);
    let absolute = outer.path().join("secret").display().to_string();
    for path in ["../secret", "model/../../secret", &absolute, "..", ".", "", "..\\\\secret", "a\\u0000b"] {
        check(&folder, &format!(r#"{{"a":"{path}"}}"#), "the shard");
        let shown = chain(&WeightFile::open(&folder).unwrap_err().kind);
        assert!(shown.ends_with("is no plain file name"), "{path}: {shown}");
    }
    fs::create_dir(folder.join("inner")).unwrap();
    check(&folder, r#"{"a":"inner"}"#, "the shard \"inner\" is no file of the folder");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
        check(&folder, r#"{"a":"link"}"#, "the shard \"link\" is no file of the folder");
        shard(&folder, "own", &["a"]);
        std::os::unix::fs::symlink("own", folder.join("inside")).unwrap();
        list(&folder, r#"{"a":"inside"}"#);
        assert!(WeightFile::open(&folder).is_ok(), "a link that stays inside does no harm");
    }
}
