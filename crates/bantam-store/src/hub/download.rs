//! One file of the hub, to the last byte or to where it broke off.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{StatusCode, header};
use sha1::Digest as _;

use super::HubSettings;
use super::exchange::{ExchangeError, get, piece};
use super::listing::{Check, HubFile};
use super::pull::{PullError, PullEvent};
use crate::digest::{CHUNK_BYTES, Digest, Hasher};
use crate::error::StoreError;

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Bytes that have to come for failures before them to be forgotten: a server that gives a few bytes each time would
/// otherwise never be given up.
const PROGRESS_BYTES: u64 = 1 << 20;

/// A file on its way, kept under its hash until it is whole, so that another attempt goes on with it.
struct Partial {
    path: PathBuf,
    file: File,
    have: u64,
    hasher: Hasher,
}

/// Where a file comes from.
pub(super) struct Source<'s> {
    pub(super) settings: &'s HubSettings,
    pub(super) address: String,
    pub(super) file: &'s HubFile,
}

/// Downloads a file into `folder`, going on where another attempt broke off, checks it, and returns where it lies and
/// what it holds.
///
/// # Errors
/// What has come stays for the next attempt, but for a file that is not what the hub says it is: that one is deleted.
pub(super) async fn download(
    source: &Source<'_>,
    folder: &Path,
    tell: &mut (dyn FnMut(PullEvent<'_>) + Send),
) -> Result<(PathBuf, Digest), PullError> {
    let mut partial = Partial::open_elsewhere(folder, source.file).await?;
    if partial.have > 0 {
        tell(PullEvent::Resumed { bytes: partial.have });
    }
    let (mut failures, mut pause) = (0, source.settings.backoff);
    while partial.have < source.file.bytes || source.file.bytes == 0 {
        let before = partial.have;
        let error = match stream(source, &mut partial, tell).await {
            Ok(()) if partial.have == source.file.bytes => break,
            Ok(()) => ExchangeError::Connection {
                host: source.settings.endpoint.clone(),
                source: io::Error::other("the connection ended before the file did"),
            },
            Err(PullError::Exchange(error)) if error.is_passing() => error,
            Err(error) => return Err(error),
        };
        if partial.have >= before + PROGRESS_BYTES {
            (failures, pause) = (0, source.settings.backoff);
        }
        failures += 1;
        if failures >= source.settings.attempts.max(1) {
            return Err(PullError::GaveUp {
                file: source.file.path.clone(),
                have: partial.have,
                source: error,
            });
        }
        let wait = error.retry_after().unwrap_or(pause).min(PAUSE_MAX);
        tell(PullEvent::Retry { reason: &error, wait });
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    let (file, path) = (source.file.clone(), partial.path.clone());
    // What the disk holds is synced, and for some files read once more.
    elsewhere(&path, move || partial.finish(&file)).await?
}

/// Does work that waits for the disk on a thread where that holds up nobody.
async fn elsewhere<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PullError> {
    let broken = |error| StoreError::at("read", path)(io::Error::other(error));
    Ok(tokio::task::spawn_blocking(work).await.map_err(broken)?)
}

/// Tells work on another thread that nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Takes what one connection gives.
async fn stream(
    source: &Source<'_>,
    partial: &mut Partial,
    tell: &mut (dyn FnMut(PullEvent<'_>) + Send),
) -> Result<(), PullError> {
    let response = get(source.settings, &source.address, partial.have).await?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT if starts_at(response.headers(), partial.have) => {}
        // The server does not go on in the middle, or in another: from the beginning, then.
        _ if partial.have > 0 => {
            tell(PullEvent::Restarted { bytes: partial.have });
            partial.clear()?;
            if response.status() != StatusCode::OK {
                return Ok(());
            }
        }
        _ => {}
    }
    let mut body = response.into_body();
    while let Some(bytes) = piece(&mut body, source.settings).await? {
        if partial.have + bytes.len() as u64 > source.file.bytes {
            partial.delete();
            return Err(PullError::Longer { file: source.file.path.clone(), expected: source.file.bytes });
        }
        partial.push(&bytes)?;
        tell(PullEvent::Advanced { bytes: bytes.len() as u64 });
    }
    Ok(())
}

fn starts_at(headers: &http::HeaderMap, start: u64) -> bool {
    let range = headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let first = range.and_then(|range| range.trim_start_matches("bytes").trim().split('-').next());
    first.and_then(|first| first.parse().ok()) == Some(start)
}

impl Partial {
    /// Opens what has come of a file, on another thread: gigabytes may have to be hashed again.
    async fn open_elsewhere(folder: &Path, expected: &HubFile) -> Result<Self, PullError> {
        let stop = Arc::new(AtomicBool::new(false));
        let _stop_on_drop = StopOnDrop(Arc::clone(&stop));
        let (owned, expected) = (folder.to_owned(), expected.clone());
        elsewhere(folder, move || Self::open(&owned, &expected, &stop)).await?
    }

    fn open(folder: &Path, expected: &HubFile, stop: &AtomicBool) -> Result<Self, PullError> {
        let name = match &expected.check {
            Check::Sha256(digest) => format!("sha256-{digest}"),
            Check::Git(hash) => format!(
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
        let (mut have, mut hasher) = (0, Hasher::default());
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut read = || {
            file.read(&mut chunk).inspect(|&count| {
                hasher.update(&chunk[..count]);
                have += count as u64;
            })
        };
        while read().map_err(StoreError::at("read", &path))? > 0 {
            if stop.load(Ordering::Relaxed) {
                let error = io::Error::other("the download was cancelled");
                return Err(StoreError::at("read", &path)(error).into());
            }
        }
        let mut partial = Self { path, file, have, hasher };
        if partial.have > expected.bytes {
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
        (self.have, self.hasher) = (0, Hasher::default());
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), PullError> {
        self.file.write_all(bytes).map_err(StoreError::at("write", &self.path))?;
        self.hasher.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }

    fn delete(&self) {
        // What cannot be deleted is found to be wrong again next time.
        let _ = fs::remove_file(&self.path);
    }

    /// Holds the file against what the hub says of it.
    fn finish(self, expected: &HubFile) -> Result<(PathBuf, Digest), PullError> {
        self.file.sync_all().map_err(StoreError::at("write", &self.path))?;
        let found = self.hasher.clone().finish();
        let (expected_hash, found_hash) = match &expected.check {
            Check::Sha256(digest) => (digest.to_string(), found.to_string()),
            Check::Git(hash) => {
                let hashed = git_hash(&self.path, self.have).map_err(StoreError::at("read", &self.path))?;
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

/// Returns the hash that git has for a file's content.
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
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_s_hash_is_that_of_git() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "hello\n").unwrap();
        assert_eq!(git_hash(&path, 6).unwrap(), "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
