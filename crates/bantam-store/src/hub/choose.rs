//! Chooses the files of a repository that make up the requested model.

use super::listing::HubFile;
use crate::import::MODEL_FILES;

/// Supported quantisations, in the order of preference for a name without a tag.
const QUANTISATIONS: [&str; 15] = [
    "Q4_K_M", "Q8_0", "Q5_K_M", "Q6_K", "Q4_K_S", "Q5_K_S", "Q4_0", "Q5_0", "Q4_1", "Q5_1", "BF16", "F16",
    "F32", "FP16", "FP32",
];
/// The tag of a safetensors model.
const SAFETENSORS: &str = "safetensors";
/// Most files that an error lists.
const LISTED_MAX: usize = 12;

/// The chosen files and the tag they get.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChosenFiles {
    pub(super) tag: String,
    pub(super) files: Vec<HubFile>,
}

/// Why a repository has no usable model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectFilesError {
    /// No file matches the tag.
    #[error("the repository has no file for the tag `{tag}`; available: {}", .available.join(", "))]
    NoSuchTag {
        /// The tag.
        tag: String,
        /// The available files and tags.
        available: Vec<String>,
    },
    /// Several files match the tag.
    #[error("the tag `{tag}` is ambiguous: it could be {}", .files.join(" or "))]
    Several {
        /// The tag.
        tag: String,
        /// The files.
        files: Vec<String>,
    },
    /// The model is split into several GGUF files.
    #[error("{file} is part of a split GGUF file, which is not supported")]
    Split {
        /// The first part.
        file: String,
    },
    /// The quantisation is not supported.
    #[error("{file} has an unsupported quantisation")]
    Quantisation {
        /// The file.
        file: String,
    },
    /// The weights exist only as pickles.
    #[error(
        "the repository has its weights only as Python pickles ({file}), which run code when they are loaded"
    )]
    Pickles {
        /// One of them.
        file: String,
    },
    /// There are no weights.
    #[error("the repository has neither GGUF files nor safetensors")]
    Nothing,
}

/// Chooses the files for a tag. Without a tag, chooses the preferred quantisation among the GGUF files, or else the
/// safetensors.
pub(super) fn choose(files: &[HubFile], tag: Option<&str>) -> Result<ChosenFiles, SelectFilesError> {
    let is_gguf = |file: &&HubFile| {
        let name = lower(file);
        name.ends_with(".gguf") && !name.contains("mmproj") && !name.contains("imatrix")
    };
    let ggufs: Vec<&HubFile> = files.iter().filter(is_gguf).collect();
    let Some(tag) = tag else {
        let whole = || ggufs.iter().filter(|file| !is_split(file));
        let found = QUANTISATIONS.iter().find_map(|quantisation| {
            let file = whole().find(|file| has_word(&lower(file), quantisation))?;
            Some(ChosenFiles { tag: (*quantisation).to_owned(), files: vec![(**file).clone()] })
        });
        if let Some(found) = found {
            return Ok(found);
        }
        return match (&*ggufs, safetensors(files)) {
            ([], Some(choice)) => Ok(choice),
            ([only], _) if !is_split(only) => {
                Ok(ChosenFiles { tag: "latest".to_owned(), files: vec![(*only).clone()] })
            }
            ([], None) => Err(no_weights(files)),
            ([first, ..], _) if ggufs.iter().all(|file| is_split(file)) => {
                Err(SelectFilesError::Split { file: first.path.clone() })
            }
            ([first, ..], _) => Err(SelectFilesError::Quantisation { file: first.path.clone() }),
        };
    };
    if tag.eq_ignore_ascii_case(SAFETENSORS) {
        return safetensors(files).ok_or_else(|| no_such(tag, files, &ggufs));
    }
    let named = |file: &&HubFile| lower(file).rsplit('/').next() == Some(&*tag.to_ascii_lowercase());
    let by_word: Vec<&HubFile> = ggufs.iter().copied().filter(|file| has_word(&lower(file), tag)).collect();
    match (&*by_word, ggufs.iter().copied().find(named)) {
        (_, Some(file)) => single_file(file, tag),
        ([file], None) => single_file(file, tag),
        ([], None) => Err(no_such(tag, files, &ggufs)),
        ([first, ..], None) if by_word.iter().all(|file| is_split(file)) => {
            Err(SelectFilesError::Split { file: first.path.clone() })
        }
        (several, None) => {
            let files = several.iter().take(LISTED_MAX).map(|file| file.path.clone()).collect();
            Err(SelectFilesError::Several { tag: tag.to_owned(), files })
        }
    }
}

fn single_file(file: &HubFile, tag: &str) -> Result<ChosenFiles, SelectFilesError> {
    let path = file.path.clone();
    if is_split(file) {
        return Err(SelectFilesError::Split { file: path });
    }
    let name = lower(file);
    let unread = ["iq1", "iq2", "iq3", "iq4", "q2_k", "q3_k", "tq1", "tq2", "mxfp4"];
    if unread.iter().any(|kind| name.contains(kind)) {
        return Err(SelectFilesError::Quantisation { file: path });
    }
    let known = QUANTISATIONS.iter().find(|known| known.eq_ignore_ascii_case(tag));
    Ok(ChosenFiles { tag: known.map_or(tag, |known| known).to_owned(), files: vec![file.clone()] })
}

