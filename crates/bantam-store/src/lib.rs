//! Models on this machine: named, checked, kept by content, and brought here.
//!
//! A [`Store`] is a folder. Files lie in it once, under the SHA-256 of what they hold; a model is a small manifest
//! that names files, so that two names of one model, or two models with one tokenizer, share bytes. A model gets in
//! by [`Store::import`] from a file or a folder of the user's, from a bundle, or from a hub, and out by
//! [`Store::remove`], which deletes every file that no manifest names any more.
//!
//! **Invariant:** a model is checked before it enters: its format, its architecture, its quantisation, its
//! tokenizer, and where it was promised, its hash. What cannot run never has a name here.
//!
//! **Invariant:** whatever is interrupted, by an error, a signal or the end of the machine, every name resolves to
//! what it resolved to before or to all of what was put there. What was left half made is swept by the next change.
//!
//! **Invariant:** no model is ever used in place of another. A name that is missing or has several meanings is an
//! error that says which names there are.

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

pub use about::{About, InspectError, ModelFormat, ModelKind, PickleError, inspect};
pub use bundle::{BundleError, is_bundle};
pub use change::{Added, Removed};
pub use create::CreateError;
pub use digest::{Digest, ParseDigestError};
pub use error::{StoreError, StoreErrorKind};
pub use hub::{ChooseError, ExchangeError, HubSettings, PullError, PullEvent};
pub use import::ImportError;
pub use manifest::{Manifest, Origin, StoredFile};
pub use name::{ModelName, ParseNameError};
pub use record::Measurement;
pub use space::free_bytes;
pub use store::{Entry, Listing, ResolveError, Store};
