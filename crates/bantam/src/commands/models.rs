//! The store of models: what its verbs share.

pub(crate) mod bundle;
pub(crate) mod change;
pub(crate) mod list;
pub(crate) mod progress;
pub(crate) mod pull;
pub(crate) mod show;

use bantam_store::{Entry, ImportError, ModelName, ResolveError, Store};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::settings::Globals;

/// Returns the store that the settings name.
pub(crate) fn open(globals: &Globals) -> Result<Store, Failure> {
    Ok(Store::open(globals.load_or_default()?.store.path))
}

/// Reads a model's name.
pub(crate) fn name(text: &str) -> Result<ModelName, Failure> {
    text.parse().map_err(|error| {
        Failure::from_error("cannot use the name", &error)
            .outcome(Outcome::Usage)
            .hint("write NAME, NAME:TAG or ORG/REPO:TAG")
    })
}

/// Returns the model of a name.
pub(crate) fn resolve(store: &Store, text: &str) -> Result<Entry, Failure> {
    store.resolve(&name(text)?).map_err(|error| unresolved(&error))
}

/// Says why a name stands for no model, and how to get it.
pub(crate) fn unresolved(error: &ResolveError) -> Failure {
    let outcome = match error {
        ResolveError::Store(_) => Outcome::Failed,
        _ => Outcome::ModelMissing,
    };
    Failure::from_error("cannot use the model", error).hint(error.hint()).outcome(outcome)
}

/// Says why a model did not enter.
pub(crate) fn not_imported(what: &str, error: &ImportError) -> Failure {
    let outcome = match error {
        ImportError::Resolve(ResolveError::Store(_)) => Outcome::Failed,
        ImportError::Resolve(_) | ImportError::Inspect(bantam_store::InspectError::Missing { .. }) => {
            Outcome::ModelMissing
        }
        ImportError::Name(_) | ImportError::Exists { .. } => Outcome::Usage,
        _ => Outcome::Failed,
    };
    Failure::from_error(what, error).hint(error.hint()).outcome(outcome)
}

/// Returns a model as machines read it.
pub(super) fn entry_json(entry: &Entry) -> Value {
    json!({
        "name": entry.name.to_string(), "digest": entry.manifest.digest().to_string(),
        "bytes": entry.manifest.bytes(), "path": entry.path, "added_s": entry.manifest.added_s,
        "about": entry.manifest.about, "origin": entry.manifest.origin,
    })
}

/// Returns bytes as people say them.
pub(crate) fn bytes_text(bytes: u64) -> String {
    let number = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.0} kB", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} MB", number / 1e6),
        _ => format!("{:.1} GB", number / 1e9),
    }
}

/// Returns a number of parameters as people say it.
pub(crate) fn parameters_text(parameters: u64) -> String {
    let number = parameters as f64;
    match parameters {
        0..1_000_000 => format!("{:.0}K", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0}M", number / 1e6),
        _ => format!("{:.1}B", number / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_as_people_say_them() {
        assert_eq!(
            [12, 12_345, 1_500_000, 2_340_000_000].map(bytes_text),
            ["12 B", "12 kB", "2 MB", "2.3 GB"]
        );
        assert_eq!([600_000_000, 1_720_000_000].map(parameters_text), ["600M", "1.7B"]);
    }
}
