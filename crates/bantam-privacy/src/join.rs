//! Joins neighbouring values, so that a value split over several of them is found.

/// How much of each end of a long value is joined; no kind of finding is longer.
const WINDOW_BYTES: usize = 256;

/// The length at which a run of short values is examined.
const RUN_BYTES_MAX: usize = 32 * 1024;

/// How much of an examined run is kept, to be joined with the values that follow.
const KEPT_BYTES: usize = 4 * 1024;

/// The values not examined together yet: short ones whole, of long ones only the ends.
#[derive(Default)]
pub(crate) struct ValueRun {
    text: String,
    /// Where values meet in `text`.
    seams: Vec<usize>,
    /// How many of the first seams were examined already.
    seams_examined: usize,
}

/// A run joined without anything between its values, and with a space between them.
pub(crate) struct JoinedRun {
    pub(crate) glued: String,
    pub(crate) spaced: String,
}

impl ValueRun {
    /// Adds a folded value, and returns the run if it is due to be examined.
    pub(crate) fn push(&mut self, value: &str) -> Option<JoinedRun> {
        if value.is_empty() {
            return None;
        }
        if !self.text.is_empty() {
            self.seams.push(self.text.len());
        }
        if value.len() > 2 * WINDOW_BYTES {
            self.text.push_str(head(value));
            let joined = self.joined();
            self.text.clear();
            self.seams.clear();
            self.seams_examined = 0;
            self.text.push_str(tail(value, WINDOW_BYTES));
            return joined;
        }
        self.text.push_str(value);
        (self.text.len() > RUN_BYTES_MAX).then(|| self.shortened()).flatten()
    }

    /// Returns the run if it was not examined yet.
    pub(crate) fn finish(self) -> Option<JoinedRun> {
        self.joined()
    }

    fn joined(&self) -> Option<JoinedRun> {
        if self.seams.len() <= self.seams_examined {
            return None;
        }
        let mut spaced = String::with_capacity(self.text.len() + self.seams.len());
        let mut from = 0;
        for &seam in &self.seams {
            spaced.push_str(&self.text[from..seam]);
            spaced.push(' ');
            from = seam;
        }
        spaced.push_str(&self.text[from..]);
        Some(JoinedRun { glued: self.text.clone(), spaced })
    }

    /// Returns the run, and keeps only its end.
    fn shortened(&mut self) -> Option<JoinedRun> {
        let joined = self.joined();
        let cut = self.text.len() - tail(&self.text, KEPT_BYTES).len();
        self.text.drain(..cut);
        self.seams.retain(|&seam| seam > cut);
        for seam in &mut self.seams {
            *seam -= cut;
        }
        self.seams_examined = self.seams.len();
        joined
    }
}

/// Returns the start of a value, cut at whitespace if there is any, so that no number is cut into another one.
fn head(value: &str) -> &str {
    let end = value.floor_char_boundary(WINDOW_BYTES);
    let head = &value[..end];
    head.rfind(char::is_whitespace).map_or(head, |space| &head[..space])
}

/// Returns the end of a value, cut the same way.
fn tail(value: &str, bytes: usize) -> &str {
    let start = value.ceil_char_boundary(value.len().saturating_sub(bytes));
    let tail = &value[start..];
    tail.find(char::is_whitespace).map_or(tail, |space| &tail[space..])
}
