//! `[ledger]`: where costs are kept, and what an acknowledged one survives.

use std::path::PathBuf;

use crate::context::Context;
use crate::section::Section;
use crate::toml_text::{self, TomlText};
use crate::value::{self, Named};

/// What an acknowledged cost survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acknowledge {
    /// The end of the process at any point; the system writes to disk when it likes.
    ProcessCrash,
    /// Also the end of the machine: every acknowledgement waits for the disk.
    PowerLoss,
}

impl Acknowledge {
    /// Returns the name as it stands in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProcessCrash => "process-crash",
            Self::PowerLoss => "power-loss",
        }
    }
}

impl Named for Acknowledge {
    fn from_name(name: &str) -> Option<Self> {
        [Self::ProcessCrash, Self::PowerLoss].into_iter().find(|choice| choice.as_str() == name)
    }
}

impl TomlText for Acknowledge {
    fn toml_text(&self) -> String {
        toml_text::string(self.as_str())
    }
}

/// What the ledger needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The ledger's file; it need not be there yet.
    pub path: PathBuf,
    /// What an acknowledged cost survives.
    pub acknowledge: Acknowledge,
}

/// Reads `[ledger]`.
pub(crate) fn read(root: &mut Section<'_>, context: &Context<'_>) -> Ledger {
    let mut section = root.table("ledger");
    let file = value::filled_text(4096);
    let default = context.source.state_folder.join("ledger.sqlite");
    let ledger = Ledger {
        path: section.or("path", default, |node| file(node).map(|path| context.resolve(&path))).value,
        acknowledge: section
            .or("acknowledge", Acknowledge::ProcessCrash, value::word(&["process-crash", "power-loss"]))
            .value,
    };
    section.finish();
    ledger
}
