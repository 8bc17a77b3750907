//! `bantam doctor`: what this machine can do, which models it can run, and which upstreams answer.

use bantam_admin::{DoctorReport, FitEstimate, UpstreamCheck};

use super::models::{bytes_text, open};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::{Globals, ProcessEnv};

pub(crate) fn run(threads: Option<usize>, globals: &Globals) -> Result<(), Failure> {
    let report = bantam_admin::examine(&open(globals)?, threads);
    let report = report.map_err(|error| Failure::from_use_case(&error))?;
    if globals.json {
        return output::json(&report);
    }
    output::facts(&report.facts());
    output::line("\nmodels of usual sizes (speeds are estimates, in tokens a second):");
    show(&report.usual, &report);
    if !report.models.is_empty() {
        output::line("\nmodels on this machine:");
        show(&report.models, &report);
    }
    Ok(())
}

/// `bantam doctor --upstreams`.
pub(crate) fn run_upstreams(globals: &Globals) -> Result<(), Failure> {
    let config = globals.load_aloud()?;
    if globals.offline {
        return Err(Failure::new(Outcome::Offline, "cannot ask upstreams: --offline forbids the network"));
    }
    let checks = super::runtime(1)?.block_on(bantam_admin::check_upstreams(&config, &ProcessEnv))?;
    let failed = checks.iter().filter(|check| check.fault.is_some()).count();
    if globals.json {
        output::json(&checks)?;
    } else if checks.is_empty() && !globals.quiet {
        output::line("the configuration has no upstreams");
    } else {
        checks.iter().for_each(show_upstream);
    }
    match failed {
        0 => Ok(()),
        _ => Err(Failure::new(Outcome::Failed, format!("{failed} of {} upstreams failed", checks.len()))),
    }
}

fn show_upstream(check: &UpstreamCheck) {
    let UpstreamCheck { upstream, address, duration_ms, .. } = check;
    let said = match (&check.fault, &check.reason) {
        (Some(fault), Some(reason)) => format!("{reason} ({fault})"),
        _ => "answers".to_owned(),
    };
    output::line(format!("{upstream} at {address}: {said}, after {duration_ms} ms"));
    if let Some(hint) = check.hint {
        output::line(format!("  {hint}"));
    }
}

fn show(all: &[FitEstimate], report: &DoctorReport) {
    let has_measured = all.iter().any(|one| one.measured.is_some());
    let mut heading = vec!["model", "quant", "file", "memory", "fits", "answers", "prompts"];
    heading.extend(has_measured.then_some("measured"));
    let mut rows = vec![heading.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for one in all {
        let fits = match (report.memory_bytes, one.short_by_bytes) {
            (None, _) => "?".to_owned(),
            (_, None) => "yes".to_owned(),
            (_, Some(missing)) => format!("lacks {}", bytes_text(missing)),
        };
        let mut row = vec![
            one.name.clone(),
            one.quantisation.clone(),
            bytes_text(one.file_bytes),
            bytes_text(one.memory_bytes),
            fits,
            format!("{:.1}", one.estimated.decode_tokens_per_s),
            format!("{:.0}", one.estimated.prefill_tokens_per_s),
        ];
        if has_measured {
            let measured = one.measured.as_ref();
            let shown = measured.map(|found| format!("{:.1} ({})", found.decode_tokens_per_s, found.by));
            row.push(shown.unwrap_or_else(|| "not yet".to_owned()));
        }
        rows.push(row);
    }
    output::table(&rows).iter().for_each(output::line);
}
