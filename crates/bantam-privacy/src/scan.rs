//! The scanner and its scans: every recogniser sees every view of every text.

use std::borrow::Cow;

use crate::config::{BuildScannerError, ScannerConfig};
use crate::decode::{Decoded, despelled, next_decoded, unescaped};
use crate::dictionary::Dictionary;
use crate::findings::{FindingKind, Findings, Tally};
use crate::fold;
use crate::join::ValueRun;
use crate::recognise::{Cues, recognise};
use crate::view::{Triggers, View, looked_at};
use bantam_types::Label;

/// How many nested kinds of encoding are decoded.
const DEPTH_MAX: u8 = 3;

/// The most bytes one scan may decode: more than any honest request needs, too few to delay other requests.
const DECODED_BYTES_MAX: usize = 4 << 20;

/// Finds sensitive values in requests. Built once and shared.
#[derive(Debug)]
pub struct Scanner {
    cues: Cues,
    dictionary: Dictionary,
}

impl Scanner {
    /// Builds a scanner.
    ///
    /// # Errors
    /// If a dictionary term is empty or too long, or there are too many.
    pub fn new(config: &ScannerConfig) -> Result<Self, BuildScannerError> {
        Ok(Self { cues: Cues::new()?, dictionary: Dictionary::new(&config.dictionary)? })
    }

    /// Starts the scan of one request.
    pub fn begin(&self) -> Scan<'_> {
        Scan {
            scanner: self,
            tally: Tally::new(),
            run: ValueRun::default(),
            decoded_bytes_left: DECODED_BYTES_MAX,
            lower: String::new(),
        }
    }
}

/// The scan of one request: give it every string, in document order, then [`finish`](Self::finish).
pub struct Scan<'s> {
    scanner: &'s Scanner,
    tally: Tally,
    run: ValueRun,
    decoded_bytes_left: usize,
    /// Reused between texts to save allocations.
    lower: String,
}

/// Shows nothing of the texts scanned.
impl std::fmt::Debug for Scan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("decoded_bytes_left", &self.decoded_bytes_left).finish_non_exhaustive()
    }
}

impl Scan<'_> {
    /// Scans a text, alone and joined with the values around it. Pass numbers as they are written.
    pub fn text(&mut self, text: &str) {
        self.value(text);
    }

    /// Scans a value, alone and joined with the values before and after it.
    pub fn value(&mut self, value: &str) {
        let folded = self.folded(value);
        self.examine(&folded, 0);
        if let Some(joined) = self.run.push(&folded) {
            self.examine(&joined.glued, 0);
            self.examine(&joined.spaced, 0);
        }
    }

    /// Scans a value alone; for protocol words between contents, such as `user`.
    pub fn value_apart(&mut self, value: &str) {
        let folded = self.folded(value);
        self.examine(&folded, 0);
    }

    /// Scans an object's key alone; the values before and after it remain neighbours.
    pub fn key(&mut self, key: &str) {
        self.value_apart(key);
    }

    /// Ends the scan.
    pub fn finish(mut self) -> Findings {
        if let Some(joined) = std::mem::take(&mut self.run).finish() {
            self.examine(&joined.glued, 0);
            self.examine(&joined.spaced, 0);
        }
        self.tally.finish()
    }

    /// Folds a text, after searching it for dictionary terms in its own letters.
    fn folded<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        if text.is_ascii() {
            return Cow::Borrowed(text);
        }
        if !self.scanner.dictionary.is_empty() {
            self.scanner.dictionary.find(&fold::lowered(text), &mut self.tally);
        }
        Cow::Owned(fold::folded(text))
    }

    /// Runs all recognisers on a folded text, and then on everything it decodes to.
    fn examine(&mut self, text: &str, depth: u8) {
        looked_at(text.len());
        let mut lower = std::mem::take(&mut self.lower);
        lower.clear();
        lower.push_str(text);
        lower.make_ascii_lowercase();
        let triggers = Triggers::of(lower.as_bytes());
        let hints = recognise(View { lower: &lower }, triggers, &self.scanner.cues, &mut self.tally);
        self.scanner.dictionary.find(&lower, &mut self.tally);
        let spelled = hints.spelled.then(|| despelled(&lower));
        self.lower = lower;
        if let Some(spelled) = spelled {
            self.examine_spelled(&spelled);
        }
        if triggers.escape
            && let Some(unescaped) = unescaped(text)
        {
            self.examine_decoded(&unescaped, depth);
        }
        if hints.long_tokens {
            self.examine_tokens(text, depth);
        }
    }

    /// Examines a text whose spelled-out separators were replaced. It is not decoded again.
    fn examine_spelled(&mut self, lower: &str) {
        let triggers = Triggers::of(lower.as_bytes());
        recognise(View { lower }, triggers, &self.scanner.cues, &mut self.tally);
    }

    fn examine_tokens(&mut self, text: &str, depth: u8) {
        let mut from = 0;
        while let Some((range, decoded)) = next_decoded(text, from) {
            match decoded {
                Decoded::Text(texts) => {
                    for decoded in texts {
                        self.examine_decoded(&decoded, depth);
                    }
                }
                Decoded::Opaque => {
                    self.tally.add(FindingKind::Opaque, Label::Confidential, &text.as_bytes()[range.clone()]);
                }
                Decoded::Nothing => {}
            }
            from = range.end;
        }
    }

    /// Examines a decoded text. If that would go too deep or decode too much, the scan becomes incomplete.
    fn examine_decoded(&mut self, decoded: &str, depth: u8) {
        let left = self.decoded_bytes_left.checked_sub(decoded.len());
        match left.filter(|_| depth < DEPTH_MAX) {
            Some(left) => {
                self.decoded_bytes_left = left;
                let folded = self.folded(decoded);
                self.examine(&folded, depth + 1);
            }
            None => self.tally.set_incomplete(),
        }
    }
}

#[cfg(test)]
mod tests;
