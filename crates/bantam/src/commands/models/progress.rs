//! Bytes on their way: a bar for people, a line now and then for a log, nothing for machines.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::bytes_text;
use crate::output;
use crate::settings::Globals;

/// How often a log gets a line.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How far something is.
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    has_lines: bool,
    total: u64,
    done: u64,
    said: Instant,
}

impl Progress {
    /// Returns a progress that is not begun.
    pub(crate) fn new(globals: &Globals, what: &'static str) -> Self {
        let is_shown = !globals.quiet && !globals.json;
        let bar = match is_shown && output::is_terminal() {
            true => ProgressBar::new(0),
            false => ProgressBar::hidden(),
        };
        let template = "{prefix} {bar:32} {percent:>3} %  {decimal_bytes} of {decimal_total_bytes}  \
                        {decimal_bytes_per_sec}  {eta} left  {wide_msg}";
        let style = ProgressStyle::with_template(template);
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_prefix(what);
        let has_lines = is_shown && !output::is_terminal();
        Self { bar, what, has_lines, total: 0, done: 0, said: Instant::now() }
    }

    /// Says how much there is to do.
    pub(crate) fn begin(&mut self, total: u64) {
        self.total = total;
        self.bar.set_length(total);
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    /// Says what is being done.
    pub(crate) fn on(&self, message: &str) {
        self.bar.set_message(message.to_owned());
    }

    /// Counts bytes that were done now.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        self.bar.inc(bytes);
        if self.has_lines && self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            let (done, total) = (bytes_text(self.done), bytes_text(self.total));
            output::note(format!("{}: {done} of {total}", self.what));
        }
    }

    /// Counts bytes that were there already, so that they do not speed up the estimate.
    pub(crate) fn skip(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        self.bar.inc(bytes);
        self.bar.reset_eta();
    }

    /// Takes bytes back.
    pub(crate) fn take_back(&mut self, bytes: u64) {
        self.done = self.done.saturating_sub(bytes);
        self.bar.set_position(self.done);
        self.bar.reset_eta();
    }

    /// Writes a line above the bar.
    pub(crate) fn note(&self, text: &str) {
        match self.has_lines {
            true => output::note(text),
            false => self.bar.println(text),
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
