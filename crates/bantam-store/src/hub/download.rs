//! Downloads one file of the hub, resuming where an earlier attempt stopped.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use data_encoding::HEXLOWER;
use http::{StatusCode, header};
use sha1::Digest as _;

use super::HubSettings;
use super::exchange::{HubRequestError, get, next_chunk};
use super::listing::{ContentHash, HubFile};
use super::pull::{PullError, PullEvent};
use crate::digest::{CHUNK_BYTES, Digest, Hasher};
use crate::error::StoreError;

/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Bytes that must arrive before earlier failures are forgotten. Otherwise a server that sends a few bytes each time
/// would be retried forever.
const PROGRESS_BYTES: u64 = 1 << 20;

/// An unfinished download. It is stored under its hash, so that a later attempt can resume it.
struct PartialFile {
    path: PathBuf,
    file: File,
    received: u64,
    hasher: Hasher,
}

/// What to download from where.
pub(super) struct DownloadSource<'s> {
    pub(super) settings: &'s HubSettings,
    pub(super) address: String,
    pub(super) file: &'s HubFile,
}

/// Downloads a file into `folder`, resuming an earlier attempt, verifies its hash, and returns its path and digest.
///
/// # Errors
/// After an error the received bytes stay for the next attempt, unless the file does not match the hub's metadata:
/// then it is deleted.
pub(super) async fn download(
    source: &DownloadSource<'_>,
    folder: &Path,
    report: &mut (dyn FnMut(PullEvent<'_>) + Send),
) -> Result<(PathBuf, Digest), PullError> {
    let mut partial = PartialFile::open_elsewhere(folder, source.file).await?;
    if partial.received > 0 {
        report(PullEvent::Resumed { bytes: partial.received });
    }
    let (mut failures, mut pause) = (0, source.settings.backoff);
    while partial.received < source.file.bytes || source.file.bytes == 0 {
        let before = partial.received;
        let error = match stream(source, &mut partial, report).await {
            Ok(()) if partial.received == source.file.bytes => break,
            Ok(()) => HubRequestError::Connection {
                host: source.settings.endpoint.clone(),
                source: io::Error::other("the connection closed before the end of the file"),
            },
            Err(PullError::Exchange(error)) if error.is_passing() => error,
            Err(error) => return Err(error),
        };
        if partial.received >= before + PROGRESS_BYTES {
            (failures, pause) = (0, source.settings.backoff);
        }
        failures += 1;
        if failures >= source.settings.attempts.max(1) {
            return Err(PullError::GaveUp {
                file: source.file.path.clone(),
                have: partial.received,
                source: error,
            });
        }
        let wait = error.retry_after().unwrap_or(pause).min(PAUSE_MAX);
        report(PullEvent::Retry { reason: &error, wait });
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    let (file, path) = (source.file.clone(), partial.path.clone());
    // Finishing syncs the file, and reads some files once more.
    elsewhere(&path, move || partial.finish(&file)).await?
}

/// Runs work that waits for the disk on a thread that may block.
async fn elsewhere<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PullError> {
    let broken = |error| StoreError::at("read", path)(io::Error::other(error));
    Ok(tokio::task::spawn_blocking(work).await.map_err(broken)?)
}

/// Stops the work on another thread when nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Receives as much as one connection delivers.
async fn stream(
    source: &DownloadSource<'_>,
    partial: &mut PartialFile,
    report: &mut (dyn FnMut(PullEvent<'_>) + Send),
) -> Result<(), PullError> {
    let response = get(source.settings, &source.address, partial.received).await?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT if starts_at(response.headers(), partial.received) => {}
        // The server cannot resume, or resumed at another offset: start over.
        _ if partial.received > 0 => {
            report(PullEvent::Restarted { bytes: partial.received });
            partial.clear()?;
            if response.status() != StatusCode::OK {
                return Ok(());
            }
        }
        _ => {}
    }
    let mut body = response.into_body();
    while let Some(bytes) = next_chunk(&mut body, source.settings).await? {
        if partial.received + bytes.len() as u64 > source.file.bytes {
            partial.delete();
            return Err(PullError::Longer { file: source.file.path.clone(), expected: source.file.bytes });
        }
        partial.push(&bytes)?;
        report(PullEvent::Advanced { bytes: bytes.len() as u64 });
    }
    Ok(())
}

fn starts_at(headers: &http::HeaderMap, start: u64) -> bool {
    let range = headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let first = range.and_then(|range| range.trim_start_matches("bytes").trim().split('-').next());
    first.and_then(|first| first.parse().ok()) == Some(start)
}

impl PartialFile {
    /// Opens the received part of a file on another thread: gigabytes may have to be hashed again.
    async fn open_elsewhere(folder: &Path, expected: &HubFile) -> Result<Self, PullError> {
        let stop = Arc::new(AtomicBool::new(false));
        let _stop_on_drop = StopOnDrop(Arc::clone(&stop));
        let (owned, expected) = (folder.to_owned(), expected.clone());
        elsewhere(folder, move || Self::open(&owned, &expected, &stop)).await?
    }

    fn open(folder: &Path, expected: &HubFile, stop: &AtomicBool) -> Result<Self, PullError> {
        let name = match &expected.hash {
            ContentHash::Sha256(digest) => format!("sha256-{digest}"),
            ContentHash::Git(hash) => format!(
                "git-{}",
                hash.chars().filter(char::is_ascii_alphanumeric).take(64).collect::<String>()
            ),
        };
        let path = folder.join(name);
        let open = || {
            fs::create_dir_all(folder)?;
            File::options().create(true).read(true).append(true).open(&path)
        };
        let mut file = open().map_err(StoreError::at("write", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PullError::Busy { file: expected.path.clone() }),
            Err(TryLockError::Error(error)) => return Err(StoreError::at("lock", &path)(error).into()),
        }
        let (mut received, mut hasher) = (0, Hasher::default());
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut read = || {
            file.read(&mut chunk).inspect(|&count| {
                hasher.update(&chunk[..count]);
                received += count as u64;
            })
        };
        while read().map_err(StoreError::at("read", &path))? > 0 {
            if stop.load(Ordering::Relaxed) {
                let error = io::Error::other("the download was cancelled");
                return Err(StoreError::at("read", &path)(error).into());
            }
        }
        let mut partial = Self { path, file, received, hasher };
        if partial.received > expected.bytes {
            partial.clear()?;
        }
        Ok(partial)
    }

    fn clear(&mut self) -> Result<(), PullError> {
        let mut clear = || {
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0)).map(drop)
        };
        clear().map_err(StoreError::at("write", &self.path))?;
        (self.received, self.hasher) = (0, Hasher::default());
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), PullError> {
        self.file.write_all(bytes).map_err(StoreError::at("write", &self.path))?;
        self.hasher.update(bytes);
        self.received += bytes.len() as u64;
        Ok(())
    }

    fn delete(&self) {
        // If this fails, the next attempt finds the mismatch again.
        let _ = fs::remove_file(&self.path);
    }

    /// Compares the file with the hash from the hub.
    fn finish(self, expected: &HubFile) -> Result<(PathBuf, Digest), PullError> {
        self.file.sync_all().map_err(StoreError::at("write", &self.path))?;
        let found = self.hasher.clone().finish();
        let (expected_hash, found_hash) = match &expected.hash {
            ContentHash::Sha256(digest) => (digest.to_string(), found.to_string()),
            ContentHash::Git(hash) => {
                let hashed =
                    git_hash(&self.path, self.received).map_err(StoreError::at("read", &self.path))?;
                (hash.to_ascii_lowercase(), hashed)
            }
        };
        if expected_hash != found_hash {
            self.delete();
            let file = expected.path.clone();
            return Err(PullError::Hash { file, expected: expected_hash, found: found_hash });
        }
        Ok((self.path, found))
    }
}

/// Returns git's blob hash of a file.
fn git_hash(path: &Path, bytes: u64) -> io::Result<String> {
    let mut hasher = sha1::Sha1::new();
    hasher.update(format!("blob {bytes}\0"));
    let (mut file, mut chunk) = (File::open(path)?, vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            count => hasher.update(&chunk[..count]),
        }
    }
    Ok(HEXLOWER.encode(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_hashes_match_git() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "hello\n").unwrap();
        assert_eq!(git_hash(&path, 6).unwrap(), "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
