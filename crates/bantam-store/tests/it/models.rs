use std::fs;
use std::path::PathBuf;

use bantam_store::{ImportError, InspectError, Measurement, ModelName, ResolveError, Store};
use tempfile::TempDir;

use crate::tiny_model;

/// A store, and a folder with a tiny model in it.
struct Place {
    folder: TempDir,
    store: Store,
    model: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model::write(folder.path());
    let store = Store::open(folder.path().join("store"));
    Place { folder, store, model }
}

fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

impl Place {
    fn import(&self, called: &str) -> Result<bantam_store::Added, ImportError> {
        self.store.import(&self.model, &name(called), false, &mut |_| ())
    }

    fn names(&self) -> Vec<String> {
        self.store.list().unwrap().models.iter().map(|entry| entry.name.to_string()).collect()
    }

    /// Files among the blobs, on their way in, and as trees.
    fn counts(&self) -> [usize; 3] {
        ["blobs", "incoming", "trees"]
            .map(|part| fs::read_dir(self.store.root().join(part)).map_or(0, Iterator::count))
    }
}

#[test]
fn an_imported_model_is_listed_resolved_and_openable() {
    let place = place();
    let added = place.import("smol").unwrap();
    assert!(!added.was_there && !added.has_replaced);
    let entry = place.store.resolve(&name("SMOL")).unwrap();
    assert_eq!(entry.name.to_string(), "smol:latest");
    assert_eq!(fs::read(&entry.path).unwrap(), fs::read(&place.model).unwrap());
    assert_eq!(bantam_store::inspect(&entry.path).unwrap(), entry.manifest.about);
    assert_eq!(entry.manifest.about.architecture, "llama");
    assert_eq!(place.counts(), [1, 0, 1]);
    assert!(fs::metadata(&entry.path).unwrap().permissions().readonly());
}

#[test]
fn a_model_that_goes_while_a_copy_waits_is_not_copied() {
    let place = place();
    place.import("one").unwrap();
    let lock = fs::File::options().append(true).open(place.store.root().join("lock")).unwrap();
    lock.lock().unwrap();
    let copied = std::thread::scope(|scope| {
        let copying = scope.spawn(|| place.store.copy(&name("one"), &name("two")));
        // What resolves before it waits has resolved by now.
        std::thread::sleep(std::time::Duration::from_millis(200));
        for part in ["manifests", "blobs", "trees"] {
            fs::remove_dir_all(place.store.root().join(part)).unwrap();
        }
        drop(lock);
        copying.join().unwrap()
    });
    assert!(matches!(copied, Err(ImportError::Resolve(ResolveError::Missing { .. }))), "{copied:?}");
    assert!(place.names().is_empty());
}

#[test]
fn a_new_store_is_for_its_owner_alone_and_one_that_is_shared_stays_so() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    place.import("one").unwrap();
    let mode = || fs::metadata(place.store.root()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o700);
    fs::set_permissions(place.store.root(), fs::Permissions::from_mode(0o755)).unwrap();
    place.import("two").unwrap();
    assert_eq!(mode(), 0o755);
}

#[test]
fn two_names_share_bytes_which_go_with_the_last() {
    let place = place();
    place.import("one").unwrap();
    place.store.copy(&name("one"), &name("two:x")).unwrap();
    assert_eq!(place.names(), ["one:latest", "two:x"]);
    assert_eq!(place.counts(), [1, 0, 1]);
    assert_eq!(place.store.remove(&name("one")).unwrap().freed_bytes, 0);
    assert!(place.store.resolve(&name("two")).is_ok());
    let bytes = fs::metadata(&place.model).unwrap().len();
    assert_eq!(place.store.remove(&name("two")).unwrap().freed_bytes, bytes);
    assert_eq!(place.counts(), [0, 0, 0]);
    assert!(place.model.exists());
}

#[test]
fn a_name_that_stands_for_another_model_is_kept_unless_it_is_replaced() {
    let place = place();
    place.import("smol").unwrap();
    assert!(place.import("smol").unwrap().was_there);
    let other = place.folder.path().join("other.gguf");
    let mut bytes = fs::read(&place.model).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&other, bytes).unwrap();
    let error = place.store.import(&other, &name("smol"), false, &mut |_| ()).unwrap_err();
    assert!(matches!(error, ImportError::Exists { .. }), "{error}");
    assert_eq!(place.counts(), [1, 0, 1]);
    let added = place.store.import(&other, &name("smol"), true, &mut |_| ()).unwrap();
    assert!(added.has_replaced);
    assert_eq!(place.counts(), [1, 0, 1]);
}

#[test]
fn a_missing_model_has_near_names_and_is_never_another() {
    let place = place();
    place.import("smollm:q8").unwrap();
    let error = place.store.resolve(&name("smolm")).unwrap_err();
    assert!(matches!(&error, ResolveError::Missing { nearest, .. } if *nearest == ["smollm:q8"]), "{error}");
    let error = place.store.resolve(&name("gemma")).unwrap_err();
    assert!(error.hint().contains("pull it from the hub"), "{}", error.hint());
    assert!(place.store.resolve(&name("smollm:q4")).is_err());
    place.store.copy(&name("smollm"), &name("smollm:q5")).unwrap();
    let error = place.store.resolve(&name("smollm")).unwrap_err();
    assert!(matches!(&error, ResolveError::Ambiguous { variants, .. } if variants.len() == 2), "{error}");
}