fn lower(file: &HubFile) -> String {
    file.path.to_ascii_lowercase()
}

/// Whether `text` contains `word` as a whole word, so that `Q4_K` does not match `Q4_K_M`.
fn has_word(text: &str, word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.match_indices(&word).any(|(at, _)| {
        let bytes = text.as_bytes();
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let after = bytes.get(at + word.len());
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

/// Whether a file is part of a split model, such as `x-00001-of-00003.gguf`.
fn is_split(file: &HubFile) -> bool {
    let name = lower(file);
    let part = name.rsplit_once("-of-").and_then(|(_, rest)| rest.split('.').next());
    part.is_some_and(|part| part.len() >= 3 && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns the safetensors model, if the repository has all its files.
fn safetensors(files: &[HubFile]) -> Option<ChosenFiles> {
    let is_part = |file: &&HubFile| {
        let name = &*file.path;
        let is_weights = name == "model.safetensors"
            || (name.starts_with("model-") && name.ends_with(".safetensors") && name.contains("-of-"));
        is_weights || MODEL_FILES.contains(&name)
    };
    let chosen: Vec<HubFile> = files.iter().filter(is_part).cloned().collect();
    let has = |name: &str| chosen.iter().any(|file| file.path == name);
    let has_weights = has("model.safetensors") || has("model.safetensors.index.json");
    (has_weights && has("config.json")).then(|| ChosenFiles { tag: SAFETENSORS.to_owned(), files: chosen })
}

fn no_weights(files: &[HubFile]) -> SelectFilesError {
    let is_pickle = |file: &&HubFile| crate::about::refuse_pickle(&file.path).is_err();
    match files.iter().find(is_pickle) {
        Some(file) => SelectFilesError::Pickles { file: file.path.clone() },
        None => SelectFilesError::Nothing,
    }
}

fn no_such(tag: &str, files: &[HubFile], ggufs: &[&HubFile]) -> SelectFilesError {
    let mut available: Vec<String> =
        ggufs.iter().filter(|file| !is_split(file)).map(|file| file.path.clone()).collect();
    available.truncate(LISTED_MAX);
    available.extend(safetensors(files).map(|_| SAFETENSORS.to_owned()));
    match available.is_empty() {
        true => no_weights(files),
        false => SelectFilesError::NoSuchTag { tag: tag.to_owned(), available },
    }
}

#[cfg(test)]
mod tests {
    use super::super::listing::ContentHash;
    use super::*;

    fn check(names: &[&str], tag: Option<&str>) -> Result<(String, Vec<String>), SelectFilesError> {
        let file = |name: &&str| HubFile {
            path: (*name).to_owned(),
            bytes: 1,
            hash: ContentHash::Git(String::new()),
        };
        let files: Vec<HubFile> = names.iter().map(file).collect();
        let choice = choose(&files, tag)?;
        Ok((choice.tag, choice.files.into_iter().map(|file| file.path).collect()))
    }

    #[test]
    fn a_tag_chooses_the_file_with_that_whole_word() {
        let names = ["m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m-Q8_0.gguf", "mmproj-Q8_0.gguf"];
        assert_eq!(check(&names, Some("q8_0")).unwrap(), ("Q8_0".into(), vec!["m-Q8_0.gguf".into()]));
        assert_eq!(check(&names, None).unwrap().1, ["m-Q4_K_M.gguf"]);
        let error = check(&names, Some("Q4_K")).unwrap_err().to_string();
        assert!(error.contains("m-Q4_K_M.gguf, m-Q4_K_S.gguf, m-Q8_0.gguf"), "{error}");
    }

    #[test]
    fn without_gguf_the_safetensors_and_their_companions_are_chosen() {
        let names =
            ["config.json", "model.safetensors", "tokenizer.json", "onnx/model.onnx", "pytorch_model.bin"];
        let (tag, files) = check(&names, None).unwrap();
        assert_eq!((&*tag, files.len()), ("safetensors", 3));
    }

    #[test]
    fn each_unusable_repository_gets_its_own_error() {
        let error = |names: &[&str], tag| check(names, tag).unwrap_err();
        let split = error(&["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"], None);
        assert!(matches!(split, SelectFilesError::Split { .. }));
        assert!(matches!(error(&["m-IQ4_XS.gguf"], Some("IQ4_XS")), SelectFilesError::Quantisation { .. }));
        assert!(matches!(error(&["pytorch_model.bin"], None), SelectFilesError::Pickles { .. }));
        assert_eq!(error(&["README.md"], None), SelectFilesError::Nothing);
        let two = ["a/m-Q8_0.gguf", "b/m-Q8_0.gguf"];
        assert!(matches!(error(&two, Some("Q8_0")), SelectFilesError::Several { .. }));
    }
}
