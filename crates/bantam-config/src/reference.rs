//! Every setting with its type, its default and its meaning; the reference page is generated from [`ALL`].
//!
//! The readers stay the format: tests hold this table against them, key by key, default by default and limit by limit,
//! so that a setting cannot be added, changed or removed without its row here.

mod table;

pub use table::ALL;

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueKind {
    /// `true` or `false`.
    Boolean,
    /// A whole number within limits.
    Whole {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A number within limits.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Text of this form.
    Text(&'static str),
    /// A list of texts of this form.
    Texts(&'static str),
}

impl std::fmt::Display for ValueKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Boolean => f.write_str("`true` or `false`"),
            Self::Whole { min, max } => write!(f, "whole number, {} to {}", grouped(*min), grouped(*max)),
            Self::Number { min, max } => write!(f, "number, {min} to {max}"),
            Self::OneOf(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
                f.write_str(&words.join(", "))
            }
            Self::Text(form) => f.write_str(form),
            Self::Texts(form) => write!(f, "list of {form}"),
        }
    }
}

/// Returns a number with a comma before every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let comma = |place: usize| place > 0 && (digits.len() - place).is_multiple_of(3);
    let write = |(place, digit)| if comma(place) { format!(",{digit}") } else { format!("{digit}") };
    digits.chars().enumerate().map(write).collect()
}

/// What holds where nobody sets a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// Somebody has to.
    Required,
    /// There is none.
    Unset,
    /// This value, as TOML.
    Value(&'static str),
    /// What these words say.
    Derived(&'static str),
}

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnownSetting {
    /// Its key; `*` stands for the name of an upstream, a model or a task.
    pub key: &'static str,
    /// What it may be.
    pub kind: ValueKind,
    /// What holds without it.
    pub default: DefaultValue,
    /// What it does, one sentence or two.
    pub about: &'static str,
}

/// A section of the file with what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSection {
    /// Its header, as it stands in the file.
    pub header: &'static str,
    /// What its keys begin with.
    pub prefix: &'static str,
    /// What it is about.
    pub about: &'static str,
}

const fn section(header: &'static str, prefix: &'static str, about: &'static str) -> KnownSection {
    KnownSection { header, prefix, about }
}

/// All sections, in the order of the file.
pub const SECTIONS: &[KnownSection] = &[
    section(
        "[server]",
        "server.",
        "Where Bantam listens, whom it serves, and the limit of everything a caller can use up.",
    ),
    section("[ledger]", "ledger.", "Where costs are kept."),
    section("[store]", "store.", "Where the models are kept that `bantam pull` and `bantam import` bring."),
    section("[students]", "students.", "The small models that run in this process."),
    section("[local]", "local.", "The language models that run in this process."),
    section("[routing]", "routing.", "What `auto` tries, and what savings are measured against."),
    section(
        "[privacy]",
        "privacy.",
        "Which labels may leave for each tier; the local tier may see everything. `[[privacy.dictionary]]` may stand as \
         often as needed.",
    ),
    section("[network]", "network.", "The way to upstreams."),
    section("[upstreams.NAME]", "upstreams.*.", "A provider or an engine that models run on."),
    section(
        "[models.NAME]",
        "models.*.",
        "A model, by the name that callers say. Not `auto`, not `student`, and nothing that begins with `task/`. It runs on \
         an `upstream`, or in this process from a `file` or the `store`.",
    ),
    section(
        "[tasks.NAME]",
        "tasks.*.",
        "A narrow job, called as `task/NAME` or recognised by its prompt's fingerprint.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_as_people_write_them() {
        let check = |kind: ValueKind, expected: &str| assert_eq!(kind.to_string(), expected);
        check(ValueKind::Whole { min: 0, max: 1_073_741_824 }, "whole number, 0 to 1,073,741,824");
        check(ValueKind::Whole { min: 64, max: 100_000 }, "whole number, 64 to 100,000");
        check(ValueKind::OneOf(&["a", "b"]), "`\"a\"`, `\"b\"`");
        check(ValueKind::Texts("labels"), "list of labels");
    }
}
