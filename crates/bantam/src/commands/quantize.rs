//! `bantam quantize`: a model to a smaller one, and what that costs.

use std::path::Path;
use std::sync::Arc;

use bantam_engine::{Decoder, DecoderOptions, DecoderPrecision};
use bantam_kernels::Pool;
use bantam_quantise::{Comparison, Quantisation, QuantiseModelError, Quantised, compare, quantise};
use bantam_store::{CreateError, Entry, ModelKind, Origin};
use bantam_weights::{EncodeOptions, Tokenizer};
use serde_json::json;

use super::models::progress::Progress;
use super::models::{bytes_text, name, not_imported, open, resolve};
use crate::cli::models::{QuantizeArgs, QuantizeTo};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(args: &QuantizeArgs, globals: &Globals) -> Result<(), Failure> {
    let store = open(globals)?;
    let source = resolve(&store, &args.name)?;
    if source.manifest.about.kind == ModelKind::Encoder {
        return Err(Failure::new(Outcome::Usage, format!("{} is an encoder", source.name))
            .hint("encoders run in bytes as they are; there is nothing to quantise"));
    }
    // Before minutes of work, so that a text that cannot be read is known at once.
    let text = args.text.as_deref().map(read).transpose()?;
    let to = quantisation(args.to);
    let called = match &args.out {
        Some(out) => name(out)?,
        None => source
            .name
            .with_tag(to.name())
            .map_err(|error| Failure::from_error("cannot name the result", &error))?,
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = args.threads.unwrap_or(cores).max(1);
    let mut progress = Progress::new(globals, "quantising");
    progress.begin(source.manifest.about.parameters);
    let bare = source.name.name().rsplit('/').next().unwrap_or("model");
    let file = format!("{bare}-{}.gguf", to.name());
    let origin = Origin::Quantised { from: source.name.to_string() };
    let created = store.create(&called, (&file, origin), |path| {
        quantise(&source.path, path, (to, threads), &mut |numbers| progress.advance(numbers))
    });
    progress.end();
    let (added, written) = created.map_err(|error| failed(&source, &error))?;
    let compared = match text {
        Some(text) => Some(compared(&source, &added.entry, (&text, args.tokens, threads), globals)?),
        None => None,
    };
    report(&source, &added.entry, (&written, compared.as_ref()), globals);
    Ok(())
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

fn failed(source: &Entry, error: &CreateError<QuantiseModelError>) -> Failure {
    let what = format!("cannot quantise {}", source.name);
    match error {
        CreateError::Make(error) => Failure::from_error(what, error).hint(error.hint()),
        CreateError::Import(error) => not_imported(&what, error),
    }
}

/// Runs both over a text: the original as it was trained, the other as it will be served.
fn compared(
    source: &Entry,
    other: &Entry,
    (text, tokens_max, threads): (&str, usize, usize),
    globals: &Globals,
) -> Result<Comparison, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::from_error("cannot compare the two", error);
    let pool = Arc::new(Pool::new(threads));
    let open = |entry: &Entry, precision| {
        let options = DecoderOptions { precision, cache: None };
        Decoder::open(&entry.path, &options, &pool).map_err(|error| failed(&error))
    };
    let tokenizer = Tokenizer::open(&source.path).map_err(|error| failed(&error))?;
    let mut tokens = tokenizer.encode(text, EncodeOptions { add_special: false, parse_special: false });
    tokens.truncate(tokens_max);
    let begun = tokenizer.encode("x", EncodeOptions { add_special: true, parse_special: false });
    let bos = tokenizer.bos().filter(|bos| begun.first() == Some(bos));
    let (original, small) = (open(source, DecoderPrecision::F32)?, open(other, DecoderPrecision::Quantised)?);
    let is_shown = !globals.quiet && !globals.json;
    let mut advance = |done: usize, all: usize| {
        if is_shown && (done == all || done.is_multiple_of(8)) {
            output::note(format!("compared {done} of {all} windows"));
        }
    };
    compare((&original, &small), (&tokens, bos), &pool, &mut advance).map_err(|error| failed(&error))
}

fn report(
    source: &Entry,
    made: &Entry,
    (written, compared): (&Quantised, Option<&Comparison>),
    globals: &Globals,
) {
    if globals.json {
        let types: Vec<_> = written
            .types
            .iter()
            .map(|(dtype, count, bytes)| json!({ "type": dtype.name(), "tensors": count, "bytes": bytes }))
            .collect();
        let compared = compared.map(|found| {
            json!({
                "positions": found.positions, "mean_kl": found.mean_kl, "kl_99_9": found.quantile_kl,
                "top_1_agreement": found.top_1, "perplexity_original": found.perplexity,
                "perplexity": found.other_perplexity,
            })
        });
        let body = json!({
            "name": made.name.to_string(), "from": source.name.to_string(), "bytes_before": written.bytes_before,
            "bytes": written.bytes_after, "types": types, "comparison": compared,
        });
        return output::line(body.to_string());
    }
    let share = written.bytes_after as f64 / written.bytes_before.max(1) as f64 * 100.0;
    output::line(format!(
        "{}  {} from {} ({share:.0} %)",
        made.name,
        bytes_text(written.bytes_after),
        bytes_text(written.bytes_before)
    ));
    let types = written
        .types
        .iter()
        .map(|(dtype, count, bytes)| format!("{count} in {dtype} ({})", bytes_text(*bytes)));
    output::line(format!("tensors        {}", types.collect::<Vec<_>>().join(", ")));
    let Some(found) = compared else {
        if !globals.quiet {
            output::note("help: what it costs is measured with a text of yours: --text FILE.txt");
        }
        return;
    };
    output::line(format!(
        "KL divergence  {:.5} mean, {:.5} at 99.9 % (nats)",
        found.mean_kl, found.quantile_kl
    ));
    output::line(format!("same top token {:.2} % of {} positions", found.top_1 * 100.0, found.positions));
    output::line(format!("perplexity     {:.4}, original {:.4}", found.other_perplexity, found.perplexity));
}
