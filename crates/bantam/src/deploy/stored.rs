//! Where the store keeps a model that the configuration names.

use std::path::PathBuf;

use bantam_store::{ModelName, Store};

use crate::commands::models::unresolved;
use crate::failure::{Failure, Outcome};

/// Returns what the engine opens for the model `name`, which the store calls `stored`; never another in its place.
pub(super) fn place(store: &Store, name: &str, stored: &str) -> Result<PathBuf, Failure> {
    let stored: ModelName = stored.parse().map_err(|error| {
        Failure::from_error(format!("cannot use the model `{name}`"), &error).outcome(Outcome::Usage)
    })?;
    let entry = store.resolve(&stored).map_err(|error| unresolved(&error))?;
    Ok(entry.path)
}
