//! A bar while a student is trained.

use bantam_teach::{Progress, StepFigures, TrainingEvent, TrainingNotice};
use bantam_train::Phase;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output;
use crate::settings::Globals;

/// Shows how far a training has come.
pub(super) struct Bar {
    bar: ProgressBar,
    progress: std::cell::Cell<Progress>,
    is_quiet: bool,
}

impl Bar {
    pub(super) fn new(globals: &Globals) -> Self {
        Self { bar: bar(globals, "training"), progress: std::cell::Cell::default(), is_quiet: globals.quiet }
    }

    pub(super) fn show(&self, event: &TrainingEvent) {
        let mut progress = self.progress.get();
        progress.hear(event);
        self.progress.set(progress);
        match event {
            TrainingEvent::Embedding { done, texts } => {
                self.set(*done, *texts, format!("{done} of {texts} texts read by the base"));
            }
            TrainingEvent::Fitting { model, models, pass, passes_max, moved } => {
                let done = (model - 1) * passes_max + pass;
                self.set(done, models * passes_max, format!("model {model} of {models}, moved {moved:.4}"));
            }
            TrainingEvent::Pass { done, passes } => {
                self.set(*done, *passes, format!("{done} of {passes} passes"));
            }
            TrainingEvent::Step(step) => {
                // Both runs take about as long.
                let (before, runs) = match step.run {
                    None => (0, 1),
                    Some(Phase::Measure) => (0, 2),
                    Some(Phase::Final) => (1, 2),
                };
                let run = if runs == 2 { format!("run {} of 2, ", before + 1) } else { String::new() };
                let text = format!("{run}{}", step_text(step, &progress));
                self.set(before * step.steps + step.step, runs * step.steps, text);
            }
            TrainingEvent::Judging { done, rows } => {
                self.set(*done, *rows, format!("{done} of {rows} rows held out answered"));
            }
            TrainingEvent::Notice(notice) if !self.is_quiet => {
                self.bar.suspend(|| output::note(format!("warning: {}", notice_text(notice))));
            }
            _ => {}
        }
    }

    fn set(&self, done: u64, of: u64, message: String) {
        self.bar.set_length(of);
        self.bar.set_position(done);
        self.bar.set_message(message);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Returns a bar, where a person looks.
pub(crate) fn bar(globals: &Globals, what: &str) -> ProgressBar {
    if globals.quiet || globals.json || !output::is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix} {bar:32} {percent:>3} %  {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(1).with_style(style).with_prefix(what.to_owned())
}

/// Words a step of a training.
pub(crate) fn step_text(step: &StepFigures, progress: &Progress) -> String {
    let held_out = match (progress.held_out_loss, progress.held_out_right) {
        (Some(loss), _) => format!(" ({loss:.3} held out)"),
        (None, Some(right)) => format!(" ({:.1} % of held-out right)", 100.0 * right),
        (None, None) => String::new(),
    };
    let memory = step.memory_mib.map(|mib| format!(", {mib} MiB")).unwrap_or_default();
    // Logs of older programs do not say it.
    let at_this_speed =
        || step.seconds / step.step.max(1) as f64 * step.steps.saturating_sub(step.step) as f64;
    let left = match step.seconds_left.unwrap_or_else(at_this_speed) as u64 {
        seconds @ ..90 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    };
    let StepFigures { epoch, loss, tokens_per_second, .. } = step;
    format!("pass {epoch}, loss {loss:.3}{held_out}, {tokens_per_second:.0} tokens/s, {left} left{memory}")
}

fn notice_text(notice: &TrainingNotice) -> String {
    match notice {
        TrainingNotice::AnswersLeftOut { left_out, answers } => format!(
            "{left_out} of {answers} recorded answers are left out: they are not JSON objects, or hold a value that does \
             not occur in its text"
        ),
        TrainingNotice::RareLabelsLeftOut { left_out, answers } => {
            format!("{left_out} of {answers} recorded answers are left out: their label came only once")
        }
        TrainingNotice::RecordsIncomplete { error } => format!("the log is incomplete: {error}"),
        _ => "something happened that this program has no words for".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let step = StepFigures {
            step: 3,
            steps: 9,
            epoch: 2,
            loss: 0.5,
            tokens_per_second: 1234.6,
            seconds_left: Some(89.0),
            memory_mib: Some(70),
            ..StepFigures::default()
        };
        let progress = Progress { held_out_loss: Some(0.25), ..Progress::default() };
        assert_eq!(
            step_text(&step, &progress),
            "pass 2, loss 0.500 (0.250 held out), 1235 tokens/s, 89 s left, 70 MiB"
        );
        let step = StepFigures { seconds_left: Some(601.0), memory_mib: None, ..step };
        assert_eq!(step_text(&step, &Progress::default()), "pass 2, loss 0.500, 1235 tokens/s, 11 min left");
        let old = StepFigures { seconds_left: None, seconds: 3.0, ..step };
        assert!(step_text(&old, &Progress::default()).contains("6 s left"));
        let right = Progress { held_out_right: Some(0.75), ..Progress::default() };
        assert!(step_text(&step, &right).contains("(75.0 % of held-out right)"));
    }
}
