//! Which engine answers at an address, told by paths that no other has.

use serde_json::Value;

use super::Engine;
use crate::fetch::{FetchError, JsonClient, JsonReply, Key};
use crate::residence;

/// An engine that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundEngine {
    /// Which it is.
    pub engine: Engine,
    /// The version that it tells.
    pub version: Option<String>,
    /// The models that it lists, by the names it has for them.
    pub models: Vec<String>,
    /// Those of them that it passes on to another machine.
    pub elsewhere: Vec<String>,
}

/// Returns the addresses on this machine where engines listen unless somebody says otherwise, each once.
pub const fn usual_addresses() -> [&'static str; 3] {
    ["http://127.0.0.1:11434", "http://127.0.0.1:8080", "http://127.0.0.1:8000"]
}

/// Returns the engine at `root`, an address without `/v1`; nothing if what answers there is not a known engine.
///
/// # Errors
/// Nobody answers there, not in time, or only that the server is not ready.
pub async fn find_engine(
    client: &JsonClient,
    root: &str,
    key: Option<&str>,
) -> Result<Option<FoundEngine>, FetchError> {
    let key = key.map(Key::bearer).transpose()?;
    find(client, root, key.as_ref()).await
}

pub(crate) async fn find(
    client: &JsonClient,
    root: &str,
    key: Option<&Key>,
) -> Result<Option<FoundEngine>, FetchError> {
    let root = root.trim_end_matches('/').trim_end_matches("/v1");
    let mut server = Server { client, root, key, not_ready: None };
    let told = server.ask("/api/version").await?;
    if let (200, Some(version)) = (told.status, told.body["version"].as_str()) {
        let mut tags = server.ask("/api/tags").await?.body;
        let models = names(&tags["models"], "name");
        if let Some(listed) = tags["models"].as_array_mut() {
            listed.retain(|model| {
                residence::is_passed_on(model) || model["name"].as_str().is_some_and(residence::is_cloud_name)
            });
        }
        let elsewhere = names(&tags["models"], "name");
        let version = Some(version.to_owned());
        return Ok(Some(FoundEngine { engine: Engine::Ollama, version, models, elsewhere }));
    }
    let models = names(&server.ask("/v1/models").await?.body["data"], "id");
    let props = server.ask("/props").await?;
    if props.status == 200 && props.body["default_generation_settings"].is_object() {
        let version = props.body["build_info"].as_str().map(str::to_owned);
        return Ok(Some(FoundEngine { engine: Engine::LlamaServer, version, models, elsewhere: Vec::new() }));
    }
    let about = server.ask("/openapi.json").await?.body;
    if about["info"]["title"].as_str().is_some_and(|title| title.contains("llama.cpp Python API")) {
        let version = about["info"]["version"].as_str().map(str::to_owned);
        return Ok(Some(FoundEngine {
            engine: Engine::LlamaCppPython,
            version,
            models,
            elsewhere: Vec::new(),
        }));
    }
    let told = server.ask("/version").await?;
    if let (200, Some(version)) = (told.status, told.body["version"].as_str()) {
        return Ok(Some(FoundEngine {
            engine: Engine::Vllm,
            version: Some(version.to_owned()),
            models,
            elsewhere: Vec::new(),
        }));
    }
    // An engine that still loads its model answers every path like this; it is not a stranger.
    server.not_ready.map_or(Ok(None), |status| Err(FetchError::NotReady(status)))
}

/// What is asked which engine it is.
struct Server<'s> {
    client: &'s JsonClient,
    root: &'s str,
    key: Option<&'s Key>,
    /// The last status that said that it is not ready.
    not_ready: Option<u16>,
}

impl Server<'_> {
    async fn ask(&mut self, path: &str) -> Result<JsonReply, FetchError> {
        let reply = self.client.get_with(&format!("{}{path}", self.root), self.key).await?;
        if matches!(reply.status, 502..=504) {
            self.not_ready = Some(reply.status);
        }
        Ok(reply)
    }
}

/// Returns what the entries of a list are called; an engine's list may be long, a terminal is not.
fn names(list: &Value, key: &str) -> Vec<String> {
    let entries = list.as_array().into_iter().flatten().filter_map(|entry| entry[key].as_str());
    let clean = |name: &str| name.chars().filter(|symbol| !symbol.is_control()).take(200).collect();
    entries.map(clean).take(1_000).collect()
}
