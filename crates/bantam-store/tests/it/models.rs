use std::fs;
use std::path::PathBuf;

use bantam_store::{ImportError, InspectError, Measurement, ModelName, ResolveError, Store};
use tempfile::TempDir;

use crate::tiny_model;

/// A store, and a tiny model outside it.
struct Fixture {
    folder: TempDir,
    store: Store,
    model: PathBuf,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model::write(folder.path());
    let store = Store::open(folder.path().join("store"));
    Fixture { folder, store, model }
}

fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

impl Fixture {
    fn import(&self, called: &str) -> Result<bantam_store::Added, ImportError> {
        self.store.import(&self.model, &name(called), false, &mut |_| ())
    }

    fn names(&self) -> Vec<String> {
        self.store.list().unwrap().models.iter().map(|entry| entry.name.to_string()).collect()
    }

    /// Number of blobs, of staging folders and of trees.
    fn counts(&self) -> [usize; 3] {
        ["blobs", "incoming", "trees"]
            .map(|part| fs::read_dir(self.store.root().join(part)).map_or(0, Iterator::count))
    }
}

#[test]
fn an_imported_model_is_listed_resolves_and_opens() {
    let fixture = fixture();
    let added = fixture.import("smol").unwrap();
    assert!(!added.was_there && !added.has_replaced);
    let entry = fixture.store.resolve(&name("SMOL")).unwrap();
    assert_eq!(entry.name.to_string(), "smol:latest");
    assert_eq!(fs::read(&entry.path).unwrap(), fs::read(&fixture.model).unwrap());
    assert_eq!(bantam_store::inspect(&entry.path).unwrap(), entry.manifest.about);
    assert_eq!(entry.manifest.about.architecture, "llama");
    assert_eq!(fixture.counts(), [1, 0, 1]);
    assert!(fs::metadata(&entry.path).unwrap().permissions().readonly());
}

#[test]
fn a_model_that_goes_while_a_copy_waits_is_not_copied() {
    let fixture = fixture();
    fixture.import("one").unwrap();
    let lock = fs::File::options().append(true).open(fixture.store.root().join("lock")).unwrap();
    lock.lock().unwrap();
    let copied = std::thread::scope(|scope| {
        let copying = scope.spawn(|| fixture.store.copy(&name("one"), &name("two")));
        // What resolves before it waits has resolved by now.
        std::thread::sleep(std::time::Duration::from_millis(200));
        for part in ["manifests", "blobs", "trees"] {
            fs::remove_dir_all(fixture.store.root().join(part)).unwrap();
        }
        drop(lock);
        copying.join().unwrap()
    });
    assert!(matches!(copied, Err(ImportError::Resolve(ResolveError::Missing { .. }))), "{copied:?}");
    assert!(fixture.names().is_empty());
}

#[test]
fn a_new_store_is_for_its_owner_alone_and_one_that_is_shared_stays_so() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = fixture();
    fixture.import("one").unwrap();
    let mode = || fs::metadata(fixture.store.root()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o700);
    fs::set_permissions(fixture.store.root(), fs::Permissions::from_mode(0o755)).unwrap();
    fixture.import("two").unwrap();
    assert_eq!(mode(), 0o755);
}

#[test]
fn two_names_share_files_until_the_last_is_removed() {
    let fixture = fixture();
    fixture.import("one").unwrap();
    fixture.store.copy(&name("one"), &name("two:x")).unwrap();
    assert_eq!(fixture.names(), ["one:latest", "two:x"]);
    assert_eq!(fixture.counts(), [1, 0, 1]);
    assert_eq!(fixture.store.remove(&name("one")).unwrap().freed_bytes, 0);
    assert!(fixture.store.resolve(&name("two")).is_ok());
    let bytes = fs::metadata(&fixture.model).unwrap().len();
    assert_eq!(fixture.store.remove(&name("two")).unwrap().freed_bytes, bytes);
    assert_eq!(fixture.counts(), [0, 0, 0]);
    assert!(fixture.model.exists());
}

#[test]
fn a_taken_name_is_kept_unless_replacement_is_requested() {
    let fixture = fixture();
    fixture.import("smol").unwrap();
    assert!(fixture.import("smol").unwrap().was_there);
    let other = fixture.folder.path().join("other.gguf");
    let mut bytes = fs::read(&fixture.model).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&other, bytes).unwrap();
    let error = fixture.store.import(&other, &name("smol"), false, &mut |_| ()).unwrap_err();
    assert!(matches!(error, ImportError::Exists { .. }), "{error}");
    assert_eq!(fixture.counts(), [1, 0, 1]);
    let added = fixture.store.import(&other, &name("smol"), true, &mut |_| ()).unwrap();
    assert!(added.has_replaced);
    assert_eq!(fixture.counts(), [1, 0, 1]);
}

#[test]
fn a_missing_model_gets_suggestions_and_no_substitute() {
    let fixture = fixture();
    fixture.import("smollm:q8").unwrap();
    let error = fixture.store.resolve(&name("smolm")).unwrap_err();
    assert!(matches!(&error, ResolveError::Missing { nearest, .. } if *nearest == ["smollm:q8"]), "{error}");
    let error = fixture.store.resolve(&name("gemma")).unwrap_err();
    assert!(error.hint().contains("pull it from the hub"), "{}", error.hint());
    assert!(fixture.store.resolve(&name("smollm:q4")).is_err());
    fixture.store.copy(&name("smollm"), &name("smollm:q5")).unwrap();
    let error = fixture.store.resolve(&name("smollm")).unwrap_err();
    assert!(matches!(&error, ResolveError::Ambiguous { variants, .. } if variants.len() == 2), "{error}");
}

