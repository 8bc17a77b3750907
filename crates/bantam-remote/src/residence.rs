//! Where a model runs: Ollama lists models that it passes on to its maker's machines beside those that it runs itself.
//!
//! What is local in the configuration sees every label. So Ollama is asked before each request to such a model, since
//! its list may have changed since the last one: a name can be given to another model at any time. That costs one
//! small request on this machine; it is not made for other tiers, nor of engines that have no such models.

use serde_json::Value;

use crate::engine::Engine;
use crate::fetch::{FetchError, JsonClient, Key};

/// The port on which Ollama listens unless somebody says otherwise.
const OLLAMA_PORT: u16 = 11_434;

/// Returns whether an upstream is Ollama, as far as its engine and its port tell.
pub(crate) fn may_be_ollama(engine: Option<Engine>, port: Option<u16>) -> bool {
    match engine {
        Some(engine) => engine == Engine::Ollama,
        None => port == Some(OLLAMA_PORT),
    }
}

/// Returns whether the Ollama at `root`, an address without `/v1`, runs `model` itself. One that does not list the
/// model has none to run, but for those whose name says where they are, and says so to the request.
///
/// # Errors
/// When it does not say.
pub(crate) async fn runs_itself(
    client: &JsonClient,
    root: &str,
    key: Option<&Key>,
    model: &str,
) -> Result<bool, FetchError> {
    if is_cloud_name(model) {
        return Ok(false);
    }
    let root = root.trim_end_matches('/').trim_end_matches("/v1");
    let tags = client.get_with(&format!("{root}/api/tags"), key).await?;
    if tags.status >= 500 {
        return Err(FetchError::NotReady(tags.status));
    }
    let listed = tags.body["models"].as_array().map_or(&[][..], |models| models);
    Ok(!listed.iter().any(|entry| is_of(entry, model) && is_passed_on(entry)))
}

/// Returns whether Ollama says of a model that another machine answers for it.
pub(crate) fn is_passed_on(model: &Value) -> bool {
    let says = |key: &str| match &model[key] {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        _ => true,
    };
    says("remote_host") || says("remote_model")
}

/// Returns whether a name is one that Ollama always passes on: its tag is `cloud`, or ends like that.
pub(crate) fn is_cloud_name(model: &str) -> bool {
    let tag = model.rsplit_once(':').map(|(_, tag)| tag.to_ascii_lowercase());
    tag.is_some_and(|tag| tag == "cloud" || tag.ends_with("-cloud"))
}

/// Returns whether an entry of the list is the model called that. A name without a tag means the tag `latest`, and
/// Ollama's names are the same in any case.
fn is_of(entry: &Value, model: &str) -> bool {
    let whole = |name: &str| {
        let name = name.to_ascii_lowercase();
        let last = name.rsplit('/').next().unwrap_or(&name);
        if last.contains(':') { name } else { format!("{name}:latest") }
    };
    let wanted = whole(model);
    ["name", "model"].iter().any(|key| entry[*key].as_str().is_some_and(|name| whole(name) == wanted))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_model_is_passed_on_when_its_entry_or_its_name_says_so() {
        let host = json!({ "remote_host": "https://ollama.com:443" });
        for (entry, expected) in [
            (json!({}), false),
            (json!({ "remote_host": "", "remote_model": null }), false),
            (host, true),
            (json!({ "remote_model": "gpt-oss:120b" }), true),
        ] {
            assert_eq!(is_passed_on(&entry), expected, "{entry}");
        }
        for (name, expected) in [
            ("gpt-oss:120b-cloud", true),
            ("glm-4.6:cloud", true),
            ("GLM:Cloud", true),
            ("cloud", false),
            ("my-cloud", false),
            ("llama3.2:3b", false),
        ] {
            assert_eq!(is_cloud_name(name), expected, "{name}");
        }
    }

    #[test]
    fn what_nobody_named_is_told_by_its_port() {
        assert!(may_be_ollama(None, Some(OLLAMA_PORT)) && may_be_ollama(Some(Engine::Ollama), Some(80)));
        assert!(!may_be_ollama(None, Some(8_080)) && !may_be_ollama(None, None));
        assert!(!may_be_ollama(Some(Engine::Vllm), Some(OLLAMA_PORT)));
    }

    #[test]
    fn names_are_the_same_without_a_tag_and_in_any_case() {
        let is_same = |name: &str, model: &str| is_of(&json!({ "name": name }), model);
        assert!(is_same("llama3:latest", "llama3"));
        assert!(is_same("LLaMA3:latest", "llama3:Latest"));
        assert!(is_same("hf.co:443/a/b:latest", "hf.co:443/a/b"));
        assert!(!is_same("llama3:8b", "llama3"));
    }
}
