//! A model that is made here, such as a quantised one.

use std::path::Path;

use crate::change::Added;
use crate::digest::Digest;
use crate::error::StoreError;
use crate::import::ImportError;
use crate::manifest::{Origin, StoredFile};
use crate::name::ModelName;
use crate::store::Store;

/// Why a model was not made. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CreateError<E: std::error::Error + 'static> {
    /// Making it failed.
    #[error(transparent)]
    Make(E),
    /// It did not enter the store.
    #[error(transparent)]
    Import(#[from] ImportError),
}

impl Store {
    /// Lets `make` write a model's one file, called `file`, and gives it a name. A model of that name gives way.
    pub fn create<T, E: std::error::Error + 'static>(
        &self,
        name: &ModelName,
        (file, origin): (&str, Origin),
        make: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Result<(Added, T), CreateError<E>> {
        let stage = self.stage().map_err(ImportError::from)?;
        let path = stage.model().join(file);
        let made = make(&path).map_err(CreateError::Make)?;
        let about = || Ok::<_, std::io::Error>((Digest::of_file(&path)?, std::fs::metadata(&path)?.len()));
        let (digest, bytes) = about().map_err(StoreError::at("read", &path)).map_err(ImportError::from)?;
        let stored = StoredFile { path: file.to_owned(), digest, bytes };
        Ok((self.admit(&stage, vec![stored], name, origin, true)?, made))
    }
}
