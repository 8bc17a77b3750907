//! `bantam engines`: what other engines run on this machine, what they have, and how to use them.

use std::time::Duration;

use bantam_remote::{FoundEngine, JsonClient, find_engine, usual_addresses};
use serde_json::{Value, json};

use crate::cli::EnginesArgs;
use crate::failure::Failure;
use crate::output;
use crate::settings::Globals;

/// How long an address may take to answer.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Models that are shown as lines to paste; a long list would hide the rest.
const MODELS_SHOWN: usize = 8;

/// What was found at an address.
struct Found {
    address: String,
    engine: FoundEngine,
}

pub(super) fn run(args: &EnginesArgs, globals: &Globals) -> Result<(), Failure> {
    let usual = || usual_addresses().map(str::to_owned).to_vec();
    let addresses = if args.at.is_empty() { usual() } else { args.at.clone() };
    let client = JsonClient::new(PATIENCE)
        .map_err(|error| Failure::from_error("cannot set up the HTTP client", &error))?;
    let looking = addresses.iter().map(|address| find_engine(&client, address, None));
    let answers = super::runtime(1)?.block_on(futures_util::future::join_all(looking));
    let mut found = Vec::new();
    for (address, answer) in addresses.iter().zip(answers) {
        match answer {
            Ok(Some(engine)) => found.push(Found { address: root(address).to_owned(), engine }),
            Ok(None) if !globals.quiet => {
                output::note(format!("{address}: something answers that is no engine known here"));
            }
            // Nobody need be at the usual addresses.
            Err(error) if !args.at.is_empty() => output::note(format!("{address}: {error}")),
            Ok(None) | Err(_) => {}
        }
    }
    if globals.json {
        output::line(Value::from(found.iter().map(shown).collect::<Vec<_>>()).to_string());
    } else if found.is_empty() {
        output::line(format!("no engine answers at {}", addresses.join(", ")));
    } else {
        found.iter().for_each(show);
    }
    Ok(())
}

fn root(address: &str) -> &str {
    address.trim_end_matches('/').trim_end_matches("/v1")
}

fn shown(found: &Found) -> Value {
    let FoundEngine { engine, version, models } = &found.engine;
    let features = engine.features().iter();
    let features: Vec<Value> = features
        .map(|feature| json!({ "name": feature.name, "is_there": feature.is_there, "note": feature.note }))
        .collect();
    json!({
        "engine": engine.name(), "version": version, "address": found.address, "models": models,
        "features": features, "toml": lines(found),
    })
}

fn show(found: &Found) {
    let FoundEngine { engine, version, models } = &found.engine;
    let version = version.as_deref().unwrap_or("of unknown version");
    output::line(format!("{} {version} at {}: {} models", engine.name(), found.address, models.len()));
    let mut rows = vec![["feature", "here", ""].map(str::to_owned).to_vec()];
    rows.extend(engine.features().iter().map(|feature| {
        let here = if feature.is_there { "yes" } else { "no" };
        [feature.name, here, feature.note].map(str::to_owned).to_vec()
    }));
    output::table(&rows).iter().for_each(|line| output::line(format!("  {line}")));
    output::line(format!("\n{}", lines(found)));
}

/// Returns lines for `bantam.toml`.
fn lines(found: &Found) -> String {
    let FoundEngine { engine, models, .. } = &found.engine;
    let quoted = |text: &str| toml_text(text);
    let name = engine.name();
    let mut lines = format!(
        "[upstreams.{name}]\nkind = {}\nbase_url = {}\n",
        quoted(name),
        quoted(&format!("{}/v1", found.address))
    );
    for model in models.iter().take(MODELS_SHOWN) {
        let own = own_name(model);
        lines.push_str(&format!(
            "\n[models.{}]\nupstream = {}\nname = {}\ntier = \"local\"\n",
            quoted(&own),
            quoted(name),
            quoted(model)
        ));
    }
    if models.len() > MODELS_SHOWN {
        lines.push_str(&format!("\n# and {} more\n", models.len() - MODELS_SHOWN));
    }
    lines
}

/// Returns what callers may say for a model: its own name, or the last part of a path.
fn own_name(model: &str) -> String {
    let last = if model.starts_with('/') { model.rsplit('/').next().unwrap_or(model) } else { model };
    last.chars().filter(char::is_ascii_graphic).take(128).collect()
}

/// Writes a TOML string.
fn toml_text(text: &str) -> String {
    // JSON's strings of visible text are TOML's.
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use bantam_remote::Engine;

    use super::*;

    #[test]
    fn the_lines_to_paste_are_a_configuration() {
        let engine = FoundEngine {
            engine: Engine::LlamaServer,
            version: None,
            models: vec!["/models/a b \"c\".gguf".to_owned(), "llama3.2:3b".to_owned()],
        };
        let text = lines(&Found { address: "http://127.0.0.1:9000".to_owned(), engine });
        insta::assert_snapshot!(text);
    }

    #[test]
    fn addresses_are_told_without_the_path_of_the_api() {
        assert_eq!(root("http://127.0.0.1:8000/v1/"), "http://127.0.0.1:8000");
    }
}
