//! The store of models: its verbs, and the tables of what they find.

pub(crate) mod progress;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bantam_admin::{AddModelError, AddedModel, UseCaseError, age_text, find_model};
use bantam_store::{ModelKind, ModelName, Store};

use crate::cli::models::{CpArgs, ExportArgs, ImportArgs, RmArgs};
use crate::commands::job::{self, Foreground, PATIENCE};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::{Globals, ProcessEnv, hub_token_file};

pub(crate) use bantam_admin::{bytes_text, parameters_text};

/// Returns the store that the settings name.
pub(crate) fn open(globals: &Globals) -> Result<Store, Failure> {
    Ok(Store::open(globals.load_or_default()?.store.path))
}

/// Reads a model's name.
pub(crate) fn name(text: &str) -> Result<ModelName, Failure> {
    Ok(bantam_admin::model_name(text)?)
}

/// `bantam pull`.
pub(crate) fn pull(wanted: &str, globals: &Globals) -> Result<(), Failure> {
    let name = name(wanted)?;
    let offline = |why: &str| {
        Failure::new(Outcome::Offline, format!("cannot pull {name}: {why} forbids the network")).hint(
            "on a machine with a network: bantam pull, then bantam export; here: bantam import FILE.tar",
        )
    };
    if globals.offline {
        return Err(offline("--offline"));
    }
    let settings = bantam_admin::hub_settings(&ProcessEnv, hub_token_file());
    let settings = settings.ok_or_else(|| offline("HF_HUB_OFFLINE"))?;
    let (store, runtime, model) = (open(globals)?, super::runtime(1)?, name.clone());
    let work = move |context: &bantam_jobs::JobContext| {
        runtime.block_on(bantam_admin::pull_model(&store, &model, &settings, context))
    };
    let foreground = Foreground {
        spec: bantam_admin::pull_job(&name.to_string()),
        doing: ("pulling", name.to_string()),
        after_cancel: Some("pull again: it goes on where it broke off"),
        patience: Some(PATIENCE),
    };
    let added = job::in_foreground(foreground, globals, work)?;
    told(&added, globals)
}

/// `bantam import`.
pub(crate) fn import(args: &ImportArgs, globals: &Globals) -> Result<(), Failure> {
    let (store, file, called, replaces) =
        (open(globals)?, args.file.clone(), args.name.clone(), args.replace);
    let work = move |context: &bantam_jobs::JobContext| {
        let added = bantam_admin::import_model(&store, &file, called.as_deref(), replaces, context);
        added.map_err(|error| {
            let failure = Failure::from_use_case(&error);
            match error {
                AddModelError::BundleName => failure.hint("leave --name out, and then: bantam cp NAME NEW"),
                AddModelError::FileName { .. } => failure.hint("say what to call it: --name NAME"),
                _ => failure,
            }
        })
    };
    let foreground = Foreground {
        spec: bantam_admin::import_job(&args.file, args.name.as_deref(), args.replace),
        doing: ("importing", args.file.display().to_string()),
        after_cancel: None,
        patience: Some(PATIENCE),
    };
    let added: Vec<AddedModel> = job::in_foreground(foreground, globals, work)?;
    added.iter().try_for_each(|added| told(added, globals))
}

/// Says under which name a model is there.
fn told(added: &AddedModel, globals: &Globals) -> Result<(), Failure> {
    if globals.json {
        return output::json(added);
    }
    output::line(added.summary());
    if !globals.quiet && added.about.kind == ModelKind::Decoder {
        output::note(format!("help: talk to it: bantam run {}", added.name));
    }
    Ok(())
}

