//! Upstreams, and the models that run on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bantam_backend::MemoryBudget;
use bantam_config::{Auth, Config, Dialect, EngineKind, Env, Model, ModelSource};
use bantam_gateway::Rung;
use bantam_remote::{Engine, RemoteModel, Upstream, UpstreamSettings};
use bantam_route::RungKind;
use bantam_wire::anthropic::{ModelTraits, Thinking};

use crate::error::{DeployError, UpstreamError};
use crate::files::FilesRead;
use crate::wire;

/// Returns the models of `config` that run on upstreams.
pub(crate) fn rungs(
    config: &Config,
    env: &dyn Env,
    files: &FilesRead,
    memory: &MemoryBudget,
) -> Result<Vec<Rung>, DeployError> {
    let upstreams = build_within(config, env, files, memory)?;
    let mut rungs = Vec::new();
    for (name, model) in &config.models {
        let ModelSource::Upstream { upstream: upstream_name, name: called, messages } = &model.source else {
            continue;
        };
        let Some(upstream) = upstreams.get(upstream_name.as_str()) else { continue };
        let traits = messages.map(traits).unwrap_or_default();
        let rung = rung(name, model, upstream, (called, traits))
            .map_err(|source| DeployError::Upstream { name: upstream_name.clone(), source: source.into() })?;
        rungs.push(rung);
    }
    Ok(rungs)
}

/// Builds the upstreams of `config`, by name; opens no connection yet.
///
/// # Errors
/// When an address, a key or a certificate cannot be used.
pub fn build_upstreams<'c>(
    config: &'c Config,
    env: &dyn Env,
    files: &FilesRead,
) -> Result<BTreeMap<&'c str, Arc<Upstream>>, DeployError> {
    build_within(config, env, files, &MemoryBudget::unlimited())
}

/// The same, with the memory that their answers take a part of.
fn build_within<'c>(
    config: &'c Config,
    env: &dyn Env,
    files: &FilesRead,
    memory: &MemoryBudget,
) -> Result<BTreeMap<&'c str, Arc<Upstream>>, DeployError> {
    let built = config.upstreams.iter().map(|(name, upstream)| {
        let built = build(upstream, env, files);
        let built = built.map(|built| Arc::new(built.named(name).within(memory.clone())));
        let built = built.map_err(|source| DeployError::Upstream { name: name.clone(), source })?;
        Ok((name.as_str(), built))
    });
    built.collect()
}

fn build(
    upstream: &bantam_config::Upstream,
    env: &dyn Env,
    files: &FilesRead,
) -> Result<Upstream, UpstreamError> {
    let built = Upstream::new(settings(upstream, env, files)?)?;
    Ok(match upstream.kind {
        Some(kind) => built.with_engine(engine(kind)),
        None => built,
    })
}

fn rung(
    name: &str,
    model: &Model,
    upstream: &Arc<Upstream>,
    (called, traits): (&str, ModelTraits),
) -> Result<Rung, bantam_remote::BuildUpstreamError> {
    let backend = RemoteModel::new(Arc::clone(upstream), called.to_owned(), model.tier)?.with_traits(traits);
    Ok(Rung {
        name: name.into(),
        model: called.into(),
        tier: model.tier,
        kind: RungKind::Model,
        context_tokens: model.context_tokens,
        price: model.price.clone().map(Arc::new),
        gate: None,
        backend: Arc::new(backend),
    })
}

/// Returns what Anthropic's API has to be told of a model.
const fn traits(of: bantam_config::MessagesTraits) -> ModelTraits {
    let thinking = match of.thinking {
        bantam_config::Thinking::None => Thinking::None,
        bantam_config::Thinking::Budget => Thinking::Budget,
        bantam_config::Thinking::Adaptive => Thinking::Adaptive,
    };
    ModelTraits { output_tokens: of.output_tokens, thinking }
}

/// Returns the engine that an upstream is said to be; nothing where that is to be detected.
const fn engine(kind: EngineKind) -> Option<Engine> {
    match kind {
        EngineKind::Auto => None,
        EngineKind::Ollama => Some(Engine::Ollama),
        EngineKind::LlamaServer => Some(Engine::LlamaServer),
        EngineKind::LlamaCppPython => Some(Engine::LlamaCppPython),
        EngineKind::Vllm => Some(Engine::Vllm),
    }
}

fn settings(
    upstream: &bantam_config::Upstream,
    env: &dyn Env,
    files: &FilesRead,
) -> Result<UpstreamSettings, UpstreamError> {
    let read = |path: &std::path::PathBuf| {
        files.before(path);
        std::fs::read(path).map_err(|source| UpstreamError::CaFile { path: path.clone(), source })
    };
    Ok(UpstreamSettings {
        base_url: upstream.base_url.clone(),
        path: upstream.path.clone(),
        dialect: match upstream.dialect {
            Dialect::OpenAi => bantam_remote::Dialect::OpenAi,
            Dialect::Anthropic => bantam_remote::Dialect::Anthropic,
        },
        auth: match upstream.auth {
            Auth::Bearer => bantam_remote::Auth::Bearer,
            Auth::ApiKey => bantam_remote::Auth::ApiKey,
            Auth::XApiKey => bantam_remote::Auth::XApiKey,
            Auth::None => bantam_remote::Auth::None,
        },
        api_key: upstream.api_key_env.as_deref().and_then(|name| env.get(name)),
        extra_roots_pem: upstream.ca_file.as_ref().map(read).transpose()?,
        connect_timeout: upstream.connect_timeout,
        first_byte_timeout: upstream.first_byte_timeout,
        chunk_timeout: upstream.chunk_timeout,
        total_timeout: upstream.total_timeout,
        retries_max: upstream.retries_max,
        retry_sent: upstream.retry_sent,
        concurrent_requests_max: upstream.concurrent_requests_max,
        response_bytes_max: upstream.response_bytes_max,
        wire: wire::settings(upstream, env)?,
    })
}
