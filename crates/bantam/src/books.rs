//! The books of a configuration, opened. Everything else here knows the contract alone.

use std::path::Path;
use std::sync::Arc;

use bantam_books::{Books, BooksReader};
use bantam_config::Config;
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions, LedgerReader, Retention};

use crate::failure::Failure;

/// Books that this process writes.
#[derive(Clone)]
pub(crate) struct OpenBooks {
    ledger: Arc<Ledger>,
}

impl OpenBooks {
    /// Opens the books for writing, or makes them.
    pub(crate) fn open(config: &Config) -> Result<Self, Failure> {
        let path = &config.ledger.path;
        let shown = path.display();
        if let Some(folder) = path.parent() {
            bantam_jobs::create_private_folder(folder).map_err(|error| {
                Failure::from_error(format!("cannot make the folder of the ledger {shown}"), &error)
            })?;
        }
        let acknowledge = match config.ledger.acknowledge {
            bantam_config::Acknowledge::ProcessCrash => Acknowledge::ProcessCrash,
            bantam_config::Acknowledge::PowerLoss => Acknowledge::PowerLoss,
        };
        let options = LedgerOptions {
            retention: Retention { days: config.ledger.keep_days, bytes: config.ledger.keep_bytes },
            keep_prompt_previews: config.ledger.keep_prompt_previews,
            ..LedgerOptions::new(acknowledge)
        };
        let ledger = Ledger::open(path, options)
            .map_err(|error| Failure::from_error(format!("cannot open the ledger {shown}"), &error))?;
        Ok(Self { ledger: Arc::new(ledger) })
    }

    /// Returns the side that writes.
    pub(crate) fn books(&self) -> Arc<dyn Books> {
        Arc::<Ledger>::clone(&self.ledger)
    }

    /// Opens the side that reads.
    pub(crate) fn reader(&self) -> Result<Box<dyn BooksReader>, Failure> {
        let reader = self.ledger.reader();
        Ok(Box::new(reader.map_err(|error| Failure::from_error("cannot read the ledger", &error))?))
    }

    /// Waits until readers see everything that was settled.
    pub(crate) fn catch_up(&self) -> Result<(), Failure> {
        self.ledger.fold().map_err(|error| Failure::from_error("cannot bring the ledger up to date", &*error))
    }

    /// Brings everything to rest, and gives the books up for others to open.
    pub(crate) fn close(&self) -> Result<(), Failure> {
        self.ledger.close().map_err(|error| Failure::from_error("cannot close the ledger", &error))
    }
}

/// Opens the configured books for reading, also while a gateway writes them.
pub(crate) fn open_reader(ledger: &Path) -> Result<Box<dyn BooksReader>, Failure> {
    let reader = LedgerReader::open(ledger).map_err(|error| {
        Failure::from_error(format!("cannot read the ledger {}", ledger.display()), &error)
            .hint("it is made when `bantam serve` runs for the first time")
    })?;
    Ok(Box::new(reader))
}

/// Says that the books cannot be read.
pub(crate) fn unreadable(error: &bantam_books::ReadError) -> Failure {
    Failure::from_error("cannot read the ledger", error)
}