/// `bantam export`.
pub(crate) fn export(args: &ExportArgs, globals: &Globals) -> Result<(), Failure> {
    let store = open(globals)?;
    let entries = args.names.iter().map(|name| find_model(&store, name)).collect::<Result<Vec<_>, _>>()?;
    let out = args.out.clone();
    let work = move |context: &bantam_jobs::JobContext| {
        let written = bantam_admin::export_models(&store, &entries, &out, context);
        written.map_err(|error| bantam_jobs::JobError::from(error.to_failure()))
    };
    let shown = args.out.display();
    let foreground = Foreground {
        spec: bantam_admin::export_job(&args.names, &args.out),
        doing: ("exporting", format!("to {shown}")),
        after_cancel: None,
        patience: Some(PATIENCE),
    };
    let written: bantam_admin::ExportedBundle = job::in_foreground(foreground, globals, work)?;
    if globals.json {
        return output::json(&written);
    }
    output::line(format!("{shown}  {}: {} models", bytes_text(written.bytes), written.models.len()));
    if !globals.quiet {
        output::note(format!("help: on the other machine: bantam import {shown}"));
    }
    Ok(())
}

/// `bantam list`.
pub(crate) fn list(globals: &Globals) -> Result<(), Failure> {
    let store = open(globals)?;
    let found = bantam_admin::list_models(&store).map_err(|error| Failure::from_use_case(&error))?;
    if globals.json {
        return output::json(&found);
    }
    let heading = ["name", "size", "params", "quant", "context", "kind", "added"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    rows.extend(found.models.iter().map(|model| {
        let about = &model.about;
        vec![
            model.name.clone(),
            bytes_text(model.bytes),
            parameters_text(about.parameters),
            about.quantisation.clone(),
            about.context_tokens.to_string(),
            about.architecture.clone(),
            age_text(Duration::from_secs(now.saturating_sub(model.added_s))),
        ]
    }));
    match found.models.is_empty() {
        true => output::line("there is no model on this machine yet"),
        false => output::table(&rows).iter().for_each(output::line),
    }
    if globals.quiet {
        return Ok(());
    }
    if found.models.is_empty() {
        output::note("help: get one: bantam pull ORG/REPO, or bantam import FILE");
    }
    for damaged in &found.damaged {
        let (name, reason) = (&damaged.name, &damaged.reason);
        output::note(format!("warning: {name} is damaged: {reason}; remove it: bantam rm {name}"));
    }
    if found.unfinished_bytes > 0 {
        let bytes = bytes_text(found.unfinished_bytes);
        output::note(format!(
            "{bytes} of downloads that broke off: pull them again, or bantam rm --unfinished"
        ));
    }
    Ok(())
}

/// `bantam show`.
pub(crate) fn show(name: &str, globals: &Globals) -> Result<(), Failure> {
    let found = bantam_admin::show_model(&open(globals)?, name)?;
    if globals.json {
        return output::json(&found);
    }
    output::facts(&found.facts());
    Ok(())
}

/// `bantam rm`.
pub(crate) fn rm(args: &RmArgs, globals: &Globals) -> Result<(), Failure> {
    let mut tell = |gone: &bantam_admin::RemovedModel| {
        if !globals.json {
            let freed = bytes_text(gone.freed_bytes);
            output::line(format!("{} is removed; {freed} are free again", gone.name));
        }
    };
    let removed = bantam_admin::remove_models(&open(globals)?, &args.names, args.unfinished, &mut tell)?;
    if globals.json {
        return output::json(&removed);
    }
    if args.unfinished {
        let bytes = bytes_text(removed.unfinished_bytes);
        output::line(format!("{bytes} of downloads that broke off are removed"));
    }
    Ok(())
}

/// `bantam cp`.
pub(crate) fn cp(args: &CpArgs, globals: &Globals) -> Result<(), Failure> {
    let added =
        bantam_admin::copy_model(&open(globals)?, &args.from, &args.to).map_err(|error| match error {
            AddModelError::Name(error) => error.into(),
            error => Failure::from_use_case(&error),
        })?;
    if globals.json {
        return output::json(&added);
    }
    output::line(format!("{} is the same model as {}", added.name, args.from));
    Ok(())
}
