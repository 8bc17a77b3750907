//! The few file operations that the journal's writer needs, behind a trait, so that tests can make
//! each of them fail.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::private;

/// Where segments are created.
pub(crate) trait Disk: Send + Sync {
    /// Creates a file that does not exist yet, for appending.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
    /// Makes the names of new files in `directory` survive a power loss.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// One open segment, append-only.
pub(crate) trait SegmentFile: Send + Sync {
    /// Appends with one `write`, and returns how much of `bytes` it took.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts the file to `length` bytes.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Makes everything appended so far survive a power loss.
    fn sync(&self) -> io::Result<()>;
}

/// The disk of the machine.
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let file = private::file_options().append(true).create_new(true).open(path)?;
        Ok(Box::new(file))
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
    }
}

impl SegmentFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self;
        loop {
            match file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
