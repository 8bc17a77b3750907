//! Mistakes in a configuration, and how a terminal shows them.

use std::fmt;

/// How many mistakes are written out at most; a file that is not TOML at all has thousands.
const SHOWN_MAX: usize = 50;

/// Whether Bantam can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but somebody should know.
    Warning,
}

impl Severity {
    /// Returns the word that begins the message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What kind of mistake it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MistakeKind {
    /// The text is not TOML.
    Syntax,
    /// No such setting.
    UnknownKey,
    /// The value's type, range or format.
    BadValue,
    /// A required setting is not there.
    Missing,
    /// It names a model, upstream, file or variable that is not there.
    Unreachable,
    /// It is fine alone but not together with another setting.
    Conflict,
}

impl MistakeKind {
    /// Returns whether such a mistake may be nothing but the echo of a syntax error elsewhere.
    pub(crate) const fn may_follow_from_syntax(self) -> bool {
        matches!(self, Self::Missing | Self::Unreachable | Self::Conflict)
    }
}

/// Where a mistake stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the file.
    File {
        /// The file as the caller named it.
        name: String,
        /// The line, counted from 1.
        line: usize,
        /// The column in characters, counted from 1.
        column: usize,
    },
    /// In an environment variable, by its name.
    Variable(String),
    /// On the command line, by the key that was set.
    Flag(String),
    /// Nowhere: something is missing or follows from defaults.
    Whole,
}

/// The line a mistake stands on, safe for a terminal: no control characters, no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, or the part of a long one around the mistake.
    pub text: String,
    /// Characters of `text` before the mistake.
    pub offset: usize,
    /// Characters that the mistake covers, at least 1.
    pub length: usize,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether Bantam can start all the same.
    pub severity: Severity,
    /// What kind of mistake.
    pub kind: MistakeKind,
    /// The path of the offending key; empty for syntax errors.
    pub key: String,
    /// What is wrong, with the key.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Where.
    pub location: Location,
    /// The line, when it stands in the file.
    pub excerpt: Option<Excerpt>,
}

/// Everything that is wrong with a configuration: at least one error, and the warnings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file as the caller named it.
    pub file: String,
    /// All mistakes, in the order of the file; those outside it last.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether syntax errors kept names and combinations from being checked.
    pub incomplete: bool,
}

impl ConfigErrors {
    /// Returns how many of the mistakes have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in self.diagnostics.iter().take(SHOWN_MAX) {
            writeln!(f, "{diagnostic}\n")?;
        }
        if let Some(rest @ 1..) = self.diagnostics.len().checked_sub(SHOWN_MAX) {
            writeln!(f, "note: {rest} more not shown\n")?;
        }
        if self.incomplete {
            writeln!(f, "note: names and combinations are checked once the syntax is right\n")?;
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        write!(f, "{}: {errors} error{}", self.file, if errors == 1 { "" } else { "s" })?;
        if warnings > 0 {
            write!(f, ", {warnings} warning{}", if warnings == 1 { "" } else { "s" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    /// Writes the mistake as compilers do, in several lines without a line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity.as_str(), self.message)?;
        match &self.location {
            Location::File { name, line, column } => {
                let gutter = line.to_string().len();
                write!(f, "\n{:gutter$}--> {name}:{line}:{column}", "")?;
                if let Some(Excerpt { text, offset, length }) = &self.excerpt {
                    write!(f, "\n{:gutter$} |\n{line} | {text}", "")?;
                    write!(f, "\n{:gutter$} | {:offset$}{:^<length$}", "", "", "")?;
                }
            }
            Location::Variable(name) => write!(f, "\n --> environment variable {name}")?,
            Location::Flag(key) => write!(f, "\n --> command line, {key}")?,
            Location::Whole => {}
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhelp: {hint}")?;
        }
        Ok(())
    }
}
