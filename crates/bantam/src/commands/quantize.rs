//! `bantam quantize`: a model to a smaller one, and what that costs.

use std::path::Path;

use bantam_admin::{UseCaseError as _, quantise_job, quantise_model, stored_model};
use bantam_jobs::JobContext;
use bantam_quantise::{QuantiseReport, QuantiseRequest, QuantiseStoredError};
use bantam_store::ModelName;

use super::job::{self, Foreground};
use super::models::{bytes_text, name, open};
use crate::cli::models::QuantizeArgs;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(args: &QuantizeArgs, globals: &Globals) -> Result<(), Failure> {
    let store = open(globals)?;
    let source = stored_model(&store, &args.name)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let request = QuantiseRequest {
        to: args.to,
        name: args.out.as_deref().map(name).transpose()?,
        // Before minutes of work, so that a text that cannot be read is known at once.
        text: args.text.as_deref().map(read).transpose()?.map(|text| (text, args.tokens)),
        threads: args.threads.unwrap_or(cores),
    };
    let foreground = Foreground {
        spec: quantise_job(&source.name.to_string(), &request, args.text.as_deref()),
        doing: ("quantising", source.name.to_string()),
        after_cancel: None,
        patience: None,
    };
    let work = move |context: &JobContext| {
        quantise_model(&store, &source, &request, context).map_err(|error| failed(&source.name, &error))
    };
    print(&job::in_foreground(foreground, globals, work)?, globals)
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::from_error(format!("cannot read the text {}", path.display()), &error)
            .outcome(Outcome::Usage)
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn failed(name: &ModelName, error: &QuantiseStoredError) -> Failure {
    match error {
        QuantiseStoredError::Cancelled => Failure::new(Outcome::Interrupted, error.to_string()),
        QuantiseStoredError::Store(_) | QuantiseStoredError::Quantise(_) => {
            Failure::from_error(format!("cannot quantise {name}"), error)
                .outcome(error.reason().into())
                .maybe_hint(error.hint())
        }
        _ => Failure::from_use_case(error),
    }
}

/// Prints a report; asked to be quiet, the model's name alone.
fn print(report: &QuantiseReport, globals: &Globals) -> Result<(), Failure> {
    if globals.json {
        return output::json(report);
    }
    if globals.quiet {
        output::line(&report.name);
        return Ok(());
    }
    let share = report.bytes as f64 / report.bytes_before.max(1) as f64 * 100.0;
    output::line(format!(
        "{}  {} from {} ({share:.0} %)",
        report.name,
        bytes_text(report.bytes),
        bytes_text(report.bytes_before)
    ));
    let types = report.types.iter();
    let types = types.map(|of| format!("{} in {} ({})", of.tensors, of.dtype, bytes_text(of.bytes)));
    output::line(format!("tensors        {}", types.collect::<Vec<_>>().join(", ")));
    match &report.comparison {
        Some(found) => found.summary().iter().for_each(output::line),
        None => output::note("help: what it costs is measured with a text of yours: --text FILE.txt"),
    }
    Ok(())
}
