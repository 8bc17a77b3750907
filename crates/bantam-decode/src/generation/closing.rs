//! Ending a JSON answer within its tokens: one that is cut off in the middle is no JSON.
//!
//! Where few tokens are left, the shortest way to the end is known before each token is chosen: a string is closed,
//! what is required gets the first value that is allowed. A token after which the rest would no longer fit is not taken;
//! the way to the end is taken in its place. The way is found greedily, so it may be longer than need be, never wrong.

use crate::constraint::{Constraint, ConstraintError};
use crate::tokens::TokenTable;

/// What is tried outside of strings, in this order, before anything else.
// 1 before 0: "-0.0" ends only behind another digit.
const OUTSIDE: &[u8] = b"}],\"1023456789tfn[{-. :eE+";
/// What is tried inside of strings.
const INSIDE: &[u8] = b"\"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-:.T/ \\";
/// The longest way that is looked for, in tokens.
const WAY_MAX: usize = 1_024;

/// Where a JSON text stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    in_string: bool,
    is_escaped: bool,
}

impl Place {
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

/// The end of one answer.
#[derive(Debug)]
pub(super) struct Closing {
    place: Place,
    /// Tokens left from which on the way to the end is kept at hand.
    near: usize,
    /// The way from here, once it was looked for.
    way: Option<Vec<u32>>,
}

impl Closing {
    /// Returns the end of an answer that has not begun; None where no way to an end fits into `left` tokens.
    pub(super) fn new(constraint: &Constraint, table: &TokenTable, left: usize) -> Option<Self> {
        let place = Place::default();
        let shortest = constraint.shortest(|| way(constraint.clone(), place, table).map(Into::into))?;
        let near = 2 * shortest.len() + 32;
        (shortest.len() <= left).then(|| Self { place, near, way: Some(shortest.to_vec()) })
    }

    /// Takes the tokens that began the answer, which nothing chose, off the way.
    pub(super) fn begin(&mut self, forced: impl Iterator<Item = u32>) {
        let Some(way) = self.way.take() else { return };
        let forced: Vec<u32> = forced.collect();
        self.way = way.strip_prefix(&forced[..]).map(<[u32]>::to_vec);
    }

    /// Reads what was appended.
    pub(super) fn read(&mut self, text: &[u8]) {
        self.place.read(text);
    }

    /// Returns the tokens to take in the place of `token`, after which the rest would not fit into `left` tokens.
    pub(super) fn instead_of(
        &mut self,
        token: u32,
        left: usize,
        constraint: &Constraint,
        table: &TokenTable,
    ) -> Result<Option<Vec<u32>>, ConstraintError> {
        if left > self.near {
            self.way = None;
            return Ok(None);
        }
        let way_now = self.way.take().or_else(|| way(constraint.clone(), self.place, table));
        let Some(way_now) = way_now.filter(|way| way.len() <= left) else {
            // Too late, or nothing that this finds leads there; it would be looked for in vain at every token.
            self.near = 0;
            return Ok(None);
        };
        if table.is_end(token) {
            return Ok(None);
        }
        let mut ahead = constraint.clone();
        ahead.accept(token)?;
        let mut place = self.place;
        place.read(table.text(token));
        let forced = ahead.forced()?;
        forced.iter().for_each(|token| place.read(table.text(*token)));
        let taken = 1 + forced.len();
        if ahead.is_finished() && taken <= left {
            return Ok(None);
        }
        // Within a string, and wherever else nothing new was begun, the way is what it was.
        let fits = |way: &Vec<u32>| taken + way.len() <= left;
        let still = fits(&way_now) && leads_to_end(ahead.clone(), &way_now);
        let way_then = if still { Some(way_now.clone()) } else { way(ahead, place, table).filter(fits) };
        match way_then {
            Some(way) => {
                self.way = Some(way);
                Ok(None)
            }
            None => Ok(Some(way_now)),
        }
    }
}

fn leads_to_end(mut constraint: Constraint, way: &[u32]) -> bool {
    way.iter().all(|token| constraint.accept(*token).is_ok()) && constraint.is_complete()
}

/// A short way to the end; None where none is found.
fn way(mut constraint: Constraint, mut place: Place, table: &TokenTable) -> Option<Vec<u32>> {
    let mut way = Vec::new();
    loop {
        for token in constraint.forced().ok()? {
            place.read(table.text(token));
            way.push(token);
        }
        if constraint.is_complete() {
            return Some(way);
        }
        if way.len() >= WAY_MAX {
            return None;
        }
        let mask = constraint.mask().ok()?;
        let tried = if place.in_string { INSIDE } else { OUTSIDE };
        let of_bytes = tried.iter().filter_map(|byte| table.of_byte(*byte));
        let token =
            of_bytes.chain(mask.tokens()).find(|token| mask.allows(*token) && !table.is_end(*token))?;
        constraint.accept(token).ok()?;
        place.read(table.text(token));
        way.push(token);
    }
}
