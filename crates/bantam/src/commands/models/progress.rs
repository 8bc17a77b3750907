//! How far something is: a bar for people, a line now and then for a log, nothing for machines.

use std::time::{Duration, Instant};

use bantam_jobs::JobProgress;
use indicatif::{ProgressBar, ProgressStyle};

use super::bytes_text;
use crate::output;
use crate::settings::Globals;

/// How often a log gets a line.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How bytes are drawn, and how anything else is.
const BYTES: &str = "{prefix} {bar:32} {percent:>3} %  {decimal_bytes} of {decimal_total_bytes}  \
                     {decimal_bytes_per_sec}  {eta} left  {wide_msg}";
const COUNTS: &str = "{prefix} {bar:32} {percent:>3} %  {human_pos} of {human_len}  {eta} left  {wide_msg}";
/// Of steps, trainings say themselves how fast they come.
const STEPS: &str = "{prefix} {bar:32} {percent:>3} %  {wide_msg}";

/// How far something is.
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    has_lines: bool,
    shown: JobProgress,
    said: Instant,
}

impl Progress {
    /// Returns a progress that has not begun.
    pub(crate) fn new(globals: &Globals, what: &'static str) -> Self {
        let is_shown = !globals.quiet && !globals.json;
        let bar = match is_shown && output::is_terminal() {
            true => ProgressBar::new(0),
            false => ProgressBar::hidden(),
        };
        let bar = bar.with_style(style(BYTES)).with_prefix(what);
        let has_lines = is_shown && !output::is_terminal();
        Self { bar, what, has_lines, shown: JobProgress::default(), said: Instant::now() }
    }

    /// Shows how far a job is.
    pub(crate) fn show(&mut self, progress: JobProgress) {
        let JobProgress { done, total, skipped, unit, item } = &progress;
        if *total != self.shown.total || *unit != self.shown.unit {
            self.bar.set_style(style(match &**unit {
                "bytes" => BYTES,
                "steps" => STEPS,
                _ => COUNTS,
            }));
            self.bar.set_length(total.unwrap_or(0));
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
        if item != &self.shown.item {
            self.bar.set_message(item.clone().unwrap_or_default());
        }
        self.bar.set_position(*done);
        if *skipped != self.shown.skipped || *done < self.shown.done {
            // What was there already says nothing about the speed.
            self.bar.reset_eta();
        }
        let is_new = *done != self.shown.done;
        if self.has_lines && is_new && self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            let of_bytes = |total: &u64| format!("{} of {}", bytes_text(*done), bytes_text(*total));
            let text = total.as_ref().filter(|_| unit == "bytes").map(of_bytes);
            output::note(format!("{}: {}", self.what, text.unwrap_or_else(|| progress.to_string())));
        }
        self.shown = progress;
    }

    /// Writes a line, above the bar if there is one.
    pub(crate) fn note(&self, text: &str) {
        match self.bar.is_hidden() {
            true => output::note(text),
            false => self.bar.println(text),
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
