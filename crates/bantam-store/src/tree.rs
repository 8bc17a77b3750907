//! Lays out a model's files under their own names.

use std::fs;
use std::io;

use crate::error::{StoreError, StoreErrorKind};
use crate::files;
use crate::manifest::Manifest;
use crate::store::Store;

impl Store {
    /// Creates the folder with links to a model's files, unless it exists. Safe for two processes at once: both
    /// create the same links.
    pub(crate) fn link_tree(&self, manifest: &Manifest) -> Result<(), StoreError> {
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
