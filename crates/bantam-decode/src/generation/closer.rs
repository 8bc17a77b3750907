//! Ends an answer within its token limit, because most of what is cut off is worthless: half a JSON text is none.
//!
//! Before a token is taken, the closer asks how many bytes the answer needs after it. If even one token per byte fits
//! into what is left, nothing else needs to be known. Only near the limit are endings written down and counted in
//! tokens. If the answer could no longer end in time after a token, the token is dropped and the ending from before it
//! is appended.
//!
//! **Invariant:** after every step, the rest of the answer fits into the tokens left.

use crate::constraint::{Constraint, ConstraintError};
use crate::ending::Progress;
use crate::tokens::TokenTable;

/// Knows how one answer can end.
#[derive(Debug)]
pub(super) struct Closer {
    progress: Progress,
    /// The ending from here, if it was written down.
    ending: Option<Vec<u32>>,
}

/// The number of tokens of the shortest answer, which is over the limit.
pub(super) struct TooLong(pub(super) usize);

impl Closer {
    /// Returns `None` if no ending is known for the grammar, so that the answer may be cut off.
    ///
    /// # Errors
    /// [`TooLong`] if no answer fits into `left` tokens.
    pub(super) fn new(
        constraint: &Constraint,
        table: &TokenTable,
        left: usize,
    ) -> Result<Option<Self>, TooLong> {
        let Some(mut progress) = constraint.progress() else { return Ok(None) };
        let find = || shortest_answer(constraint, &mut progress, table).map(Into::into);
        let Some(shortest) = constraint.shortest(find) else { return Ok(None) };
        if shortest.len() > left {
            return Err(TooLong(shortest.len()));
        }
        Ok(Some(Self { progress, ending: Some(shortest.to_vec()) }))
    }

    /// Removes the forced tokens at the start of the answer from the ending.
    pub(super) fn begin(&mut self, forced: impl Iterator<Item = u32>) {
        let forced: Vec<u32> = forced.collect();
        self.ending = self.ending.take().and_then(|ending| Some(ending.strip_prefix(&forced[..])?.to_vec()));
    }

    /// Reads appended text.
    pub(super) fn read(&mut self, text: &[u8]) {
        self.progress.read(text);
    }

    /// Returns the tokens that end the answer after an error of the constraint, if they fit into `left` tokens. The
    /// constraint can no longer confirm them.
    pub(super) fn rescue(&mut self, left: usize, table: &TokenTable) -> Option<Vec<u32>> {
        let by_bytes = |text: Vec<u8>| text.iter().map(|byte| table.of_byte(*byte)).collect();
        let ending = self.ending.take().or_else(|| self.progress.ending_after(&[]).and_then(by_bytes));
        ending.filter(|ending| ending.len() <= left)
    }

    /// Returns the tokens to append instead of `token`, if the rest would not fit into `left` tokens after it.
    pub(super) fn instead_of(
        &mut self,
        token: u32,
        left: usize,
        constraint: &Constraint,
        table: &TokenTable,
    ) -> Result<Option<Vec<u32>>, ConstraintError> {
        let ending = self.ending.take();
        if table.is_end(token) || !self.progress.is_known() {
            return Ok(None);
        }
        let text = table.text(token);
        let fits_by_bytes = |distance: usize| table.has_bytes() && distance < left;
        if self.progress.distance_after(text).is_some_and(fits_by_bytes) {
            return Ok(None);
        }
        self.ending = ending;
        let mut ahead = constraint.clone();
        ahead.accept(token)?;
        let forced = ahead.forced()?;
        let taken = 1 + forced.len();
        let mut text = text.to_vec();
        forced.iter().for_each(|token| text.extend(table.text(*token)));
        let then = self.progress.ending_after(&text).and_then(|bytes| tokens(&bytes, &ahead, table));
        if let Some(then) = then.filter(|then| taken + then.len() <= left) {
            self.ending = Some(then);
            return Ok(None);
        }
        let now = self.ending.take().or_else(|| tokens(&self.progress.ending_after(&[])?, constraint, table));
        Ok(now.filter(|now| now.len() <= left))
    }
}

/// Returns the tokens of a shortest answer: those that are forced at its start, and a shortest ending after them.
fn shortest_answer(constraint: &Constraint, progress: &mut Progress, table: &TokenTable) -> Option<Vec<u32>> {
    let mut ahead = constraint.clone();
    let mut answer = ahead.forced().ok()?;
    let text: Vec<u8> = answer.iter().flat_map(|token| table.text(*token)).copied().collect();
    let ending = progress.ending_after(&text)?;
    answer.extend(tokens(&ending, &ahead, table)?);
    Some(answer)
}

/// Returns text as tokens that the constraint allows: as the model's tokenizer splits it, or else by bytes.
fn tokens(text: &[u8], constraint: &Constraint, table: &TokenTable) -> Option<Vec<u32>> {
    let spell = |tokens: &[u32]| tokens.iter().flat_map(|token| table.text(*token)).eq(text);
    let whole = constraint.tokenize(text).filter(|tokens| spell(tokens) && leads_to_end(constraint, tokens));
    whole.or_else(|| {
        let bytes: Option<Vec<u32>> = text.iter().map(|byte| table.of_byte(*byte)).collect();
        bytes.filter(|tokens| leads_to_end(constraint, tokens))
    })
}

fn leads_to_end(constraint: &Constraint, ending: &[u32]) -> bool {
    let mut ahead = constraint.clone();
    ending.iter().all(|token| ahead.accept(*token).is_ok()) && ahead.is_complete()
}
