//! Ends a JSON answer within its token limit, because truncated JSON is invalid.
//!
//! When few tokens are left, a short ending is computed before each token is chosen: it closes strings and gives
//! required values the first allowed content. If the rest would no longer fit after a token, the token is dropped and
//! the ending is appended instead. Endings are found greedily, so they may be longer than necessary but are never
//! wrong.

use crate::constraint::{Constraint, ConstraintError};
use crate::tokens::TokenTable;

/// Bytes to try outside strings, in this order, before any other token. 1 comes before 0 because "-0.0" can end only
/// after another digit.
const OUTSIDE: &[u8] = b"}],\"1023456789tfn[{-. :eE+";
/// Bytes to try inside strings.
const INSIDE: &[u8] = b"\"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-:.T/ \\";
/// Longest ending to search for, in tokens.
const ENDING_TOKENS_MAX: usize = 1_024;

/// The position in a JSON text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct JsonPosition {
    in_string: bool,
    is_escaped: bool,
}

impl JsonPosition {
    fn read(&mut self, text: &[u8]) {
        for byte in text {
            match (self.in_string, self.is_escaped, byte) {
                (true, true, _) => self.is_escaped = false,
                (true, false, b'\\') => self.is_escaped = true,
                (true, false, b'"') => self.in_string = false,
                (false, _, b'"') => self.in_string = true,
                _ => {}
            }
        }
    }
}

/// Keeps an ending for one answer at hand.
#[derive(Debug)]
pub(super) struct JsonCloser {
    position: JsonPosition,
    /// Number of remaining tokens from which on an ending is kept up to date.
    near: usize,
    /// The ending from here, once computed.
    ending: Option<Vec<u32>>,
}

impl JsonCloser {
    /// Returns `None` if no ending fits into `left` tokens.
    pub(super) fn new(constraint: &Constraint, table: &TokenTable, left: usize) -> Option<Self> {
        let position = JsonPosition::default();
        let shortest =
            constraint.shortest(|| find_ending(constraint.clone(), position, table).map(Into::into))?;
        let near = 2 * shortest.len() + 32;
        (shortest.len() <= left).then(|| Self { position, near, ending: Some(shortest.to_vec()) })
    }

    /// Removes the forced tokens at the start of the answer from the ending.
    pub(super) fn begin(&mut self, forced: impl Iterator<Item = u32>) {
        let Some(ending) = self.ending.take() else { return };
        let forced: Vec<u32> = forced.collect();
        self.ending = ending.strip_prefix(&forced[..]).map(<[u32]>::to_vec);
    }

    /// Reads appended text.
    pub(super) fn read(&mut self, text: &[u8]) {
        self.position.read(text);
    }

    /// Returns the tokens to append instead of `token`, if the rest would not fit into `left` tokens after it.
    pub(super) fn instead_of(
        &mut self,
        token: u32,
        left: usize,
        constraint: &Constraint,
        table: &TokenTable,
    ) -> Result<Option<Vec<u32>>, ConstraintError> {
        if left > self.near {
            self.ending = None;
            return Ok(None);
        }
        let ending_now = self.ending.take().or_else(|| find_ending(constraint.clone(), self.position, table));
        let Some(ending_now) = ending_now.filter(|ending| ending.len() <= left) else {
            // Too late, or no ending was found; searching again at every token would be wasted.
            self.near = 0;
            return Ok(None);
        };
        if table.is_end(token) {
            return Ok(None);
        }
        let mut ahead = constraint.clone();
        ahead.accept(token)?;
        let mut position = self.position;
        position.read(table.text(token));
        let forced = ahead.forced()?;
        forced.iter().for_each(|token| position.read(table.text(*token)));
        let taken = 1 + forced.len();
        if ahead.is_finished() && taken <= left {
            return Ok(None);
        }
        // Inside a string, and wherever nothing new was opened, the ending stays the same.
        let fits = |ending: &Vec<u32>| taken + ending.len() <= left;
        let still = fits(&ending_now) && leads_to_end(ahead.clone(), &ending_now);
        let ending_then =
            if still { Some(ending_now.clone()) } else { find_ending(ahead, position, table).filter(fits) };
        match ending_then {
            Some(ending) => {
                self.ending = Some(ending);
                Ok(None)
            }
            None => Ok(Some(ending_now)),
        }
    }
}

fn leads_to_end(mut constraint: Constraint, ending: &[u32]) -> bool {
    ending.iter().all(|token| constraint.accept(*token).is_ok()) && constraint.is_complete()
}

/// Returns a short ending, or `None` if none is found.
fn find_ending(
    mut constraint: Constraint,
    mut position: JsonPosition,
    table: &TokenTable,
) -> Option<Vec<u32>> {
    let mut ending = Vec::new();
    loop {
        for token in constraint.forced().ok()? {
            position.read(table.text(token));
            ending.push(token);
        }
        if constraint.is_complete() {
            return Some(ending);
        }
        if ending.len() >= ENDING_TOKENS_MAX {
            return None;
        }
        let mask = constraint.mask().ok()?;
        let tried = if position.in_string { INSIDE } else { OUTSIDE };
        let of_bytes = tried.iter().filter_map(|byte| table.of_byte(*byte));
        let token =
            of_bytes.chain(mask.tokens()).find(|token| mask.allows(*token) && !table.is_end(*token))?;
        constraint.accept(token).ok()?;
        position.read(table.text(token));
        ending.push(token);
    }
}
