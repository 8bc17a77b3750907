//! Writes files atomically.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::hash::{HashingWriter, WeightsHash};

type HashedFile = HashingWriter<BufWriter<File>>;

/// Writes a file so that, whatever happens, the path has either its previous content or everything that `body` wrote.
/// Returns the hash of the new content.
pub(super) fn write(
    path: &Path,
    body: impl FnOnce(&mut HashedFile) -> io::Result<()>,
) -> io::Result<WeightsHash> {
    replace(path, |file| {
        let mut sink = HashingWriter::new(file);
        body(&mut sink)?;
        Ok(sink.finish())
    })
}

/// Like [`write`], but without the hash, which takes seconds for gigabytes.
pub(super) fn write_unhashed(
    path: &Path,
    body: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    replace(path, |mut file| body(&mut file).map(|()| (file, ())))
}

fn replace<T>(
    path: &Path,
    body: impl FnOnce(BufWriter<File>) -> io::Result<(BufWriter<File>, T)>,
) -> io::Result<T> {
    let (temporary, file) = create_beside(path)?;
    let written =
        write_through(file, body).and_then(|written| fs::rename(&temporary, path).map(|()| written));
    if written.is_err() {
        // Report the first failure; a leftover file does no harm.
        let _ = fs::remove_file(&temporary);
        return written;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Not every system can open a folder. If it can, this makes the rename durable.
    if let Ok(folder) = File::open(folder) {
        folder.sync_all()?;
    }
    written
}

/// Creates a new file beside `path`. Never writes through an existing file or a link.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut temporary = path.as_os_str().to_owned();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    temporary.push(format!(".{}-{count}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let create = || OpenOptions::new().write(true).create_new(true).open(&temporary);
    let file = match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left over from an earlier process with this id.
            fs::remove_file(&temporary)?;
            create()?
        }
        created => created?,
    };
    Ok((temporary, file))
}

fn write_through<T>(
    file: File,
    body: impl FnOnce(BufWriter<File>) -> io::Result<(BufWriter<File>, T)>,
) -> io::Result<T> {
    let (buffer, written) = body(BufWriter::with_capacity(1 << 16, file))?;
    let file = buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(written)
}

/// Writes zeros up to the next multiple of `alignment` and returns the new position.
pub(super) fn pad(sink: &mut impl Write, at: usize, alignment: usize) -> io::Result<usize> {
    let end = at.next_multiple_of(alignment);
    io::copy(&mut io::Read::take(io::repeat(0), (end - at) as u64), sink)?;
    Ok(end)
}
