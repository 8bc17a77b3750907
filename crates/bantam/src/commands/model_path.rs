//! Telling a path of a model from the name of one.

use std::path::Path;

use bantam_store::ModelName;

use crate::failure::{Failure, Outcome};

/// Returns whether a text can only have been meant as a path: it looks like one, or no store can call a model so.
pub(super) fn is_path(text: &str) -> bool {
    let starts = ["./", "../", "/", "~"];
    let has_ending = [".gguf", ".safetensors"].iter().any(|ending| text.ends_with(ending));
    starts.iter().any(|start| text.starts_with(start)) || has_ending || text.parse::<ModelName>().is_err()
}

/// Says that there is nothing at a path.
pub(super) fn nothing_there(path: &str) -> Failure {
    let what = if Path::new(path).extension().is_some() { "file" } else { "file or folder" };
    Failure::new(Outcome::ModelMissing, format!("there is no {what} {path}")).hint(
        "give a model of `bantam list`, a GGUF file, or a folder with config.json and model.safetensors",
    )
}

/// Checks that a text is the name of a model of the store, where no path will do.
///
/// # Errors
/// When it is a path.
pub(super) fn named_model(text: &str) -> Result<(), Failure> {
    let path = Path::new(text);
    match (is_path(text), path.exists()) {
        // What no store can call a model is refused by its own rules, unless it is plainly a path.
        (false, _) => Ok(()),
        (true, true) => {
            Err(Failure::new(Outcome::Usage, format!("{text} is a file, not a model of the store"))
                .hint(format!("take it into the store first: bantam import {text}")))
        }
        (true, false) if text.contains(['/', '.']) => Err(nothing_there(text)),
        (true, false) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_names() {
        for path in ["./file.gguf", "file.gguf", "/models/tiny", "../tiny", "a/b/c/d", "model.safetensors"] {
            assert!(is_path(path), "{path}");
        }
        for name in ["tiny", "tiny:Q8_0", "org/repo", "org/repo:Q4_K_M", "llama3.2"] {
            assert!(!is_path(name), "{name}");
        }
        let missing = named_model("./none.gguf").unwrap_err();
        assert_eq!((missing.message(), missing.code()), ("there is no file ./none.gguf", 3));
        assert!(named_model("tiny").is_ok());
    }
}
