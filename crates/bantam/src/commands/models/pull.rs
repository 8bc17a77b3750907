//! `bantam pull`: a model from the hub.

use bantam_store::{HubSettings, PullError, PullEvent};

use super::change::told;
use super::progress::Progress;
use super::{bytes_text, name, open};
use crate::cli::models::PullArgs;
use crate::environment::{self, Variable};
use crate::failure::{Failure, Outcome};
use crate::settings::{Globals, ProcessEnv};

pub(crate) fn run(args: &PullArgs, globals: &Globals) -> Result<(), Failure> {
    let name = name(&args.name)?;
    let settings = hub_settings(globals, &name.to_string())?;
    let store = open(globals)?;
    let mut progress = Progress::new(globals, "pulling");
    let mut tell = |event: PullEvent<'_>| show(&mut progress, &event);
    let runtime = crate::commands::runtime(1)?;
    let pulled = runtime.block_on(async {
        tokio::select! {
            pulled = store.pull(&name, &settings, &mut tell) => Some(pulled),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    progress.end();
    match pulled {
        None => Err(Failure::new(Outcome::Interrupted, format!("interrupted while pulling {name}"))
            .hint("pull again: it goes on where it broke off")),
        Some(Err(error)) => Err(failed(&name.to_string(), &error)),
        Some(Ok(added)) => {
            told(&added, globals);
            Ok(())
        }
    }
}

fn show(progress: &mut Progress, event: &PullEvent<'_>) {
    match event {
        PullEvent::Chosen { name, files, bytes, commit } => {
            progress.begin(*bytes);
            let commit = commit.get(..12).unwrap_or(commit);
            let plural = if *files == 1 { "" } else { "s" };
            progress.note(&format!("{name}: {files} file{plural}, {}, commit {commit}", bytes_text(*bytes)));
        }
        PullEvent::File { path, .. } => progress.on(path),
        PullEvent::Resumed { bytes } => progress.skip(*bytes),
        PullEvent::Restarted { bytes } => {
            progress.take_back(*bytes);
            progress.note("the server does not go on in the middle: beginning again");
        }
        PullEvent::Advanced { bytes } => progress.advance(*bytes),
        PullEvent::Retry { reason, wait } => {
            let mut text = reason.to_string();
            if let Some(cause) = std::error::Error::source(reason) {
                text = format!("{text}: {cause}");
            }
            progress.note(&format!("{text}; trying again in {:.0} s", wait.as_secs_f64().ceil()));
        }
        _ => {}
    }
}

/// Says why a model did not come.
fn failed(name: &str, error: &PullError) -> Failure {
    let outcome = match error {
        error if error.is_refused() => Outcome::Refused,
        error if error.is_missing() => Outcome::ModelMissing,
        _ => Outcome::Failed,
    };
    Failure::from_error(format!("cannot pull {name}"), error).hint(error.hint()).outcome(outcome)
}

/// Where a proxy for pulls may be named, the first that is set counts.
const PROXIES: [Variable; 4] = [
    environment::HTTPS_PROXY,
    environment::HTTPS_PROXY_LOWER,
    environment::ALL_PROXY,
    environment::ALL_PROXY_LOWER,
];

/// Reads what the hub's own tools read, or says that the network may not be used.
fn hub_settings(globals: &Globals, name: &str) -> Result<HubSettings, Failure> {
    let get = |variable: Variable| {
        bantam_config::Env::get(&ProcessEnv, variable.name).filter(|value| !value.trim().is_empty())
    };
    let first = |variables: &[Variable]| variables.iter().find_map(|variable| get(*variable));
    let is_true =
        |text: &String| matches!(text.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on");
    let why = match (globals.offline, get(environment::HF_HUB_OFFLINE).filter(is_true)) {
        (true, _) => Some("--offline"),
        (_, Some(_)) => Some(environment::HF_HUB_OFFLINE.name),
        _ => None,
    };
    if let Some(why) = why {
        return Err(Failure::new(Outcome::Offline, format!("cannot pull {name}: {why} forbids the network"))
            .hint(
                "on a machine with a network: bantam pull, then bantam export; here: bantam import FILE.tar",
            ));
    }
    let token = first(&[environment::HF_TOKEN, environment::HUGGING_FACE_HUB_TOKEN])
        .or_else(|| globals.hub_token_file());
    let public = HubSettings::public();
    Ok(HubSettings {
        endpoint: get(environment::HF_ENDPOINT).unwrap_or(public.endpoint.clone()),
        token: token.map(|token| token.trim().to_owned()),
        proxy: first(&PROXIES),
        no_proxy: first(&[environment::NO_PROXY, environment::NO_PROXY_LOWER])
            .map(|list| list.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        ..public
    })
}
