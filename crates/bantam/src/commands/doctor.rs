//! `bantam doctor`: what this machine can do, and which models it can run.

use bantam_admin::{DoctorReport, FitEstimate};

use super::models::{bytes_text, open};
use crate::failure::Failure;
use crate::output;
use crate::settings::Globals;

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
