//! Composes the sections' readers, in the order their references point.

use crate::context::Context;
use crate::document;
use crate::log::{Log, Outcome};
use crate::origin::Place;
use crate::section::Section;
use crate::task::Surroundings;
use crate::{
    Config, ConfigErrors, Env, Files, MistakeKind, Severity, Source, ledger, local, model, privacy, proxy,
    routing, server, store, students, task, upstream, variables,
};

/// Returns the validated configuration.
///
/// # Errors
/// All mistakes at once, when there is at least one; warnings come along. After a syntax error, mistakes
/// that may only follow from it are left out.
pub fn load(source: &Source<'_>, env: &dyn Env, files: &dyn Files) -> Result<Config, ConfigErrors> {
    let (config, outcome) = read(source, env, files);
    let is_broken = outcome.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    if is_broken {
        return Err(ConfigErrors {
            file: source.name.to_owned(),
            diagnostics: outcome.diagnostics,
            incomplete: outcome.incomplete,
        });
    }
    Ok(Config { warnings: outcome.diagnostics, settings: outcome.settings, ..config })
}

fn read(source: &Source<'_>, env: &dyn Env, files: &dyn Files) -> (Config, Outcome) {
    let log = Log::new(source);
    let context = Context { source, env, files };
    let mut root = Section::root(document::read(&context, &log), &log);
    let server = server::read(&mut root, &context);
    let ledger = ledger::read(&mut root, &context);
    let store = store::read(&mut root, &context);
    let students = students::read(&mut root);
    let local = local::read(&mut root);
    let privacy = privacy::read(&mut root);
    let network = proxy::read(&mut root, &context);
    let upstreams = upstream::read(&mut root, &network, &context);
    let models = model::read(&mut root, &upstreams, &local, &context);
    let (routing, routing_is_whole) = routing::read(&mut root, &models);
    let around = Surroundings { models: &models, privacy: &privacy, routing: &routing, routing_is_whole };
    let tasks = task::read(&mut root, &context, around);
    root.finish();
    if models.declared.is_empty() && tasks.is_empty() {
        let hint = "describe an upstream and a model; a complete example comes with Bantam".to_owned();
        let message = "there is no model and no task to serve".to_owned();
        log.plain_warning(MistakeKind::Missing, Place::Default, message, Some(hint));
    }
    let upstream_keys = upstreams.good.values().filter_map(|upstream| upstream.api_key_env.as_deref());
    let used: Vec<&str> = server.api_key_envs.iter().map(String::as_str).chain(upstream_keys).collect();
    variables::warn_unknown(source.variable_names, &used, &log);
    let config = Config {
        server,
        ledger,
        store,
        students,
        local,
        routing,
        privacy,
        upstreams: upstreams.good,
        models: models.good,
        tasks,
        warnings: Vec::new(),
        file: source.name.to_owned(),
        settings: Vec::new(),
    };
    let outcome = log.finish();
    (config, outcome)
}

#[cfg(test)]
mod tests;
