//! `bantam bench MODEL`: how fast a model runs on this machine, and how near that is to what the machine can do.

use bantam_admin::{MeasureModelError, measure_model};
use bantam_measure::{MixedLoadReport, SpeedEvent, SpeedReport, SpeedRequest, measure};
use bantam_types::Cancel;

use super::models;
use crate::cli::BenchArgs;
use crate::failure::Failure;
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(args: &BenchArgs, globals: &Globals) -> Result<(), Failure> {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let request = SpeedRequest {
        model: args.model.clone(),
        threads: args.threads.unwrap_or_else(cores),
        adapters: args.adapters.iter().map(|count| *count as usize).collect(),
        times: args.times,
    };
    let mut observer = |event: SpeedEvent| match event {
        SpeedEvent::LayingOut { path } if !globals.quiet => {
            output::note(format!("laying out the weights for this machine, once: {}", path.display()));
        }
        SpeedEvent::MixedLoad { adapters } if !globals.quiet => {
            output::note(format!("mixed load with {adapters:?} adapters"));
        }
        _ => {}
    };
    let measured = match args.model.exists() {
        // A file needs no store, and no configuration that names one.
        true => measure(&request, &mut observer, &Cancel::new()).map_err(MeasureModelError::from),
        false => measure_model(&models::open(globals)?, request, &mut observer, &Cancel::new()),
    };
    let report = measured.map_err(|error| match error {
        MeasureModelError::Find(error) => error.into(),
        other => Failure::from_use_case(&other),
    })?;
    if globals.json {
        return output::json(&report);
    }
    // The figures are what was asked for, so they are printed however quiet it is to be.
    print(&report);
    Ok(())
}

fn print(report: &SpeedReport) {
    let megabytes =
        |megabytes: Option<u64>| megabytes.map_or_else(|| "?".to_owned(), |number| number.to_string());
    output::line(format!("{}: {}", report.model.display(), report.kind));
    output::line(format!(
        "{} threads with {}: {:.0} billion int8 operations/s and {:.1} GB/s at most, as measured now",
        report.threads, report.instructions, report.int8_gops, report.read_gb_s
    ));
    let resident = megabytes(report.resident_mb);
    output::line(format!("opened in {:.0} ms; {resident} MB resident\n", report.load_ms));
    let heading = ["case", "p50 ms", "p99 ms", "tokens/s", "of the machine", "what is timed"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(report.cases.iter().map(|case| {
        let share = case.share.map(|share| format!("{:.0} % of {}", share.share * 100.0, share.of));
        vec![
            case.name.clone(),
            format!("{:.2}", case.p50_ms),
            format!("{:.2}", case.p99_ms),
            format!("{:.0}", case.tokens_per_s),
            share.unwrap_or_default(),
            case.about.to_owned(),
        ]
    }));
    output::table(&rows).iter().for_each(output::line);
    report.schema.iter().for_each(|ratio| output::line(format!("\n{ratio}")));
    if let (Some(first), Some(lengths)) = (report.mixed.first(), &report.lengths) {
        output::line(format!("\n{}", lengths.mixed_load(first)));
        output::table(&mixed(&report.mixed, first)).iter().for_each(output::line);
    }
    report.notes.iter().for_each(|note| output::line(format!("\n{note}")));
}

fn mixed(mixed: &[MixedLoadReport], first: &MixedLoadReport) -> Vec<Vec<String>> {
    let heading = ["adapters", "requests/s", "of the first", "p50 ms", "p95 ms", "their MB", "resident MB"];
    let row = |mixed: &MixedLoadReport| {
        vec![
            mixed.adapters.to_string(),
            format!("{:.1}", mixed.requests_per_s),
            format!("{:.2}", mixed.requests_per_s / first.requests_per_s),
            format!("{:.0}", mixed.p50_ms),
            format!("{:.0}", mixed.p95_ms),
            format!("{:.1}", mixed.adapter_bytes as f64 / f64::from(1 << 20)),
            mixed.resident_mb.map_or_else(|| "?".to_owned(), |megabytes| megabytes.to_string()),
        ]
    };
    std::iter::once(heading.map(str::to_owned).to_vec()).chain(mixed.iter().map(row)).collect()
}
