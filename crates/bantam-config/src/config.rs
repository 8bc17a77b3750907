//! The validated configuration.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bantam_types::TaskName;

use crate::origin::{Origin, Setting};
use crate::{Diagnostic, Ledger, Local, Model, Privacy, Routing, Server, Store, Students, Task, Upstream};

/// Everything Bantam was told: names resolve, files were there, limits are in range.
///
/// There is no secret in it, only names of environment variables, so that it may be shown and logged.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The HTTP edge.
    pub server: Server,
    /// Where costs are kept.
    pub ledger: Ledger,
    /// Where models are kept.
    pub store: Store,
    /// What the students in this process may use.
    pub students: Students,
    /// What language models in this process may use.
    pub local: Local,
    /// What `auto` stands for.
    pub routing: Routing,
    /// Which labels may travel where.
    pub privacy: Privacy,
    /// Providers and engines by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Models by the name that callers say.
    pub models: BTreeMap<String, Model>,
    /// Tasks by name.
    pub tasks: BTreeMap<TaskName, Task>,
    /// What is legal but worth knowing.
    pub warnings: Vec<Diagnostic>,
    /// The file as messages name it.
    pub(crate) file: String,
    /// Every effective setting.
    pub(crate) settings: Vec<Setting>,
}

impl Config {
    /// Returns every effective setting, in the order of sections.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Returns where the setting `key` comes from; `None` when it has no value.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.settings.iter().find(|setting| setting.key == key).map(|setting| &setting.origin)
    }

    /// Returns the configuration as TOML, one setting a line, that reads back as the same configuration.
    ///
    /// With `with_origin` each line ends with a comment that says where the setting comes from. Relative
    /// paths appear resolved. Keys are written whole, so that the output can be searched line by line.
    pub fn render(&self, with_origin: bool) -> String {
        let mut text = String::new();
        for Setting { key, value, origin } in &self.settings {
            let line = format!("{key} = {value}");
            // Writing to a string cannot fail.
            let _ = if with_origin {
                let origin = self.describe(origin);
                writeln!(text, "{line:<60}   # {origin}")
            } else {
                writeln!(text, "{line}")
            };
        }
        text
    }

    fn describe(&self, origin: &Origin) -> String {
        match origin {
            Origin::Default => "default".to_owned(),
            Origin::File { line } => {
                let file: String = self.file.chars().filter(|character| !character.is_control()).collect();
                format!("{file}:{line}")
            }
            Origin::Env(name) => name.clone(),
            Origin::Flag => "flag".to_owned(),
        }
    }
}
