//! The scanner's configuration, and why building one may fail.

use bantam_types::Label;

/// What the gateway's owner adds to the built-in recognisers.
#[derive(Clone, Debug)]
pub struct ScannerConfig {
    /// The organisation's own words: project names, customers, anything proprietary.
    pub dictionary: Vec<DictionaryTerm>,
}

/// A word or phrase that gives a text at least the label `label`.
#[derive(Clone, PartialEq, Eq)]
pub struct DictionaryTerm {
    /// The term; case, width, look-alike letters and runs of whitespace do not matter.
    pub term: String,
    /// The label of a text that contains it.
    pub label: Label,
}

/// Shows only the label, because the term itself may be secret.
impl std::fmt::Debug for DictionaryTerm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DictionaryTerm").field("label", &self.label).finish_non_exhaustive()
    }
}

/// Why a scanner could not be built. Terms are identified by position, because they may be secret.
#[derive(Debug, thiserror::Error)]
pub enum BuildScannerError {
    /// Nothing is left of the term without whitespace and invisible characters.
    #[error("dictionary term {index} is empty")]
    EmptyTerm {
        /// Position in the dictionary, from 0.
        index: usize,
    },
    /// The term is too long.
    #[error("dictionary term {index} has {bytes} bytes; at most {bytes_max} are allowed")]
    TermTooLong {
        /// Position in the dictionary, from 0.
        index: usize,
        /// Its length.
        bytes: usize,
        /// The longest allowed length.
        bytes_max: usize,
    },
    /// There are more terms than one automaton should hold.
    #[error("the dictionary has {terms} terms; at most {terms_max} are allowed")]
    TooManyTerms {
        /// The number of terms given.
        terms: usize,
        /// The most allowed.
        terms_max: usize,
    },
    /// The automaton over a set of words could not be built.
    #[error("build the automaton for the {what}")]
    Automaton {
        /// The set of words.
        what: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
