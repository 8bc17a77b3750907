//! Where a base lies, seen from the student that stands on it.

use std::path::{Component, Path, PathBuf};

/// Returns the way to `folder` from the folder of `file`, so that both may be moved together.
pub(crate) fn path_from(file: &Path, folder: &Path) -> PathBuf {
    let whole = |path: &Path| {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        absolute.canonicalize().unwrap_or(absolute)
    };
    let from = whole(file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    let to = whole(folder);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    if shared <= 1 {
        // Nothing in common but the root: such a pair is not moved together.
        return to;
    }
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(to.components().skip(shared)).collect();
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_base_is_seen_from_the_student_s_folder() {
        let place = tempfile::tempdir().unwrap();
        let base = place.path().join("models/minilm");
        std::fs::create_dir_all(&base).unwrap();
        std::fs::create_dir_all(place.path().join("students")).unwrap();
        let check = |file: &str, expected: &str| {
            let way = path_from(&place.path().join(file), &base);
            assert_eq!(way, Path::new(expected));
            let from = place.path().join(file);
            assert!(from.parent().unwrap().join(way).is_dir());
        };
        check("intent.student", "models/minilm");
        check("students/intent.student", "../models/minilm");
        check("models/minilm/intent.student", ".");
    }
}
