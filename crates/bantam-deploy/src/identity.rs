//! Names a file or folder as it is now, so that a reload opens only what has changed.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Ending of the files that hold a model's weights laid out for this machine.
pub(crate) const LAYOUT_EXTENSION: &str = "bantam-cache";

/// Returns the file's or folder's name with a checksum of its path, sizes and times.
pub(crate) fn identity(path: &Path) -> String {
    let mut text = path.display().to_string();
    for part in parts(path) {
        let about = std::fs::metadata(&part).ok();
        let time = about.as_ref().and_then(|about| about.modified().ok()?.duration_since(UNIX_EPOCH).ok());
        let size = about.map_or(0, |about| about.len());
        text.push_str(&format!(" {} {size} {}", part.display(), time.unwrap_or_default().as_nanos()));
    }
    // FNV-1a: nothing here is secret, and nobody gains from two files of one name.
    let sum = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    format!("{name}@{:012x}", sum >> 16)
}

/// Returns a file alone, or what is in a folder but for the weights that Bantam lays out there: a folder's own time
/// changes with them.
fn parts(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else { return vec![path.to_owned()] };
    let mut parts: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    parts.retain(|part| part.extension().is_none_or(|extension| extension != LAYOUT_EXTENSION));
    parts.sort();
    parts
}
