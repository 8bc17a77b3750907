//! `bantam.toml` and `BANTAM_*`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bantam_config::{Purpose, Source, load};

/// Reads the bytes as a configuration whose files and variables are all missing, and renders every complaint.
pub(super) fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let source = Source {
        name: "bantam.toml",
        text,
        folder: Path::new("/etc/bantam"),
        state_folder: Path::new("/var/lib/bantam"),
        data_folder: Path::new("/usr/share/bantam"),
        overrides: &[],
        variable_names: &[],
        purpose: Purpose::Serve,
    };
    match load(&source, &BTreeMap::<String, String>::new(), &BTreeSet::<PathBuf>::new()) {
        Ok(config) => config.warnings.iter().for_each(|warning| assert!(!warning.to_string().is_empty())),
        Err(errors) => {
            assert!(!errors.to_string().contains('\u{1b}'), "a complaint could command a terminal");
        }
    }
}
