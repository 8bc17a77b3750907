//! A table that is read key by key: mistakes are recorded, and reading goes on.

use crate::document::{Node, Table, Value, parse_loose};
use crate::log::{Log, Problem};
use crate::nearest::{nearest, suggestion};
use crate::origin::{Found, Place, Spot};
use crate::toml_text::{self, TomlText};
use crate::{MistakeKind, secret, value};

/// What is left of a table. Call [`Self::finish`] at the end: what nobody asked for is unknown.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    path: String,
    pattern: String,
    place: Place,
    entries: Table,
    known: Vec<&'static str>,
    is_listed: bool,
    log: &'a Log<'a>,
}

impl<'a> Section<'a> {
    /// Returns the whole tree as a section.
    pub(crate) fn root(entries: Table, log: &'a Log<'a>) -> Self {
        let (path, pattern, known) = (String::new(), String::new(), Vec::new());
        Self { path, pattern, place: Place::Default, entries, known, is_listed: true, log }
    }

    /// Returns the log that mistakes go to.
    pub(crate) const fn log(&self) -> &'a Log<'a> {
        self.log
    }

    /// Returns what a message points at when `key` is not there.
    pub(crate) fn spot(&self, key: &str) -> Spot {
        Spot { key: join(&self.path, &toml_text::key(key)), place: self.place.clone() }
    }

    /// Returns what a message about the whole table points at.
    pub(crate) fn own_spot(&self) -> Spot {
        Spot { key: self.path.clone(), place: self.place.clone() }
    }

    /// Returns whether somebody set `key` and nobody has read it yet.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Reads a setting that may be absent; also absent when it was bad.
    pub(crate) fn optional<T: TomlText>(
        &mut self,
        key: &'static str,
        convert: impl Fn(&Node) -> Result<T, Problem>,
    ) -> Option<Found<T>> {
        let node = self.take(key)?;
        let spot = Spot { key: join(&self.path, key), place: node.place.clone() };
        match convert(&node) {
            Ok(value) => {
                self.list(&spot.key, &value, &spot.place);
                Some(Found { value, spot })
            }
            Err(problem) => {
                self.log.problem(MistakeKind::BadValue, &spot, problem);
                None
            }
        }
    }

    /// Reads a setting that has to be there.
    pub(crate) fn required<T: TomlText>(
        &mut self,
        key: &'static str,
        convert: impl Fn(&Node) -> Result<T, Problem>,
    ) -> Option<Found<T>> {
        if !self.has(key) {
            self.remember(key);
            let mut spot = self.spot(key);
            spot.key.clone_from(&self.path);
            let problem = Problem::new(format!("needs the key `{key}`"));
            self.log.problem(MistakeKind::Missing, &spot, problem);
            return None;
        }
        self.optional(key, convert)
    }

    /// Reads a setting that has a default; the default also stands in for a bad value.
    pub(crate) fn or<T: TomlText>(
        &mut self,
        key: &'static str,
        default: T,
        convert: impl Fn(&Node) -> Result<T, Problem>,
    ) -> Found<T> {
        let is_set = self.has(key);
        if let Some(found) = self.optional(key, convert) {
            return found;
        }
        if !is_set {
            self.default_is(key, &default);
        }
        Found { value: default, spot: Spot { key: join(&self.path, key), place: Place::Default } }
    }

    /// Reads a list whose elements differ; bad elements are left out.
    pub(crate) fn items<T: TomlText + PartialEq>(
        &mut self,
        key: &'static str,
        convert: impl Fn(&str) -> Result<T, Problem>,
    ) -> Option<Found<Vec<Found<T>>>> {
        let node = self.take(key)?;
        let spot = Spot { key: join(&self.path, key), place: node.place.clone() };
        let nodes = self.elements(&node, &spot)?;
        let mut items: Vec<Found<T>> = Vec::with_capacity(nodes.len());
        for element in nodes {
            let spot = Spot { key: spot.key.clone(), place: element.place.clone() };
            match value::text(&element).and_then(|text| convert(&text)) {
                Ok(value) if items.iter().any(|item| item.value == value) => {
                    let problem = Problem::new(format!("names {} twice", value.toml_text()));
                    self.log.problem(MistakeKind::BadValue, &spot, problem);
                }
                Ok(value) => items.push(Found { value, spot }),
                Err(problem) => self.log.problem(MistakeKind::BadValue, &spot, problem),
            }
        }
        self.list(&spot.key, &items, &spot.place);
        Some(Found { value: items, spot })
    }

    /// Reads a list like [`Self::items`]; without the key it is empty.
    pub(crate) fn items_or_none<T: TomlText + PartialEq>(
        &mut self,
        key: &'static str,
        convert: impl Fn(&str) -> Result<T, Problem>,
    ) -> Vec<Found<T>> {
        if !self.has(key) {
            self.default_is(key, &Vec::<Found<T>>::new());
        }
        self.items(key, convert).map(|found| found.value).unwrap_or_default()
    }

    /// Returns the table `key`, empty when it is absent.
    pub(crate) fn table(&mut self, key: &'static str) -> Self {
        self.optional_table(key).unwrap_or_else(|| self.child(key, key, Place::Default, Table::new()))
    }

