//! `bantam list`: the models on this machine.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{bytes_text, entry_json, open, parameters_text};
use crate::failure::Failure;
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(globals: &Globals) -> Result<(), Failure> {
    let store = open(globals)?;
    let listing = store.list().map_err(|error| Failure::from_error("cannot list the models", &error))?;
    let unfinished = store.unfinished_bytes();
    if globals.json {
        let models: Vec<_> = listing.models.iter().map(entry_json).collect();
        let damaged: Vec<_> = listing.damaged.iter().map(|(name, _)| name.to_string()).collect();
        let body = json!({
            "models": models, "damaged": damaged, "unfinished_bytes": unfinished, "store": store.root(),
        });
        output::line(body.to_string());
        return Ok(());
    }
    let heading = ["name", "size", "parameters", "quantisation", "context", "kind", "added"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    rows.extend(listing.models.iter().map(|entry| {
        let about = &entry.manifest.about;
        vec![
            entry.name.to_string(),
            bytes_text(entry.manifest.bytes()),
            parameters_text(about.parameters),
            about.quantisation.clone(),
            about.context_tokens.to_string(),
            about.architecture.clone(),
            ago(now.saturating_sub(entry.manifest.added_s)),
        ]
    }));
    match listing.models.is_empty() {
        true => output::line("there is no model on this machine yet"),
        false => output::table(&rows).iter().for_each(output::line),
    }
    if !globals.quiet {
        if listing.models.is_empty() {
            output::note("help: get one: bantam pull ORG/REPO, or bantam import FILE");
        }
        for (name, error) in &listing.damaged {
            output::note(format!("warning: {name} is damaged: {error}; remove it: bantam rm {name}"));
        }
        if unfinished > 0 {
            let bytes = bytes_text(unfinished);
            output::note(format!(
                "{bytes} of downloads that broke off: pull them again, or bantam rm --unfinished"
            ));
        }
    }
    Ok(())
}

/// Returns how long ago something was.
fn ago(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_largest_unit_that_fits() {
        assert_eq!(
            [5, 60, 7_300, 200_000].map(ago),
            ["just now", "1 minute ago", "2 hours ago", "2 days ago"]
        );
    }
}
