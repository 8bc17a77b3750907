//! One automaton over the few words that trigger a closer look.

use aho_corasick::{AhoCorasick, MatchKind};

use crate::config::BuildScannerError;

/// What a cue word suggests about the text around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cue {
    /// A spelled-out separator.
    Spelled,
    /// A name that passwords are assigned to.
    Password,
    /// A name that keys and tokens are assigned to.
    Key,
    /// `bearer`, which the token follows without a mark.
    Bearer,
    /// The words of a PEM private key.
    PrivateKey,
}

const CUES: [(&str, Cue); 44] = [
    (" dot ", Cue::Spelled),
    ("(dot)", Cue::Spelled),
    ("[dot]", Cue::Spelled),
    ("{dot}", Cue::Spelled),
    ("<dot>", Cue::Spelled),
    (" dot)", Cue::Spelled),
    (" dot]", Cue::Spelled),
    ("(at)", Cue::Spelled),
    ("[at]", Cue::Spelled),
    ("{at}", Cue::Spelled),
    ("<at>", Cue::Spelled),
    (" at)", Cue::Spelled),
    (" at]", Cue::Spelled),
    ("(@)", Cue::Spelled),
    ("[@]", Cue::Spelled),
    ("[.]", Cue::Spelled),
    ("(.)", Cue::Spelled),
    ("{.}", Cue::Spelled),
    (" punkt ", Cue::Spelled),
    (" at gmail.", Cue::Spelled),
    (" at yahoo.", Cue::Spelled),
    (" at hotmail.", Cue::Spelled),
    (" at outlook.", Cue::Spelled),
    (" at icloud.", Cue::Spelled),
    (" at proton", Cue::Spelled),
    ("passwor", Cue::Password),
    ("passwd", Cue::Password),
    ("passphrase", Cue::Password),
    ("passcode", Cue::Password),
    ("pwd", Cue::Password),
    ("secret", Cue::Key),
    ("api_key", Cue::Key),
    ("apikey", Cue::Key),
    ("api-key", Cue::Key),
    ("api key", Cue::Key),
    ("token", Cue::Key),
    ("access_key", Cue::Key),
    ("access-key", Cue::Key),
    ("access key", Cue::Key),
    ("accountkey", Cue::Key),
    ("accesskey", Cue::Key),
    ("credential", Cue::Key),
    ("bearer ", Cue::Bearer),
    ("private key", Cue::PrivateKey),
];

/// The automaton.
#[derive(Clone, Debug)]
pub(crate) struct Cues {
    automaton: AhoCorasick,
}

impl Cues {
    /// Builds the automaton; it is the same for every scanner.
    pub(crate) fn new() -> Result<Self, BuildScannerError> {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(CUES.iter().map(|(word, _)| word))
            .map_err(|source| BuildScannerError::Automaton { what: "cue words", source: source.into() })?;
        Ok(Self { automaton })
    }

    /// Returns every cue in a lower-case text, with the position where it ends.
    pub(super) fn find<'a>(&'a self, lower: &'a str) -> impl Iterator<Item = (Cue, usize)> + 'a {
        self.automaton.find_iter(lower).map(|found| (CUES[found.pattern().as_usize()].1, found.end()))
    }
}