#[test]
fn what_cannot_run_does_not_enter_and_is_named() {
    let place = place();
    let bytes = fs::read(&place.model).unwrap();
    let case = |file: &str, bytes: &[u8], expected: &str| {
        let path = place.folder.path().join(file);
        fs::write(&path, bytes).unwrap();
        let error = place.store.import(&path, &name("x"), false, &mut |_| ()).unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        assert!(text.contains(expected), "{file}: {text}");
        assert!(!error.hint().is_empty());
    };
    case("cut.gguf", &bytes[..bytes.len() / 2], "not right");
    case("text.gguf", b"hello", "neither GGUF nor safetensors");
    case("page.gguf", b"<!doctype html>", "web page");
    case("model.bin", &bytes, "pickle");
    case("pickle.gguf", b"\x80\x04\x95abc.", "pickle");
    let at = bytes.windows(5).position(|window| window == b"llama").unwrap();
    let mut alien = bytes;
    alien[at..at + 5].copy_from_slice(b"alien");
    case("alien.gguf", &alien, "`alien`");
    let gone = place.store.import(&place.folder.path().join("gone"), &name("x"), false, &mut |_| ());
    assert!(matches!(gone, Err(ImportError::Inspect(InspectError::Missing { .. }))));
    assert_eq!(place.counts(), [0, 0, 0]);
    assert!(place.names().is_empty());
}

#[test]
fn what_a_broken_off_change_left_is_swept_and_what_is_under_way_is_not() {
    let place = place();
    place.import("smol").unwrap();
    let root = place.store.root();
    fs::write(root.join("blobs/sha256-orphan"), b"x").unwrap();
    let left = root.join("incoming/left");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("lock"), b"").unwrap();
    let working = root.join("incoming/working");
    fs::create_dir_all(&working).unwrap();
    let lock = fs::File::create(working.join("lock")).unwrap();
    lock.lock().unwrap();
    place.store.copy(&name("smol"), &name("other")).unwrap();
    place.store.remove(&name("other")).unwrap();
    assert_eq!(place.counts(), [1, 1, 1]);
    assert!(working.exists() && !left.exists());
    assert!(place.store.resolve(&name("smol")).is_ok());
}

#[test]
fn a_damaged_manifest_keeps_every_file_until_it_is_removed() {
    let place = place();
    place.import("smol").unwrap();
    place.store.copy(&name("smol"), &name("other")).unwrap();
    fs::write(place.store.root().join("manifests/smol/latest.json"), b"{").unwrap();
    let listing = place.store.list().unwrap();
    assert_eq!((listing.models.len(), listing.damaged.len()), (1, 1));
    assert!(place.store.resolve(&name("smol")).is_err());
    place.store.remove(&name("other")).unwrap();
    assert_eq!(place.counts()[0], 1);
    place.store.remove(&name("smol")).unwrap();
    assert_eq!(place.counts(), [0, 0, 0]);
}

#[test]
fn a_model_whose_file_is_gone_says_so_and_its_links_grow_again() {
    let place = place();
    place.import("smol").unwrap();
    fs::remove_dir_all(place.store.root().join("trees")).unwrap();
    let entry = place.store.resolve(&name("smol")).unwrap();
    assert!(entry.path.exists());
    fs::remove_dir_all(place.store.root().join("blobs")).unwrap();
    let error = place.store.resolve(&name("smol")).unwrap_err();
    assert!(matches!(error, ResolveError::Store(_)), "{error}");
    place.store.remove(&name("smol")).unwrap();
    assert!(place.names().is_empty());
}

#[test]
fn measurements_stay_with_the_model() {
    let place = place();
    let entry = place.import("smol").unwrap().entry;
    let one = Measurement {
        at_s: 1,
        threads: 2,
        prefill_tokens_per_s: 3.0,
        decode_tokens_per_s: 4.0,
        by: "bench".to_owned(),
    };
    place.store.record(&entry, one.clone()).unwrap();
    assert_eq!(place.store.measurements(&entry), [one]);
    place.store.remove(&name("smol")).unwrap();
    assert!(place.store.measurements(&entry).is_empty());
}

#[test]
fn a_folder_without_weights_that_are_read_is_refused() {
    let place = place();
    let folder = place.folder.path().join("hf");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), r#"{"model_type":"llama"}"#).unwrap();
    fs::write(folder.join("pytorch_model.bin"), b"PK\x03\x04").unwrap();
    let error = place.store.import(&folder, &name("hf"), false, &mut |_| ()).unwrap_err();
    assert!(matches!(error, ImportError::Inspect(_)), "{error}");
    assert_eq!(place.counts(), [0, 0, 0]);
}
