//! Lists the files of a repository.

use serde::Deserialize;

use super::HubSettings;
use super::exchange::{HubRequestError, read_short_body};
use crate::digest::Digest;
use crate::manifest::is_inside;

/// Largest listing accepted, in bytes: tens of thousands of files.
const LISTING_BYTES_MAX: usize = 32 << 20;

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HubFile {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) hash: ContentHash,
}

/// The hash that the hub gives for a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ContentHash {
    /// SHA-256, for files in large-file storage (LFS).
    Sha256(Digest),
    /// Git's blob hash, for all other files.
    Git(String),
}

/// A repository at one commit.
#[derive(Debug)]
pub(super) struct Repository {
    pub(super) commit: String,
    /// The architecture of its GGUF files, if the hub knows it.
    pub(super) architecture: Option<String>,
    pub(super) files: Vec<HubFile>,
}

#[derive(Deserialize)]
struct RepositoryJson {
    sha: String,
    #[serde(default)]
    siblings: Vec<SiblingJson>,
    gguf: Option<GgufJson>,
}

#[derive(Deserialize)]
struct GgufJson {
    architecture: Option<String>,
}

#[derive(Deserialize)]
struct SiblingJson {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<LfsJson>,
}

#[derive(Deserialize)]
struct LfsJson {
    sha256: Digest,
    size: u64,
}

/// Requests the listing of a repository.
pub(super) async fn read_listing(
    settings: &HubSettings,
    repo: &str,
    revision: &str,
) -> Result<Repository, HubRequestError> {
    let revision = revision.replace('/', "%2F");
    let endpoint = settings.endpoint.trim_end_matches('/');
    let address = format!("{endpoint}/api/models/{repo}/revision/{revision}?blobs=true");
    parse(&read_short_body(settings, &address, LISTING_BYTES_MAX).await?)
}

fn parse(json: &[u8]) -> Result<Repository, HubRequestError> {
    let wrong = |what: String| HubRequestError::Answer { what };
    let json: RepositoryJson = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
    if json.sha.len() < 7 || json.sha.len() > 64 || !json.sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong("it has no commit hash".to_owned()));
    }
    let files = json.siblings.into_iter().filter_map(|sibling| {
        // A path outside the model's folder cannot belong to a model.
        is_inside(&sibling.rfilename).then_some(())?;
        let (bytes, hash) = match sibling.lfs {
            Some(lfs) => (lfs.size, ContentHash::Sha256(lfs.sha256)),
            None => (sibling.size?, ContentHash::Git(sibling.blob_id?)),
        };
        Some(HubFile { path: sibling.rfilename, bytes, hash })
    });
    let files = files.collect();
    Ok(Repository { commit: json.sha, architecture: json.gguf.and_then(|gguf| gguf.architecture), files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_hash_and_escaping_paths_are_dropped() {
        let digest = Digest::of(b"x");
        let json = format!(
            r#"{{"sha":"0123456789abcdef","siblings":[
                {{"rfilename":"a.gguf","size":3,"blobId":"p","lfs":{{"sha256":"{digest}","size":3,"pointerSize":9}}}},
                {{"rfilename":"config.json","size":2,"blobId":"ab"}},
                {{"rfilename":"../../etc/x","size":2,"blobId":"ab"}},
                {{"rfilename":"sizeless"}}],"gguf":{{"architecture":"qwen3","total":1}}}}"#
        );
        let repository = parse(json.as_bytes()).unwrap();
        assert_eq!(repository.architecture.as_deref(), Some("qwen3"));
        let shown: Vec<(&str, u64)> = repository.files.iter().map(|file| (&*file.path, file.bytes)).collect();
        assert_eq!(shown, [("a.gguf", 3), ("config.json", 2)]);
        assert_eq!(repository.files[0].hash, ContentHash::Sha256(digest));
    }

    #[test]
    fn invalid_listings_are_refused() {
        for json in ["", "[]", r#"{"sha":"x/../y"}"#, r#"{"sha":""}"#] {
            assert!(parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}
