//! The log of a training: one JSON object a line.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Opens a log; a training that is taken up again goes on behind the last whole line. The log is locked while the
/// training runs: two trainings cannot write one log, and whoever follows it sees when the training has ended, however it
/// ended.
pub(crate) fn open_log(path: &Path, resume: bool) -> std::io::Result<File> {
    let mut file = File::options().create(true).read(true).append(true).open(path)?;
    file.try_lock()?;
    if !resume {
        file.set_len(0)?;
    } else if file.seek(SeekFrom::End(-1)).is_ok() {
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_behind_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        std::fs::write(&path, "{\"step\":1}\n{\"st").unwrap();
        open_log(&path, true).unwrap().write_all(b"{\"step\":2}\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"st\n{\"step\":2}\n");
        open_log(&path, false).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        open_log(&folder.path().join("new.jsonl"), true).unwrap();
    }
}
