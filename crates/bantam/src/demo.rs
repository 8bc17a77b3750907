//! `bantam demo`: what Bantam does, shown in two minutes without a network.
//!
//! The frontier model is simulated and called so wherever it shows; everything between the applications
//! and it is the real gateway, over HTTP, with the real ledger, trainer and certificate.

mod classification;
mod further;
mod gateway;
mod narrator;
mod report;
mod teaching;

use std::path::Path;
use std::time::Duration;

use bantam_scenario::Workload;
use bantam_student::read_examples;
use bantam_types::Cancel;

use crate::cli::DemoArgs;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupts;
use crate::settings::Globals;

/// How long work on other threads may take to stop once the demo is interrupted.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Shows everything and prints its table.
pub(crate) fn run(args: &DemoArgs, globals: &Globals) -> Result<(), Failure> {
    let workload = match &args.data {
        Some(path) => own_rows(path, args.seed)?,
        None => Workload::generated(args.seed),
    };
    let cancel = Cancel::new();
    let runtime = crate::commands::runtime(0)?;
    // Before the folder exists, so that Ctrl-C never leaves it behind.
    let mut interrupts = runtime
        .block_on(async { Interrupts::listen() })
        .map_err(|error| Failure::from_error("cannot listen for Ctrl-C", &error))?;
    let folder = tempfile::Builder::new()
        .prefix("bantam-demo-")
        .tempdir()
        .map_err(|error| Failure::from_error("cannot make a folder for the demo", &error))?;
    let outcome = runtime.block_on(async {
        let parts = classification::Demo {
            workload: &workload,
            args,
            globals,
            folder: folder.path(),
            cancel: &cancel,
        };
        let (gateway, figures) = tokio::select! {
            shown = parts.show() => shown?,
            () = interrupts.next() => {
                cancel.cancel();
                return Err(Failure::new(Outcome::Interrupted, "the demo was interrupted"));
            }
        };
        report::print(&workload, &figures, globals);
        if args.serve {
            report::invite(&gateway, &workload, globals);
            gateway.serve_until_interrupted(&mut interrupts).await
        } else {
            gateway.close().await
        }
    });
    // Nothing may write into the folder any more when it is removed.
    runtime.shutdown_timeout(STOP_PATIENCE);
    let removed = folder.close();
    outcome.and_then(|()| {
        removed.map_err(|error| Failure::from_error("cannot remove the demo's folder", &error))
    })
}

/// Returns a workload of the user's own labelled rows.
fn own_rows(path: &Path, seed: u64) -> Result<Workload, Failure> {
    let rows = read_examples(path)
        .map_err(|error| Failure::from_error("cannot use the rows", &error).hint(error.kind.hint()))?;
    let title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Workload::of_rows(title, rows, seed).map_err(|error| {
        let failure = Failure::new(Outcome::Failed, error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}
