//! Where a setting comes from.

use std::ops::Range;

/// Which layer decided a setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File {
        /// The line, counted from 1.
        line: usize,
    },
    /// An environment variable, by its name.
    Env(String),
    /// The command line.
    Flag,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { line } => write!(f, "file, line {line}"),
            Self::Env(name) => write!(f, "environment, {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// One effective setting, as `bantam config show` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key's path, quoted where TOML wants quotes.
    pub key: String,
    /// The value in TOML, on one line.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value was found while reading; [`Origin`] before lines are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere: it is a default.
    Default,
    /// Bytes of the file.
    File(Range<usize>),
    /// An environment variable.
    Variable(&'static str),
    /// The command line.
    Flag,
}

/// A setting's full key and where its value was found: what a message points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The key's full path.
    pub(crate) key: String,
    /// Where its value, or failing that its table, was found.
    pub(crate) place: Place,
}

/// A value together with what a later message about it points at.
#[derive(Clone, Debug)]
pub(crate) struct Found<T> {
    /// The value.
    pub(crate) value: T,
    /// Its key and place.
    pub(crate) spot: Spot,
}

impl<T> Found<T> {
    /// Returns whether nobody set the value.
    pub(crate) fn is_default(&self) -> bool {
        self.spot.place == Place::Default
    }
}