#[test]
fn a_model_that_cannot_run_is_refused_with_its_reason() {
    let fixture = fixture();
    let bytes = fs::read(&fixture.model).unwrap();
    let case = |file: &str, bytes: &[u8], expected: &str| {
        let path = fixture.folder.path().join(file);
        fs::write(&path, bytes).unwrap();
        let error = fixture.store.import(&path, &name("x"), false, &mut |_| ()).unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        assert!(text.contains(expected), "{file}: {text}");
        assert!(!error.hint().is_empty());
    };
    case("cut.gguf", &bytes[..bytes.len() / 2], "invalid");
    case("text.gguf", b"hello", "neither GGUF nor safetensors");
    case("page.gguf", b"<!doctype html>", "web page");
    case("model.bin", &bytes, "pickle");
    case("pickle.gguf", b"\x80\x04\x95abc.", "pickle");
    let at = bytes.windows(5).position(|window| window == b"llama").unwrap();
    let mut alien = bytes;
    alien[at..at + 5].copy_from_slice(b"alien");
    case("alien.gguf", &alien, "`alien`");
    let gone = fixture.store.import(&fixture.folder.path().join("gone"), &name("x"), false, &mut |_| ());
    assert!(matches!(gone, Err(ImportError::Inspect(InspectError::Missing { .. }))));
    assert_eq!(fixture.counts(), [0, 0, 0]);
    assert!(fixture.names().is_empty());
}

#[test]
fn remains_of_interrupted_changes_are_swept_but_running_ones_are_not() {
    let fixture = fixture();
    fixture.import("smol").unwrap();
    let root = fixture.store.root();
    fs::write(root.join("blobs/sha256-orphan"), b"x").unwrap();
    let left = root.join("incoming/left");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("lock"), b"").unwrap();
    let working = root.join("incoming/working");
    fs::create_dir_all(&working).unwrap();
    let lock = fs::File::create(working.join("lock")).unwrap();
    lock.lock().unwrap();
    fixture.store.copy(&name("smol"), &name("other")).unwrap();
    fixture.store.remove(&name("other")).unwrap();
    assert_eq!(fixture.counts(), [1, 1, 1]);
    assert!(working.exists() && !left.exists());
    assert!(fixture.store.resolve(&name("smol")).is_ok());
}

#[test]
fn no_file_is_deleted_while_a_damaged_manifest_remains() {
    let fixture = fixture();
    fixture.import("smol").unwrap();
    fixture.store.copy(&name("smol"), &name("other")).unwrap();
    fs::write(fixture.store.root().join("manifests/smol/latest.json"), b"{").unwrap();
    let listing = fixture.store.list().unwrap();
    assert_eq!((listing.models.len(), listing.damaged.len()), (1, 1));
    assert!(fixture.store.resolve(&name("smol")).is_err());
    fixture.store.remove(&name("other")).unwrap();
    assert_eq!(fixture.counts()[0], 1);
    fixture.store.remove(&name("smol")).unwrap();
    assert_eq!(fixture.counts(), [0, 0, 0]);
}

#[test]
fn missing_links_are_recreated_and_a_missing_blob_is_reported() {
    let fixture = fixture();
    fixture.import("smol").unwrap();
    fs::remove_dir_all(fixture.store.root().join("trees")).unwrap();
    let entry = fixture.store.resolve(&name("smol")).unwrap();
    assert!(entry.path.exists());
    fs::remove_dir_all(fixture.store.root().join("blobs")).unwrap();
    let error = fixture.store.resolve(&name("smol")).unwrap_err();
    assert!(matches!(error, ResolveError::Store(_)), "{error}");
    fixture.store.remove(&name("smol")).unwrap();
    assert!(fixture.names().is_empty());
}

#[test]
fn measurements_are_kept_and_removed_with_the_model() {
    let fixture = fixture();
    let entry = fixture.import("smol").unwrap().entry;
    let one = Measurement {
        at_s: 1,
        threads: 2,
        prefill_tokens_per_s: 3.0,
        decode_tokens_per_s: 4.0,
        by: "bench".to_owned(),
    };
    fixture.store.record(&entry, one.clone()).unwrap();
    assert_eq!(fixture.store.measurements(&entry), [one]);
    fixture.store.remove(&name("smol")).unwrap();
    assert!(fixture.store.measurements(&entry).is_empty());
}

#[test]
fn a_folder_with_only_pickles_is_refused() {
    let fixture = fixture();
    let folder = fixture.folder.path().join("hf");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), r#"{"model_type":"llama"}"#).unwrap();
    fs::write(folder.join("pytorch_model.bin"), b"PK\x03\x04").unwrap();
    let error = fixture.store.import(&folder, &name("hf"), false, &mut |_| ()).unwrap_err();
    assert!(matches!(error, ImportError::Inspect(_)), "{error}");
    assert_eq!(fixture.counts(), [0, 0, 0]);
}