    /// Returns the table `key` when it is there.
    pub(crate) fn optional_table(&mut self, key: &'static str) -> Option<Self> {
        let node = self.take(key)?;
        let spot = Spot { key: join(&self.path, key), place: node.key_place };
        let entries = self.entries_of(node.value, &spot)?;
        Some(self.child(key, key, spot.place, entries))
    }

    /// Returns the tables in the table `key`, each with the name it has there.
    pub(crate) fn named_tables(&mut self, key: &'static str) -> Vec<(String, Self)> {
        let outer = self.table(key);
        let read = |(name, node): (String, Node)| {
            let spot = Spot { key: join(&outer.path, &toml_text::key(&name)), place: node.key_place };
            let entries = outer.entries_of(node.value, &spot)?;
            let section = outer.child(&toml_text::key(&name), "*", spot.place, entries);
            Some((name, section))
        };
        outer.entries.clone().into_iter().filter_map(read).collect()
    }

    /// Returns the tables of the list `key` with its place; their keys are not settings of their own.
    pub(crate) fn listed_tables(&mut self, key: &'static str) -> Option<(Spot, Vec<Self>)> {
        let node = self.take(key)?;
        let spot = Spot { key: join(&self.path, key), place: node.key_place.clone() };
        let nodes = self.elements(&node, &spot)?;
        let read = |element: Node| {
            let spot = Spot { key: spot.key.clone(), place: element.place };
            let entries = self.entries_of(element.value, &spot)?;
            Some(Self { is_listed: false, ..self.child(key, key, spot.place, entries) })
        };
        Some((spot.clone(), nodes.into_iter().filter_map(read).collect()))
    }

    /// Records the value that `key` has although nobody set it.
    pub(crate) fn default_is(&self, key: &str, value: &impl TomlText) {
        self.list(&join(&self.path, key), value, &Place::Default);
    }

    /// Records the value of a key that was read by [`Self::listed_tables`].
    pub(crate) fn list(&self, key: &str, value: &impl TomlText, place: &Place) {
        if self.is_listed {
            self.log.setting(key.to_owned(), value.toml_text(), place);
        }
    }

    /// Reports a key that users expect but that is deliberately missing.
    pub(crate) fn refuse(&mut self, key: &str, hint: &str) {
        if let Some(node) = self.entries.remove(key) {
            let spot = Spot { place: node.key_place, ..self.spot(key) };
            if secret::sounds_secret(key) {
                self.log.hide(&node.place);
            }
            self.log.unknown_key(&spot, Some(hint.to_owned()));
        }
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self) {
        for (key, node) in &self.entries {
            let spot = Spot { key: join(&self.path, &toml_text::key(key)), place: node.key_place.clone() };
            if secret::sounds_secret(key) {
                self.log.hide(&node.place);
            }
            let known = || self.known.iter().copied();
            let variable = known().find(|known| known.starts_with("api_key_env"));
            let hint = match variable {
                Some(variable) if secret::sounds_secret(key) && nearest(key, known()).is_none() => {
                    Some(format!(
                        "if this is a secret, put it into an environment variable and write its name as `{variable}`"
                    ))
                }
                _ => suggestion(key, known()),
            };
            self.log.unknown_key(&spot, hint);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.remember(key);
        self.entries.remove(key)
    }

    fn remember(&mut self, key: &'static str) {
        if !self.known.contains(&key) {
            self.known.push(key);
            self.log.known(join(&self.pattern, key));
        }
    }

    fn child(&self, segment: &str, pattern: &str, place: Place, entries: Table) -> Self {
        Self {
            path: join(&self.path, segment),
            pattern: join(&self.pattern, pattern),
            place,
            entries,
            known: Vec::new(),
            is_listed: self.is_listed,
            log: self.log,
        }
    }

    fn entries_of(&self, value: Value, spot: &Spot) -> Option<Table> {
        let structured = match &value {
            Value::Loose(text) => parse_loose(text, &spot.place),
            _ => None,
        };
        match structured.unwrap_or(value) {
            Value::Table(entries) => Some(entries),
            other => {
                self.log.problem(MistakeKind::BadValue, spot, value::wrong_type("a table", &other));
                None
            }
        }
    }

    fn elements(&self, node: &Node, spot: &Spot) -> Option<Vec<Node>> {
        match &node.value {
            Value::List(nodes) => Some(nodes.clone()),
            Value::Loose(text) if text.trim_start().starts_with('[') => {
                match parse_loose(text, &node.place) {
                    Some(Value::List(nodes)) => Some(nodes),
                    _ => {
                        let problem = Problem::new("is not a list").hint("write `a,b` or `[\"a\", \"b\"]`");
                        self.log.problem(MistakeKind::BadValue, spot, problem);
                        None
                    }
                }
            }
            Value::Loose(text) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                let element = |word: &str| Node { value: Value::Loose(word.to_owned()), ..node.clone() };
                Some(words.map(element).collect())
            }
            other => {
                self.log.problem(MistakeKind::BadValue, spot, value::wrong_type("a list", other));
                None
            }
        }
    }
}

fn join(path: &str, segment: &str) -> String {
    if path.is_empty() { segment.to_owned() } else { format!("{path}.{segment}") }
}
