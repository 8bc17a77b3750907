//! Neighbouring values put together, so that what was cut in pieces is found.

/// So much of each end of a long value takes part; no kind of ours is longer.
const WINDOW_BYTES: usize = 256;

/// A run of short values is looked at when it has grown so long.
const RUN_BYTES_MAX: usize = 32 * 1024;

/// So much of a run that was looked at stays for what follows.
const KEPT_BYTES: usize = 4 * 1024;

/// The values since the last look: whole if short, else their ends.
#[derive(Default)]
pub(crate) struct Run {
    text: String,
    /// Where values meet in `text`.
    seams: Vec<usize>,
    /// How many of the first seams were looked at already.
    seen: usize,
}

/// A run as it reads with nothing, and with a blank, between its values.
pub(crate) struct Joined {
    pub(crate) glued: String,
    pub(crate) spaced: String,
}

impl Run {
    /// Adds a folded value, and returns the run if it is time to look at it.
    pub(crate) fn push(&mut self, value: &str) -> Option<Joined> {
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
            self.seen = 0;
            self.text.push_str(tail(value, WINDOW_BYTES));
            return joined;
        }
        self.text.push_str(value);
        (self.text.len() > RUN_BYTES_MAX).then(|| self.shortened()).flatten()
    }

    /// Returns what was not looked at yet.
    pub(crate) fn finish(self) -> Option<Joined> {
        self.joined()
    }

    fn joined(&self) -> Option<Joined> {
        if self.seams.len() <= self.seen {
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
        Some(Joined { glued: self.text.clone(), spaced })
    }

    /// Returns the run, and keeps its end.
    fn shortened(&mut self) -> Option<Joined> {
        let joined = self.joined();
        let cut = self.text.len() - tail(&self.text, KEPT_BYTES).len();
        self.text.drain(..cut);
        self.seams.retain(|&seam| seam > cut);
        for seam in &mut self.seams {
            *seam -= cut;
        }
        self.seen = self.seams.len();
        joined
    }
}

/// The beginning of a value, cut at a blank if there is one, so as not to make another value of a number.
fn head(value: &str) -> &str {
    let end = value.floor_char_boundary(WINDOW_BYTES);
    let head = &value[..end];
    head.rfind(char::is_whitespace).map_or(head, |blank| &head[..blank])
}

/// The end of a value, cut in the same way.
fn tail(value: &str, bytes: usize) -> &str {
    let start = value.ceil_char_boundary(value.len().saturating_sub(bytes));
    let tail = &value[start..];
    tail.find(char::is_whitespace).map_or(tail, |blank| &tail[blank..])
}
