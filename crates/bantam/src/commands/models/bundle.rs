//! `bantam export`, and bundles on their way in.

use bantam_store::{BundleError, ImportError, Store, is_bundle};
use serde_json::json;

use super::change::told;
use super::progress::Progress;
use super::{bytes_text, open, resolve};
use crate::cli::models::{ExportArgs, ImportArgs};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

pub(crate) fn export(args: &ExportArgs, globals: &Globals) -> Result<(), Failure> {
    let store = open(globals)?;
    let entries = args.names.iter().map(|name| resolve(&store, name)).collect::<Result<Vec<_>, _>>()?;
    let mut progress = Progress::new(globals, "exporting");
    progress.begin(entries.iter().map(|entry| entry.manifest.bytes()).sum());
    let written = store.export(&entries, &args.out, &mut |bytes| progress.advance(bytes));
    progress.end();
    let shown = args.out.display();
    written.map_err(|error| {
        Failure::from_error(format!("cannot write {shown}"), &error)
            .hint("check the path, and that its disk has room")
    })?;
    let bytes = std::fs::metadata(&args.out).map_or(0, |file| file.len());
    if globals.json {
        let names: Vec<String> = entries.iter().map(|entry| entry.name.to_string()).collect();
        output::line(json!({ "bundle": args.out, "bytes": bytes, "models": names }).to_string());
    } else {
        output::line(format!("{shown}  {}: {} models", bytes_text(bytes), entries.len()));
        if !globals.quiet {
            output::note(format!("help: on the other machine: bantam import {shown}"));
        }
    }
    Ok(())
}

/// Takes in a bundle, if the file is one.
pub(super) fn import(args: &ImportArgs, store: &Store, globals: &Globals) -> Option<Result<(), Failure>> {
    is_bundle(&args.file).then(|| take_in(args, store, globals))
}

fn take_in(args: &ImportArgs, store: &Store, globals: &Globals) -> Result<(), Failure> {
    if args.name.is_some() {
        return Err(Failure::new(Outcome::Usage, "a bundle brings the names of its models")
            .hint("leave --name out, and then: bantam cp NAME NEW"));
    }
    let shown = args.file.display();
    let mut progress = Progress::new(globals, "importing");
    progress.begin(std::fs::metadata(&args.file).map_or(0, |file| file.len()));
    let added = store.import_bundle(&args.file, args.replace, &mut |bytes| progress.advance(bytes));
    progress.end();
    let added = added.map_err(|error| {
        let (hint, outcome) = match &error {
            BundleError::Import { source, .. } => {
                let is_taken = matches!(source, ImportError::Exists { .. });
                (source.hint(), if is_taken { Outcome::Usage } else { Outcome::Failed })
            }
            BundleError::Damaged { .. } | BundleError::Hash { .. } => {
                ("copy the bundle again, or export it anew".to_owned(), Outcome::Failed)
            }
            _ => ("check that the bundle may be read and the disk has room".to_owned(), Outcome::Failed),
        };
        Failure::from_error(format!("cannot import {shown}"), &error).hint(hint).outcome(outcome)
    })?;
    added.iter().for_each(|added| told(added, globals));
    Ok(())
}
