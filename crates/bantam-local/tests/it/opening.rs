//! Files that are models, and files that are not.

use bantam_engine::Decoder;
use bantam_local::{LocalModel, OpenModelErrorKind};

use crate::tiny::options;
use crate::tiny_model::write;

#[test]
fn a_model_s_layout_is_kept_beside_it_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path());
    LocalModel::open(&path, &options()).unwrap();
    assert!(!Decoder::cache_path(&path).exists());
    let mut options = options();
    options.keeps_layout = true;
    LocalModel::open(&path, &options).unwrap();
    assert!(Decoder::cache_path(&path).exists());
    LocalModel::open(&path, &options).unwrap();
}

#[test]
fn what_is_no_model_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = LocalModel::open(folder.path().join("none.gguf"), &options()).unwrap_err();
    assert!(matches!(missing.kind, OpenModelErrorKind::Missing), "{missing:?}");
    let path = folder.path().join("text.gguf");
    std::fs::write(&path, "not a model").unwrap();
    let wrong = LocalModel::open(&path, &options()).unwrap_err();
    assert!(matches!(wrong.kind, OpenModelErrorKind::Weights(_)), "{wrong:?}");
}

#[test]
fn a_template_of_the_user_s_own_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options();
    options.template = Some("{% if %}".to_owned());
    let error = LocalModel::open(write(folder.path()), &options).unwrap_err();
    assert!(matches!(error.kind, OpenModelErrorKind::Build(_)), "{error:?}");
}
