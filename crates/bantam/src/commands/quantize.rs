//! `bantam quantize`: a model to a smaller one, and what that costs.

use std::path::Path;

use bantam_quantise::{
    ComparisonReport, Quantisation, QuantiseEvent, QuantiseReport, QuantiseRequest, QuantiseStoredError,
    quantise_stored,
};
use bantam_store::Entry;
use bantam_types::Cancel;

use super::model_path::named_model;
use super::models::progress::Progress;
use super::models::{bytes_text, name, not_imported, open, resolve};
use crate::cli::models::{QuantizeArgs, QuantizeTo};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(args: &QuantizeArgs, globals: &Globals) -> Result<(), Failure> {
    named_model(&args.name)?;
    let store = open(globals)?;
    let source = resolve(&store, &args.name)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let request = QuantiseRequest {
        to: quantisation(args.to),
        name: args.out.as_deref().map(name).transpose()?,
        // Before minutes of work, so that a text that cannot be read is known at once.
        text: args.text.as_deref().map(read).transpose()?.map(|text| (text, args.tokens)),
        threads: args.threads.unwrap_or(cores),
    };
    let mut progress = Progress::new(globals, "quantising");
    progress.begin(source.manifest.about.parameters);
    let is_shown = !globals.quiet && !globals.json;
    let mut observer = |event: QuantiseEvent| match event {
        QuantiseEvent::Numbers { done } => progress.advance(done),
        QuantiseEvent::Written => progress.end(),
        QuantiseEvent::Compared { done, windows }
            if is_shown && (done == windows || done.is_multiple_of(8)) =>
        {
            output::note(format!("compared {done} of {windows} windows"));
        }
        _ => {}
    };
    let report = quantise_stored(&store, &source, &request, &mut observer, &Cancel::new());
    progress.end();
    print(&report.map_err(|error| failed(&source, &error))?, globals)
}

fn quantisation(to: QuantizeTo) -> Quantisation {
    match to {
        QuantizeTo::Q8_0 => Quantisation::Q8_0,
        QuantizeTo::Q5KM => Quantisation::Q5KM,
        QuantizeTo::Q4KM => Quantisation::Q4KM,
        QuantizeTo::Q4_0 => Quantisation::Q4_0,
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::from_error(format!("cannot read the text {}", path.display()), &error)
            .outcome(Outcome::Usage)
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn failed(source: &Entry, error: &QuantiseStoredError) -> Failure {
    let what = format!("cannot quantise {}", source.name);
    let failure = match error {
        QuantiseStoredError::Store(error) => return not_imported(&what, error),
        QuantiseStoredError::Encoder { .. } => Failure::new(Outcome::Usage, error.to_string()),
        QuantiseStoredError::Quantise(error) => Failure::from_error(what, error),
        error => super::flags::failure(Outcome::Failed, error, None),
    };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Prints a report; asked to be quiet, the model's name alone.
fn print(report: &QuantiseReport, globals: &Globals) -> Result<(), Failure> {
    if globals.json {
        let json = serde_json::to_string(report);
        output::line(json.map_err(|error| Failure::from_error("cannot write the report", &error))?);
        return Ok(());
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
        Some(found) => comparison(found).iter().for_each(output::line),
        None => output::note("help: what it costs is measured with a text of yours: --text FILE.txt"),
    }
    Ok(())
}

fn comparison(found: &ComparisonReport) -> [String; 3] {
    [
        format!("KL divergence  {:.5} mean, {:.5} at 99.9 % (nats)", found.mean_kl, found.kl_99_9),
        format!("same top token {:.2} % of {} positions", found.top_1_agreement * 100.0, found.positions),
        format!("perplexity     {:.4}, original {:.4}", found.perplexity, found.perplexity_original),
    ]
}
