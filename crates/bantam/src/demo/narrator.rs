//! Tells what happens: bars on a terminal, plain lines elsewhere.

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;
use crate::settings::Globals;

/// Tells what happens.
#[derive(Clone, Copy)]
pub(super) struct Narrator {
    is_silent: bool,
    has_bars: bool,
}

/// A bar for something that is counted.
pub(super) struct CountBar(ProgressBar);

impl Narrator {
    pub(super) fn new(globals: &Globals) -> Self {
        let is_silent = globals.quiet;
        Self { is_silent, has_bars: !is_silent && output::is_terminal() }
    }

    pub(super) fn say(self, text: &str) {
        if !self.is_silent {
            output::note(text);
        }
    }

    /// Returns a bar for `count` of something.
    pub(super) fn bar(self, what: &str, count: usize) -> CountBar {
        if !self.has_bars {
            return CountBar(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{msg:44} {bar:28} {pos}/{len}  {elapsed}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(count as u64).with_style(style);
        bar.set_message(what.to_owned());
        CountBar(bar)
    }
}

impl CountBar {
    /// Returns what counts one more.
    pub(super) fn counter(&self) -> Arc<dyn Fn() + Send + Sync> {
        let bar = self.0.clone();
        Arc::new(move || bar.inc(1))
    }
}

impl Drop for CountBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
