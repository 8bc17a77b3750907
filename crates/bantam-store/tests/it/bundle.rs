use std::fs;

use bantam_store::{BundleError, ModelName, Store, is_bundle};

use crate::tiny_model;

fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

#[test]
fn a_bundle_keeps_names_and_stores_shared_files_once() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model::write(folder.path());
    let store = Store::open(folder.path().join("store"));
    store.import(&model, &name("smol:q8"), false, &mut |_| ()).unwrap();
    store.copy(&name("smol"), &name("other:x")).unwrap();
    let bundle = folder.path().join("models.tar");
    let entries = store.list().unwrap().models;
    store.export(&entries, &bundle, &mut |_| ()).unwrap();
    assert!(is_bundle(&bundle) && !is_bundle(&model));
    let bytes = fs::read(&bundle).unwrap();
    assert!(bytes.len() < 2 * fs::metadata(&model).unwrap().len() as usize);
    let listed = std::process::Command::new("tar").arg("tf").arg(&bundle).output();
    if let Ok(listed) = listed {
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.starts_with("bantam-bundle.json\nblobs/sha256-"), "{listed}");
    }
    let far = Store::open(folder.path().join("far"));
    let added = far.import_bundle(&bundle, false, &mut |_| ()).unwrap();
    assert_eq!(added.len(), 2);
    let entry = far.resolve(&name("smol:q8")).unwrap();
    assert_eq!(fs::read(entry.path).unwrap(), fs::read(&model).unwrap());
}

#[test]
fn a_damaged_bundle_is_reported_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model::write(folder.path());
    let store = Store::open(folder.path().join("store"));
    store.import(&model, &name("smol"), false, &mut |_| ()).unwrap();
    let bundle = folder.path().join("models.tar");
    store.export(&store.list().unwrap().models, &bundle, &mut |_| ()).unwrap();
    let whole = fs::read(&bundle).unwrap();
    let far = Store::open(folder.path().join("far"));
    let fails = |bytes: &[u8]| {
        fs::write(&bundle, bytes).unwrap();
        let error = far.import_bundle(&bundle, false, &mut |_| ()).unwrap_err();
        assert!(far.list().unwrap().models.is_empty());
        error
    };
    let mut flipped = whole.clone();
    let at = flipped.len() - 4_000;
    flipped[at] ^= 1;
    assert!(matches!(fails(&flipped), BundleError::Hash { .. }));
    for cut in [600, whole.len() / 2] {
        assert!(matches!(fails(&whole[..cut]), BundleError::Damaged { .. } | BundleError::Read(_)));
    }
    assert!(fails(b"bantam-bundle.json\0 and nothing else").to_string().contains("truncated"));
}
