//! `bantam train TASK --watch`: following a training from another terminal.

use std::path::Path;

use bantam_teach::{Progress, TrainingEvent, WatchError, watch};
use bantam_types::Cancel;

use crate::commands::flags::failure;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

/// Prints a line whenever something new is in the log, until the training ends. For machines these are the log's events,
/// one JSON object a line, the end too.
pub(super) fn follow(log: &Path, globals: &Globals) -> Result<(), Failure> {
    let (mut progress, mut is_new) = (Progress::default(), false);
    let mut show = |event: &TrainingEvent, is_last: bool| {
        is_new |= progress.hear(event);
        if globals.json {
            output::line(serde_json::to_string(event).unwrap_or_default());
        } else if let (true, true, Some(step)) = (is_last, is_new, &progress.step) {
            let text = progress.text().unwrap_or_default();
            output::line(format!("step {} of {}, {text}", step.step, step.steps));
            is_new = false;
        }
    };
    let outcome = watch(log, &mut show, &Cancel::new()).map_err(|error: WatchError| {
        let hint = error.hint().to_owned();
        failure(Outcome::Failed, &error, Some(hint))
    })?;
    if !globals.json {
        output::line(format!("the training has ended: {}", outcome.as_str()));
    }
    Ok(())
}
