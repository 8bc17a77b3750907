//! The models on this machine: named, checked, deduplicated and downloaded.
//!
//! A [`Store`] is a folder. It keeps every file once, under the SHA-256 of its content. A model is a small manifest
//! that refers to files, so two names of one model, or two models with the same tokenizer, share them. A model enters
//! through [`Store::import`] from the user's files, through a bundle, or from a hub. [`Store::remove`] removes it and
//! deletes every file that no manifest refers to any more.
//!
//! **Invariant:** a model is checked before it enters: its format, architecture, quantisation and tokenizer, and its
//! hash if one was promised. A model that cannot run here never gets a name.
//!
//! **Invariant:** after any interruption, by an error, a signal or a power loss, every name resolves either to what
//! it resolved to before or to the complete new model. The next change sweeps partial remains.
//!
//! **Invariant:** no model is ever used in place of another. A missing or ambiguous name is an error that lists the
//! names that exist.

mod about;
mod bundle;
mod change;
mod create;
mod digest;
mod error;
mod files;
mod hub;
mod import;
mod manifest;
mod name;
mod nearest;
mod record;
mod space;
mod store;
mod tree;

pub use about::{InspectError, ModelDescription, ModelFormat, ModelKind, PickleError, inspect};
pub use bundle::{BundleError, is_bundle};
pub use change::{Added, Removed};
pub use create::CreateError;
pub use digest::{Digest, ParseDigestError};
pub use error::{StoreError, StoreErrorKind};
pub use hub::{HubRequestError, HubSettings, PullError, PullEvent, SelectFilesError};
pub use import::ImportError;
pub use manifest::{Manifest, Origin, StoredFile};
pub use name::{ModelName, ParseNameError};
pub use record::Measurement;
pub use space::free_bytes;
pub use store::{Entry, ResolveError, Store, StoreListing};
