//! `bantam ps` and `bantam stop`: the models that a running gateway has in memory.

use std::time::Duration;

use bantam_admin::{GatewayClient, GatewayError, LoadedModel, UseCaseError};

use crate::failure::Failure;
use crate::output;
use crate::settings::{Globals, ProcessEnv};

/// `bantam ps`.
pub(super) fn list(globals: &Globals) -> Result<(), Failure> {
    let models = super::runtime(1)?.block_on(client(globals)?.loaded()).map_err(failed)?;
    if globals.json {
        return output::json(&models);
    }
    if models.is_empty() {
        if !globals.quiet {
            output::line("no model is in memory: each is loaded when it is asked for");
        }
        return Ok(());
    }
    let heading = ["model", "state", "memory", "requests", "context", "until", "with"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(models.iter().map(row));
    output::table(&rows).iter().for_each(output::line);
    Ok(())
}

fn row(model: &LoadedModel) -> Vec<String> {
    let memory = format!("{:.1} MiB", model.size as f64 / f64::from(1 << 20));
    let (requests, context) = (model.leases.to_string(), model.context_length.to_string());
    vec![model.name.clone(), model.state.clone(), memory, requests, context, model.until(), model.company()]
}

/// `bantam stop MODEL`.
pub(super) fn stop(model: &str, wait: Duration, globals: &Globals) -> Result<(), Failure> {
    let client = client(globals)?;
    let unloading = client.unload(model, wait);
    let unloaded = super::runtime(1)?.block_on(unloading).map_err(failed)?;
    if globals.json {
        return output::json(&unloaded);
    }
    output::line(format!("{model}: {}", unloaded.status));
    Ok(())
}

fn client(globals: &Globals) -> Result<GatewayClient, Failure> {
    GatewayClient::new(&globals.load()?, &ProcessEnv).map_err(failed)
}

fn failed(error: GatewayError) -> Failure {
    let hint = match &error {
        GatewayError::NoPort => Some("say where it listens: --set server.bind=127.0.0.1:PORT".to_owned()),
        GatewayError::Unreachable { .. } => Some(
            "start it with `bantam serve`, or say where it is: --set server.bind=ADDRESS:PORT".to_owned(),
        ),
        other => other.hint(),
    };
    Failure::from_use_case(&error).maybe_hint(hint)
}
