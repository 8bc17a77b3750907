//! What a configuration is made from.

use std::path::Path;

/// The text of the file and everything around it that may set or resolve a setting.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file as messages name it, such as `bantam.toml`.
    pub name: &'a str,
    /// The file's text; empty when there is no file. At most 1 MiB.
    pub text: &'a str,
    /// The folder that relative paths start from, whichever layer sets them; absolute, so that a rendered
    /// configuration means the same wherever it is read back.
    pub folder: &'a Path,
    /// The folder for what Bantam writes by itself, such as the ledger.
    pub state_folder: &'a Path,
    /// The folder for what users bring, such as models.
    pub data_folder: &'a Path,
    /// What the command line sets, last one wins.
    pub overrides: &'a [Override],
    /// Names of the set environment variables that start with `BANTAM_`, to find misspelt ones; without
    /// those that the command line reads itself.
    pub variable_names: &'a [String],
    /// What the configuration is needed for.
    pub purpose: Purpose,
}

/// What a configuration is needed for, which decides what has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To serve requests: every key that is named must be set and every file must exist.
    Serve,
    /// To look something up, such as what was spent: a key that is not set, or a file that is not there, is no
    /// mistake. Files are warned about; keys are not looked at.
    LookUp,
}

/// One setting from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key's path as in TOML: `server.bind`, `models."llama3.2:3b".tier`.
    pub key: String,
    /// The value: text as it is, numbers, `true`; lists as `a,b` or `["a", "b"]`.
    pub value: String,
}

/// Looks up environment variables.
pub trait Env {
    /// Returns the variable's value; `None` when it is not set (or not Unicode).
    fn get(&self, name: &str) -> Option<String>;
}

/// Looks up files.
pub trait Files {
    /// Returns whether a file stands at `path`.
    fn exists(&self, path: &Path) -> bool;
}

impl Env for std::collections::BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        Self::get(self, name).cloned()
    }
}

impl Files for std::collections::BTreeSet<std::path::PathBuf> {
    fn exists(&self, path: &Path) -> bool {
        self.contains(path)
    }
}
