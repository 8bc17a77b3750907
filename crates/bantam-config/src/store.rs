//! `[store]`: where the models of this machine are kept.

use std::path::PathBuf;

use crate::context::Context;
use crate::section::Section;
use crate::value;

/// What the store needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The store's folder; it need not be there yet.
    pub path: PathBuf,
}

/// Reads `[store]`.
pub(crate) fn read(root: &mut Section<'_>, context: &Context<'_>) -> Store {
    let mut section = root.table("store");
    let folder = value::filled_text(4096);
    let default = context.source.data_folder.join("models");
    let path = section.or("path", default, |node| folder(node).map(|path| context.resolve(&path)));
    section.finish();
    Store { path: path.value }
}
