//! Brings what a crash left in the journal into the store, before anything new is written.

use std::path::{Path, PathBuf};

use crate::error::FoldError;
use crate::journal::segment::{JournalError, SegmentReader};
use crate::journal::{next_number, segment_numbers, segment_path};
use crate::options::Damage;
use crate::store::Store;

/// What was found when the ledger was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Settlements that only the journal had.
    pub settlements: u64,
    /// Bytes of records whose write never finished, and which were therefore never acknowledged.
    pub torn_bytes: u64,
    /// Damaged segments that were set aside; see [`Damage::SetAside`].
    pub damaged: Vec<PathBuf>,
}

/// Folds and deletes all segments, oldest first. Returns what was found and the number of the next
/// segment.
pub(crate) fn replay(
    directory: &Path,
    store: &mut dyn Store,
    damage: Damage,
) -> Result<(Recovered, u64), FoldError> {
    let read = |source| JournalError::Read { path: directory.to_owned(), source };
    let mut recovered = Recovered::default();
    let next_number = next_number(directory).map_err(read)?;
    for number in segment_numbers(directory).map_err(read)? {
        let path = segment_path(directory, number);
        match replay_segment(&path, store, &mut recovered) {
            Err(FoldError::Journal(JournalError::Damaged { .. })) if damage == Damage::SetAside => {
                recovered.damaged.push(set_aside(&path)?);
            }
            result => {
                result?;
                std::fs::remove_file(&path).map_err(|source| FoldError::Remove { path, source })?;
            }
        }
    }
    Ok((recovered, next_number))
}

fn replay_segment(path: &Path, store: &mut dyn Store, recovered: &mut Recovered) -> Result<(), FoldError> {
    let Some(mut reader) = SegmentReader::open(path)? else {
        return Ok(());
    };
    let length = reader.length()?;
    loop {
        let batch = match reader.batch(length) {
            Err(JournalError::Damaged { .. }) if reader.only_zeros_follow()? => break,
            batch => batch?,
        };
        if batch.entries.is_empty() {
            break;
        }
        recovered.settlements += store.fold(&batch.entries)?.settlements;
        reader.advance(&batch);
    }
    recovered.torn_bytes += length.saturating_sub(reader.offset());
    Ok(())
}

fn set_aside(path: &Path) -> Result<PathBuf, FoldError> {
    let aside = path.with_added_extension("damaged");
    std::fs::rename(path, &aside).map_err(|source| FoldError::Remove { path: path.to_owned(), source })?;
    Ok(aside)
}
