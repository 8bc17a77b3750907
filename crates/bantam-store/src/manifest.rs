//! Manifests: a model's files, properties and origin.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::about::ModelDescription;
use crate::digest::Digest;

/// The version of manifests that is written; other versions are refused.
const VERSION: u32 = 1;

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredFile {
    /// Its path within the model, such as `model.safetensors` or `1_Pooling/config.json`.
    pub path: String,
    /// The SHA-256 of its content.
    pub digest: Digest,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Where a model came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Origin {
    /// It was pulled from a hub.
    Hub {
        /// The repository.
        repo: String,
        /// The requested revision.
        revision: String,
        /// The commit that the revision pointed to.
        commit: String,
    },
    /// It was imported from a file or folder.
    File {
        /// The file's or folder's name, without its path.
        name: String,
    },
    /// It was quantised from another model of this store.
    Quantised {
        /// The model.
        from: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub { repo, revision, commit } => {
                write!(f, "{repo} at {revision}, commit {}", commit.chars().take(12).collect::<String>())
            }
            Self::File { name } => write!(f, "the file {name}"),
            Self::Quantised { from } => write!(f, "quantised from {from}"),
        }
    }
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    version: u32,
    /// The model's files, sorted by path.
    pub files: Vec<StoredFile>,
    /// The model's properties.
    pub about: ModelDescription,
    /// Where it came from.
    pub origin: Origin,
    /// When it was added, in seconds since 1970.
    pub added_s: u64,
}

impl Manifest {
    pub(crate) fn new(
        mut files: Vec<StoredFile>,
        about: ModelDescription,
        origin: Origin,
        added_s: u64,
    ) -> Self {
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Self { version: VERSION, files, about, origin, added_s }
    }

    /// Parses a manifest. Refuses another version and paths outside the model's folder.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        let wrong = |what: &str| Err(serde::de::Error::custom(what));
        if manifest.version != VERSION {
            return wrong("the manifest has an unknown version");
        }
        if manifest.files.is_empty() || !manifest.files.iter().all(|file| is_inside(&file.path)) {
            return wrong("a path is outside the model's folder");
        }
        Ok(manifest)
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Returns a digest over all files and their paths: two models are the same if their digests are.
    pub fn digest(&self) -> Digest {
        let mut text = String::new();
        for file in &self.files {
            text.push_str(&format!("{} {}\n", file.digest, file.path));
        }
        Digest::of(text.as_bytes())
    }

    /// Returns the total bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Whether a path stays in its folder on every system: short components without special characters.
pub(crate) fn is_inside(path: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.len() <= 200
            && !part.starts_with('.')
            && !part.chars().any(|letter| letter.is_control() || "\\:".contains(letter))
    };
    path.len() <= 1_000 && path.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::about::{ModelFormat, ModelKind};

    fn manifest(path: &str) -> Manifest {
        let about = ModelDescription {
            format: ModelFormat::Gguf,
            kind: ModelKind::Decoder,
            architecture: "llama".to_owned(),
            quantisation: "Q8_0".to_owned(),
            parameters: 1,
            context_tokens: 2,
            weight_bytes: 3,
            layers: 4,
            kv_width: 5,
            has_template: true,
        };
        let file = StoredFile { path: path.to_owned(), digest: Digest::of(b"x"), bytes: 1 };
        Manifest::new(vec![file], about, Origin::File { name: "x".to_owned() }, 7)
    }

    #[test]
    fn a_manifest_parses_again_but_another_version_is_refused() {
        let whole = manifest("1_Pooling/config.json");
        let json = whole.to_json().unwrap();
        assert_eq!(Manifest::from_json(&json).unwrap(), whole);
        let later = String::from_utf8(json).unwrap().replace("\"version\": 1", "\"version\": 2");
        assert!(Manifest::from_json(later.as_bytes()).is_err());
    }

    #[test]
    fn paths_outside_the_folder_are_refused() {
        for path in ["../x", "/x", "a//b", "a/./b", ".hidden", "a\\b", "c:x", "", "a\nb"] {
            assert!(Manifest::from_json(&manifest(path).to_json().unwrap()).is_err(), "{path:?}");
        }
    }

    #[test]
    fn the_digest_covers_paths_and_content() {
        assert_eq!(manifest("a").digest(), manifest("a").digest());
        assert_ne!(manifest("a").digest(), manifest("b").digest());
    }
}
