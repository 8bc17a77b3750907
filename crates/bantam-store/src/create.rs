//! Models created on this machine, such as quantised ones.

use std::path::Path;

use crate::change::Added;
use crate::digest::Digest;
use crate::error::StoreError;
use crate::import::ImportError;
use crate::manifest::{Origin, StoredFile};
use crate::name::ModelName;
use crate::store::Store;

/// Why a model was not created. The store is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum CreateError<E: std::error::Error + 'static> {
    /// `make` failed.
    #[error(transparent)]
    Make(E),
    /// The model did not enter the store.
    #[error(transparent)]
    Import(#[from] ImportError),
}

impl Store {
    /// Calls `make` to write a model's only file, called `file`, and names the model. Replaces a model of that name.
    pub fn create<T, E: std::error::Error + 'static>(
        &self,
        name: &ModelName,
        (file, origin): (&str, Origin),
        make: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Result<(Added, T), CreateError<E>> {
        let staging = self.staging().map_err(ImportError::from)?;
        let path = staging.model().join(file);
        let made = make(&path).map_err(CreateError::Make)?;
        let about = || Ok::<_, std::io::Error>((Digest::of_file(&path)?, std::fs::metadata(&path)?.len()));
        let (digest, bytes) = about().map_err(StoreError::at("read", &path)).map_err(ImportError::from)?;
        let stored = StoredFile { path: file.to_owned(), digest, bytes };
        Ok((self.check_and_publish(&staging, vec![stored], name, origin, true)?, made))
    }
}
