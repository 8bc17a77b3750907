//! `[ledger]`: where costs are kept, for how long, and what an acknowledged one survives.

use std::path::PathBuf;

use crate::amount;
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
    /// Single requests older than this many days are removed; `None` keeps them. Sums by the hour stay.
    pub keep_days: Option<u32>,
    /// The oldest single requests are removed while the ledger's file is larger than this; `None` sets no limit.
    pub keep_bytes: Option<u64>,
    /// Whether the beginnings of discovered prompts are kept, for `bantam task list` to show.
    pub keep_prompt_previews: bool,
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
        keep_days: section.optional("keep_days", value::whole(1..=36_500)).map(|days| days.value),
        keep_bytes: section
            .optional("keep_size", |node| amount::bytes(node, "disk space"))
            .map(|size| size.value.0),
        keep_prompt_previews: section.or("keep_prompt_previews", false, value::boolean).value,
    };
    section.finish();
    ledger
}
