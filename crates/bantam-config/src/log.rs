//! Collects mistakes and settings while the tree is read.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use crate::excerpt::Lines;
use crate::origin::{Origin, Place, Setting, Spot};
use crate::{Diagnostic, Location, MistakeKind, Severity, Source, secret};

/// What is wrong with one value: a predicate that follows its key, and the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Reads after the key: "must be a string".
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Option<String>,
    /// Whether the value may be a secret and must not be shown.
    pub(crate) is_secret: bool,
}

impl Problem {
    /// Returns a problem without a hint.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, is_secret: false }
    }

    /// Returns the problem with a next step.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the problem, its value never shown.
    pub(crate) fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }
}

/// Mistakes and settings so far. Interior mutability, because many readers share it for a short while.
#[derive(Debug)]
pub(crate) struct Log<'a> {
    source: &'a Source<'a>,
    lines: Lines<'a>,
    found: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    settings: Vec<(String, String, Place)>,
    secrets: Vec<Range<usize>>,
    known: BTreeSet<String>,
}

#[derive(Debug)]
struct Entry {
    severity: Severity,
    kind: MistakeKind,
    spot: Spot,
    message: String,
    hint: Option<String>,
}

/// Everything a finished log knows.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Mistakes in the order of the file.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Effective settings in the order they were read.
    pub(crate) settings: Vec<Setting>,
    /// Patterns of all keys that somebody asked for, such as `models.*.tier`.
    #[cfg_attr(not(test), expect(dead_code, reason = "compared with the example in a test"))]
    pub(crate) known: BTreeSet<String>,
    /// Whether syntax errors made later checks meaningless.
    pub(crate) incomplete: bool,
}

impl<'a> Log<'a> {
    /// Returns an empty log over the source's text.
    pub(crate) fn new(source: &'a Source<'a>) -> Self {
        Self { source, lines: Lines::new(source.text), found: RefCell::default() }
    }

    /// Records an error about the value at `spot`.
    pub(crate) fn problem(&self, kind: MistakeKind, spot: &Spot, problem: Problem) {
        self.about(Severity::Error, kind, spot, problem);
    }

    /// Records a warning about the value at `spot`.
    pub(crate) fn warn(&self, kind: MistakeKind, spot: &Spot, problem: Problem) {
        self.about(Severity::Warning, kind, spot, problem);
    }

    /// Records an error whose message does not begin with a key.
    pub(crate) fn plain(&self, kind: MistakeKind, place: Place, message: String, hint: Option<String>) {
        self.push(Severity::Error, kind, Spot { key: String::new(), place }, message, hint);
    }

    /// Records a warning whose message does not begin with a key.
    pub(crate) fn plain_warning(
        &self,
        kind: MistakeKind,
        place: Place,
        message: String,
        hint: Option<String>,
    ) {
        self.push(Severity::Warning, kind, Spot { key: String::new(), place }, message, hint);
    }

    /// Records a key that no setting has.
    pub(crate) fn unknown_key(&self, spot: &Spot, hint: Option<String>) {
        let message = format!("unknown key `{}`", spot.key);
        self.push(Severity::Error, MistakeKind::UnknownKey, spot.clone(), message, hint);
    }

    /// Records what the TOML parser says; the rest of a line that may hold a secret is hidden.
    pub(crate) fn syntax(&self, message: &str, span: Range<usize>) {
        let (start, line) = self.lines.line_text(span.start);
        if let Some((key, _)) = line.split_once('=')
            && secret::sounds_secret(key)
        {
            self.hide(&Place::File(start + key.len() + 1..start + line.len()));
        }
        self.plain(MistakeKind::Syntax, Place::File(span), message.to_owned(), None);
    }

    /// Returns how many mistakes there are so far, to see whether a part was read without one.
    pub(crate) fn count(&self) -> usize {
        self.found.borrow().entries.len()
    }

    /// Keeps the bytes at `place` out of every message.
    pub(crate) fn hide(&self, place: &Place) {
        if let Place::File(span) = place {
            self.found.borrow_mut().secrets.push(span.clone());
        }
    }

    /// Records an effective setting.
    pub(crate) fn setting(&self, key: String, value: String, place: &Place) {
        self.found.borrow_mut().settings.push((key, value, place.clone()));
    }

    /// Remembers that a key of this pattern exists.
    pub(crate) fn known(&self, pattern: String) {
        self.found.borrow_mut().known.insert(pattern);
    }

    /// Returns which setting at which origin `place` is.
    fn origin(&self, place: &Place) -> Origin {
        match place {
            Place::Default => Origin::Default,
            Place::File(span) => Origin::File { line: self.lines.line(span.start) },
            Place::Variable(name) => Origin::Env((*name).to_owned()),
            Place::Flag => Origin::Flag,
        }
    }

    /// Returns everything that was recorded, without what only follows from syntax errors.
    pub(crate) fn finish(self) -> Outcome {
        let State { mut entries, settings, secrets, known } = self.found.take();
        let line_of = |entry: &Entry| match &entry.spot.place {
            Place::File(span) => Some(self.lines.line(span.start)),
            _ => None,
        };
        let is_syntax = |entry: &Entry| entry.kind == MistakeKind::Syntax;
        let broken: BTreeSet<_> = entries.iter().filter(|entry| is_syntax(entry)).map(line_of).collect();
        let incomplete = !broken.is_empty();
        entries.retain(|entry| {
            let echo = incomplete && entry.kind.may_follow_from_syntax() || broken.contains(&line_of(entry));
            is_syntax(entry) || !echo
        });
        entries.sort_by_key(|entry| match &entry.spot.place {
            Place::File(span) => span.start,
            _ => usize::MAX,
        });
        let settings = settings
            .into_iter()
            .map(|(key, value, place)| Setting { key, value, origin: self.origin(&place) })
            .collect();
        let diagnostics = entries.into_iter().map(|entry| self.diagnostic(entry, &secrets)).collect();
        Outcome { diagnostics, settings, known, incomplete }
    }

    fn about(&self, severity: Severity, kind: MistakeKind, spot: &Spot, problem: Problem) {
        if problem.is_secret {
            self.hide(&spot.place);
        }
        let message = format!("`{}` {}", spot.key, problem.message);
        self.push(severity, kind, spot.clone(), message, problem.hint);
    }

    fn push(&self, severity: Severity, kind: MistakeKind, spot: Spot, message: String, hint: Option<String>) {
        self.found.borrow_mut().entries.push(Entry { severity, kind, spot, message, hint });
    }

    fn diagnostic(&self, entry: Entry, secrets: &[Range<usize>]) -> Diagnostic {
        let Entry { severity, kind, spot, message, hint } = entry;
        let (location, excerpt) = match spot.place {
            Place::Default => (Location::Whole, None),
            Place::Variable(name) => (Location::Variable(name.to_owned()), None),
            Place::Flag => (Location::Flag(spot.key.clone()), None),
            Place::File(span) => {
                let (line, column) = (self.lines.line(span.start), self.lines.column(span.start));
                let location = Location::File { name: self.source.name.to_owned(), line, column };
                (location, Some(self.lines.excerpt(&span, secrets)))
            }
        };
        Diagnostic { severity, kind, key: spot.key, message, hint, location, excerpt }
    }
}
