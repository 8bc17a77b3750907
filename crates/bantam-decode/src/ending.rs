//! Knows at every byte of an answer how many more bytes its grammar needs, and which.
//!
//! A constraint says what may come next, not how far away the end is. So a second, much smaller parser reads the same
//! bytes: the same lexer automaton under the same rules, as an Earley chart whose sets are kept. Each symbol has a
//! least cost in bytes, computed once for a grammar; each set of the chart knows what completing its symbols costs up
//! to the end of the answer. The distance to the end is then a minimum over the lexemes that may come next, and a
//! shortest ending is found by following it.
//!
//! Distances are exact unless the lexer prefers a longer lexeme over the shortest one, which JSON never does.
//!
//! **Invariant:** work and memory are bounded by counts. At its limit the automaton is begun anew; if what is asked needs
//! more than that, an answer's distance becomes unknown.

mod chart;
mod lexemes;
mod productions;

use std::sync::{Arc, Mutex, PoisonError};

use chart::Chart;
use lexemes::Lexemes;
use llguidance::earley::CGrammar;
use productions::Productions;

/// The cost of what cannot be completed.
const NEVER: u32 = u32::MAX;
/// Longest ending, in bytes.
const ENDING_BYTES_MAX: usize = 64 * 1024;

/// The distances of one grammar, shared by all of its answers.
pub(crate) struct Endings {
    productions: Productions,
    lexemes: Mutex<Lexemes>,
}

/// Why the distances of a grammar are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndingsError {
    /// The grammar has parts whose end depends on more than its rules.
    #[error("the grammar's end depends on more than its rules")]
    NotSupported,
    /// No answer of the grammar ever ends.
    #[error("every answer would go on forever: give recursive parts a way to end")]
    Endless,
    /// Computing them exceeds a limit.
    #[error("the shortest answer cannot be found within {ENDING_BYTES_MAX} bytes and the limits on work")]
    TooMuchWork,
}

impl Endings {
    /// Computes the least cost of each symbol of a grammar.
    pub(crate) fn new(grammar: &CGrammar) -> Result<Self, EndingsError> {
        let mut lexemes = Lexemes::new(grammar.lexer_spec())?;
        let productions = Productions::new(grammar, &mut lexemes)?;
        Ok(Self { productions, lexemes: Mutex::new(lexemes) })
    }

    fn with<T>(&self, work: impl FnOnce(&Productions, &mut Lexemes) -> T) -> T {
        work(&self.productions, &mut self.lexemes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How far one answer is from its end.
pub(crate) struct Progress {
    endings: Arc<Endings>,
    /// `None` once the answer left what is known of its grammar.
    chart: Option<Chart>,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Progress").field("is_known", &self.chart.is_some()).finish_non_exhaustive()
    }
}

impl Progress {
    /// Returns the position at the start of an answer.
    pub(crate) fn new(endings: Arc<Endings>) -> Self {
        let chart = endings.with(|productions, lexemes| {
            Chart::new(productions, lexemes)
                .or_else(|| if lexemes.renew() { Chart::new(productions, lexemes) } else { None })
        });
        Self { endings, chart }
    }

    /// Returns whether distances are known here.
    pub(crate) fn is_known(&self) -> bool {
        self.chart.is_some()
    }

    /// Reads bytes of the answer.
    pub(crate) fn read(&mut self, text: &[u8]) {
        let read = |chart: &mut Chart, productions: &Productions, lexemes: &mut Lexemes| {
            chart.read(text, productions, lexemes).then_some(())
        };
        if self.look(read).is_none() {
            self.chart = None;
        }
    }

    /// Returns how many bytes the answer needs after `text`; `None` if that is not known.
    pub(crate) fn distance_after(&mut self, text: &[u8]) -> Option<usize> {
        self.ahead(text, |chart, _, lexemes| chart.distance(lexemes).map(|distance| distance as usize))
    }

    /// Returns a shortest ending after `text`; `None` if none is known.
    pub(crate) fn ending_after(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        self.ahead(text, |chart, productions, lexemes| chart.ending(ENDING_BYTES_MAX, productions, lexemes))
    }

    fn ahead<T>(
        &mut self,
        text: &[u8],
        look: impl Fn(&mut Chart, &Productions, &mut Lexemes) -> Option<T>,
    ) -> Option<T> {
        self.look(|chart, productions, lexemes| {
            let mark = chart.mark();
            let found = chart.read(text, productions, lexemes).then(|| look(chart, productions, lexemes));
            chart.back_to(mark);
            found.flatten()
        })
    }

    /// Looks at the chart, a second time with a new automaton if the first one met a limit.
    fn look<T>(&mut self, look: impl Fn(&mut Chart, &Productions, &mut Lexemes) -> Option<T>) -> Option<T> {
        let chart = self.chart.as_mut()?;
        self.endings.with(|productions, lexemes| {
            let mark = chart.mark();
            let mut once = || chart.refresh(lexemes).then(|| look(chart, productions, lexemes)).flatten();
            if let Some(found) = once() {
                return Some(found);
            }
            chart.back_to(mark);
            (lexemes.renew() && chart.refresh(lexemes)).then(|| look(chart, productions, lexemes)).flatten()
        })
    }
}

#[cfg(test)]
mod tests;
