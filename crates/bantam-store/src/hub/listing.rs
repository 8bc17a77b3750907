//! What a repository has.

use serde::Deserialize;

use super::HubSettings;
use super::exchange::{ExchangeError, whole};
use crate::digest::Digest;
use crate::manifest::is_inside;

/// Bytes of a listing at most: tens of thousands of files.
const LISTING_BYTES_MAX: usize = 32 << 20;

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HubFile {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) check: Check,
}

/// What the hub says of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Its SHA-256, of files in large-file storage.
    Sha256(Digest),
    /// Git's own hash, of all others.
    Git(String),
}

/// A repository at one commit.
#[derive(Debug)]
pub(super) struct Repository {
    pub(super) commit: String,
    /// The architecture of its GGUF files, where the hub knows it.
    pub(super) architecture: Option<String>,
    pub(super) files: Vec<HubFile>,
}

#[derive(Deserialize)]
struct Wire {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    gguf: Option<Gguf>,
}

#[derive(Deserialize)]
struct Gguf {
    architecture: Option<String>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Digest,
    size: u64,
}

/// Asks what a repository has.
pub(super) async fn list(
    settings: &HubSettings,
    repo: &str,
    revision: &str,
) -> Result<Repository, ExchangeError> {
    let revision = revision.replace('/', "%2F");
    let endpoint = settings.endpoint.trim_end_matches('/');
    let address = format!("{endpoint}/api/models/{repo}/revision/{revision}?blobs=true");
    read(&whole(settings, &address, LISTING_BYTES_MAX).await?)
}

fn read(json: &[u8]) -> Result<Repository, ExchangeError> {
    let wrong = |what: String| ExchangeError::Answer { what };
    let wire: Wire = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
    if wire.sha.len() < 7 || wire.sha.len() > 64 || !wire.sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong("it names no commit".to_owned()));
    }
    let files = wire.siblings.into_iter().filter_map(|sibling| {
        // A path that leaves its folder is nobody's model.
        is_inside(&sibling.rfilename).then_some(())?;
        let (bytes, check) = match sibling.lfs {
            Some(lfs) => (lfs.size, Check::Sha256(lfs.sha256)),
            None => (sibling.size?, Check::Git(sibling.blob_id?)),
        };
        Some(HubFile { path: sibling.rfilename, bytes, check })
    });
    let files = files.collect();
    Ok(Repository { commit: wire.sha, architecture: wire.gguf.and_then(|gguf| gguf.architecture), files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_a_hash_each_and_paths_that_leave_are_left_out() {
        let digest = Digest::of(b"x");
        let json = format!(
            r#"{{"sha":"0123456789abcdef","siblings":[
                {{"rfilename":"a.gguf","size":3,"blobId":"p","lfs":{{"sha256":"{digest}","size":3,"pointerSize":9}}}},
                {{"rfilename":"config.json","size":2,"blobId":"ab"}},
                {{"rfilename":"../../etc/x","size":2,"blobId":"ab"}},
                {{"rfilename":"sizeless"}}],"gguf":{{"architecture":"qwen3","total":1}}}}"#
        );
        let repository = read(json.as_bytes()).unwrap();
        assert_eq!(repository.architecture.as_deref(), Some("qwen3"));
        let shown: Vec<(&str, u64)> = repository.files.iter().map(|file| (&*file.path, file.bytes)).collect();
        assert_eq!(shown, [("a.gguf", 3), ("config.json", 2)]);
        assert_eq!(repository.files[0].check, Check::Sha256(digest));
    }

    #[test]
    fn what_is_no_listing_is_refused() {
        for json in ["", "[]", r#"{"sha":"x/../y"}"#, r#"{"sha":""}"#] {
            assert!(read(json.as_bytes()).is_err(), "{json}");
        }
    }
}
