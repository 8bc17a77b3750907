//! `[privacy]`: which labels may travel where, and the words that are secret only here.

use bantam_types::{Label, Tier};

use crate::MistakeKind;
use crate::log::Problem;
use crate::section::Section;
use crate::toml_text::{self, TomlText};
use crate::value;

/// How many terms a dictionary may have.
const TERMS_MAX: usize = 10_000;

/// All labels' names, least sensitive first.
pub(crate) const LABELS: &[&str] = &["public", "internal", "confidential", "restricted"];

/// What the privacy policy needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privacy {
    /// The most sensitive label that the mid tier may see.
    pub mid: Label,
    /// The most sensitive label that the frontier tier may see.
    pub frontier: Label,
    /// Words that make a request sensitive, in the order of the file.
    pub dictionary: Vec<DictionaryTerm>,
}

impl Privacy {
    /// Returns the most sensitive label that `tier` may see; the local tier may see everything.
    pub const fn highest(&self, tier: Tier) -> Label {
        match tier {
            Tier::Local => Label::Restricted,
            Tier::Mid => self.mid,
            Tier::Frontier => self.frontier,
        }
    }
}

/// A word that makes a request sensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictionaryTerm {
    /// The word or words; case is as written and not meant to matter.
    pub term: String,
    /// What a request that holds it is labelled at least.
    pub label: Label,
}

impl TomlText for DictionaryTerm {
    fn toml_text(&self) -> String {
        format!("{{ term = {}, label = {} }}", toml_text::string(&self.term), self.label.toml_text())
    }
}

/// Reads `[privacy]`.
pub(crate) fn read(root: &mut Section<'_>) -> Privacy {
    let mut section = root.table("privacy");
    let mid = cloud_label(&mut section, "mid");
    let frontier = cloud_label(&mut section, "frontier");
    section.refuse("local", "remove it: the local tier may always see every label");
    let dictionary = dictionary(&mut section);
    section.finish();
    Privacy { mid, frontier, dictionary }
}

fn cloud_label(section: &mut Section<'_>, tier: &'static str) -> Label {
    let found = section.or(tier, Label::Internal, value::word(LABELS));
    if found.value > Label::Internal {
        let problem = Problem::new(format!("lets {} requests leave for the {tier} tier", found.value))
            .hint("make sure that everybody whose data this is agrees; the default is \"internal\"");
        section.log().warn(MistakeKind::Conflict, &found.spot, problem);
    }
    found.value
}

fn dictionary(section: &mut Section<'_>) -> Vec<DictionaryTerm> {
    let Some((spot, tables)) = section.listed_tables("dictionary") else {
        if !section.has("dictionary") {
            section.default_is("dictionary", &Vec::<DictionaryTerm>::new());
        }
        return Vec::new();
    };
    let log = section.log();
    if tables.len() > TERMS_MAX {
        let problem =
            Problem::new(format!("has {} terms", tables.len())).hint(format!("allowed: {TERMS_MAX}"));
        log.problem(MistakeKind::BadValue, &spot, problem);
        return Vec::new();
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut terms = Vec::with_capacity(tables.len());
    for mut table in tables {
        let term = table.required("term", value::filled_text(200));
        let label = table.or("label", Label::Confidential, value::word(LABELS));
        if label.value == Label::Public {
            let problem = Problem::new("cannot be `public`: every request is at least that")
                .hint("use \"internal\", \"confidential\" or \"restricted\", or remove the term");
            log.problem(MistakeKind::BadValue, &label.spot, problem);
        }
        table.finish();
        let Some(term) = term else { continue };
        if term.value.trim().chars().count() < 2 {
            let problem = Problem::new("is a single character, which nearly every request holds");
            log.problem(MistakeKind::BadValue, &term.spot, problem);
        } else if !seen.insert(term.value.trim().to_lowercase()) {
            let problem = Problem::new(format!("names {} twice", value::quote(&term.value)))
                .hint("case makes no difference; keep the one with the higher label");
            log.problem(MistakeKind::BadValue, &term.spot, problem);
        }
        terms.push(DictionaryTerm { term: term.value.trim().to_owned(), label: label.value });
    }
    section.list(&spot.key, &terms, &spot.place);
    terms
}
