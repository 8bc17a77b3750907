//! `bantam show`: what a model is.

use bantam_store::{ModelKind, Origin};
use serde_json::json;

use super::{bytes_text, entry_json, open, parameters_text, resolve};
use crate::cli::models::ShowArgs;
use crate::failure::Failure;
use crate::output;
use crate::settings::Globals;

pub(crate) fn run(args: &ShowArgs, globals: &Globals) -> Result<(), Failure> {
    let store = open(globals)?;
    let entry = resolve(&store, &args.name)?;
    let measured = store.measurements(&entry);
    let manifest = &entry.manifest;
    if globals.json {
        let mut body = entry_json(&entry);
        body["files"] = json!(manifest.files);
        body["measured"] = json!(measured);
        output::line(body.to_string());
        return Ok(());
    }
    let about = &manifest.about;
    let kind = match about.kind {
        ModelKind::Decoder => "language model",
        ModelKind::Encoder => "encoder",
    };
    let origin = match &manifest.origin {
        Origin::Hub { repo, revision, commit } => {
            format!("{repo} at {revision}, commit {}", commit.chars().take(12).collect::<String>())
        }
        Origin::File { name } => format!("the file {name}"),
        Origin::Quantised { from } => format!("quantised from {from}"),
    };
    let mut rows = vec![
        ("name", entry.name.to_string()),
        ("kind", format!("{kind} ({})", about.architecture)),
        ("parameters", parameters_text(about.parameters)),
        ("quantisation", about.quantisation.clone()),
        ("size", bytes_text(manifest.bytes())),
        ("context", format!("{} tokens", about.context_tokens)),
    ];
    if about.kind == ModelKind::Decoder {
        let template = if about.has_template { "its own" } else { "none: messages are joined as they are" };
        rows.push(("chat template", template.to_owned()));
    }
    rows.push(("from", origin));
    rows.push(("digest", manifest.digest().to_string()));
    rows.push(("path", entry.path.display().to_string()));
    if let Some(last) = measured.last() {
        let (prefill, decode) = (last.prefill_tokens_per_s, last.decode_tokens_per_s);
        rows.push((
            "measured",
            format!(
                "{decode:.0} tokens/s, prompts {prefill:.0} tokens/s, {} threads ({})",
                last.threads, last.by
            ),
        ));
    }
    for (key, value) in rows {
        output::line(format!("{key:<14} {value}"));
    }
    for file in &manifest.files {
        output::line(format!("{:<14} {}  {}", "file", file.path, bytes_text(file.bytes)));
    }
    Ok(())
}
