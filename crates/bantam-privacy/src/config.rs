//! What a scanner is built from, and why building may fail.

use bantam_types::Label;

/// What the owner of the gateway adds to the built-in recognisers.
#[derive(Clone, Debug)]
pub struct ScannerConfig {
    /// Words of the house: project names, customers, anything proprietary.
    pub dictionary: Vec<DictionaryTerm>,
}

/// A word or phrase that makes a text as sensitive as `label` says.
#[derive(Clone, PartialEq, Eq)]
pub struct DictionaryTerm {
    /// The term; case, width, look-alike letters and runs of blanks do not matter.
    pub term: String,
    /// The label of a text that holds it.
    pub label: Label,
}

/// Shows the label only, as the term may be a secret itself.
impl std::fmt::Debug for DictionaryTerm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DictionaryTerm").field("label", &self.label).finish_non_exhaustive()
    }
}

/// A scanner that could not be built. Terms are named by position, as they may be secret themselves.
#[derive(Debug, thiserror::Error)]
pub enum BuildScannerError {
    /// The term has nothing left once blanks and invisible characters are gone.
    #[error("dictionary term {index} is empty")]
    EmptyTerm {
        /// Position in the dictionary, from 0.
        index: usize,
    },
    /// The term is longer than any word or phrase.
    #[error("dictionary term {index} has {bytes} bytes, more than {bytes_max}")]
    TermTooLong {
        /// Position in the dictionary, from 0.
        index: usize,
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// More terms than one automaton should hold.
    #[error("dictionary has {terms} terms, more than {terms_max}")]
    TooManyTerms {
        /// How many were given.
        terms: usize,
        /// The most allowed.
        terms_max: usize,
    },
    /// The automaton over all terms could not be built.
    #[error("build the automaton of the {what}")]
    Automaton {
        /// Which set of words it was for.
        what: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
