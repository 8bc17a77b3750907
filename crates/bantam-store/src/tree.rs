//! A model's files under their own names.

use std::fs;
use std::io;

use crate::error::{StoreError, StoreErrorKind};
use crate::files;
use crate::manifest::Manifest;
use crate::store::Store;

impl Store {
    /// Makes the folder of a model's links, unless it is there. Two processes that do so at once make the same.
    pub(crate) fn grow(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let tree = self.tree(manifest);
        for file in &manifest.files {
            let blob = self.blob(&file.digest);
            match fs::metadata(&blob) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(StoreError { what: "open", path: blob, kind: StoreErrorKind::BlobGone });
                }
                found => found.map(drop).map_err(StoreError::at("open", &blob))?,
            }
            let path = tree.join(&file.path);
            if path.exists() {
                continue;
            }
            match files::link(&blob, &path, &self.root) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                linked => linked.map_err(StoreError::at("link", &path))?,
            }
        }
        Ok(())
    }
}
