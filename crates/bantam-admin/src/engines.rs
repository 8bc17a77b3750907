//! Engines that run on this machine beside Bantam: what answers, what each has, and how to use it.

use std::time::Duration;

use bantam_remote::{FoundEngine, JsonClient, find_engine, usual_addresses};
use bantam_types::with_causes;
use serde::Serialize;
use serde_json::Value;

/// How long an address may take to answer.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Models that the lines for the configuration have; a long list would hide the rest.
const MODELS_SHOWN: usize = 8;

/// What answers at some addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnginesReport {
    /// Where it was looked.
    pub addresses: Vec<String>,
    /// Engines that answered.
    pub engines: Vec<EngineReport>,
    /// Addresses where no known engine answered.
    pub unanswered: Vec<UnansweredAddress>,
}

/// An engine that answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineReport {
    /// Which engine it is, as `kind` in the configuration.
    pub engine: String,
    /// What it says its version is.
    pub version: Option<String>,
    /// Where it answers, without the path of its API.
    pub address: String,
    /// The models that it has.
    pub models: Vec<String>,
    /// Those of them that it passes on to another machine, as Ollama's cloud models: they are not local.
    pub elsewhere: Vec<String>,
    /// What requests through Bantam can use of it.
    pub features: Vec<EngineFeature>,
    /// Lines for `bantam.toml`.
    pub toml: String,
}

/// Something that an engine may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineFeature {
    /// What it is called, as parameters are.
    pub name: String,
    /// Whether requests through Bantam can use it.
    pub is_there: bool,
    /// Under which condition, or in which other way.
    pub note: String,
}

/// An address where no known engine answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnansweredAddress {
    /// The address.
    pub address: String,
    /// Why not.
    pub reason: String,
    /// Whether something answered that is not a known engine.
    pub is_other: bool,
}

/// Looks at addresses, or where engines usually listen, and says what answers.
///
/// # Errors
/// When the HTTP client cannot be set up.
pub async fn find_engines(at: &[String]) -> Result<EnginesReport, bantam_remote::BuildClientError> {
    let usual = || usual_addresses().map(str::to_owned).to_vec();
    let addresses = if at.is_empty() { usual() } else { at.to_vec() };
    let client = JsonClient::new(PATIENCE)?;
    let looking = addresses.iter().map(|address| find_engine(&client, address, None));
    let answers = futures_util::future::join_all(looking).await;
    let (mut engines, mut unanswered) = (Vec::new(), Vec::new());
    for (address, answer) in addresses.iter().zip(answers) {
        let other =
            |reason: String, is_other| UnansweredAddress { address: address.clone(), reason, is_other };
        match answer {
            Ok(Some(engine)) => engines.push(report(root(address), &engine)),
            Ok(None) => {
                unanswered.push(other("something answers that is not a known engine".to_owned(), true));
            }
            Err(error) => unanswered.push(other(with_causes(&error), false)),
        }
    }
    Ok(EnginesReport { addresses, engines, unanswered })
}

fn root(address: &str) -> &str {
    address.trim_end_matches('/').trim_end_matches("/v1")
}

fn report(address: &str, found: &FoundEngine) -> EngineReport {
    let FoundEngine { engine, version, models, elsewhere } = found;
    let features = engine.features().into_iter().map(|feature| EngineFeature {
        name: feature.name.to_owned(),
        is_there: feature.is_there,
        note: feature.note.to_owned(),
    });
    EngineReport {
        engine: engine.name().to_owned(),
        version: version.clone(),
        address: address.to_owned(),
        models: models.clone(),
        elsewhere: elsewhere.clone(),
        features: features.collect(),
        toml: lines(engine.name(), address, found),
    }
}

/// Returns lines for `bantam.toml`.
fn lines(engine: &str, address: &str, found: &FoundEngine) -> String {
    let FoundEngine { models, elsewhere, .. } = found;
    let mut lines = format!(
        "[upstreams.{engine}]\nkind = {}\nbase_url = {}\n",
        toml_text(engine),
        toml_text(&format!("{address}/v1"))
    );
    for model in models.iter().take(MODELS_SHOWN) {
        lines.push_str(&format!(
            "\n[models.{}]\nupstream = {}\nname = {}\ntier = {}\n",
            toml_text(&own_name(model)),
            toml_text(engine),
            toml_text(model),
            if elsewhere.contains(model) { "\"frontier\" # runs elsewhere" } else { "\"local\"" }
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
    fn an_engine_s_report_has_lines_that_are_a_configuration() {
        let engine = FoundEngine {
            engine: Engine::LlamaServer,
            version: None,
            models: vec![
                "/models/a b \"c\".gguf".to_owned(),
                "llama3.2:3b".to_owned(),
                "gpt-oss:120b-cloud".to_owned(),
            ],
            elsewhere: vec!["gpt-oss:120b-cloud".to_owned()],
        };
        let report = report("http://127.0.0.1:9000", &engine);
        insta::assert_snapshot!(report.toml);
        let mut report = report;
        report.toml.clear();
        insta::assert_json_snapshot!(report);
    }

    #[test]
    fn addresses_are_shown_without_the_path_of_the_api() {
        assert_eq!(root("http://127.0.0.1:8000/v1/"), "http://127.0.0.1:8000");
    }
}
