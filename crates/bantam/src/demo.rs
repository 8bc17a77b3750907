//! `bantam demo`: the whole story in two minutes, without a network.
//!
//! The frontier model is simulated and called so wherever it shows; everything between the applications
//! and it is the real gateway, over HTTP, with the real ledger, trainer and certificate.

mod desk;
mod frontier;
mod further;
mod load;
mod orders;
mod random;
mod replies;
mod report;
mod scene;
mod stage;
mod story;
mod topics;
mod words;

use crate::cli::DemoArgs;
use crate::failure::Failure;
use crate::settings::Globals;

/// Tells the story and prints its table.
pub(crate) fn run(args: &DemoArgs, globals: &Globals) -> Result<(), Failure> {
    let scene = match &args.data {
        Some(path) => scene::from_file(path, args.seed)?,
        None => scene::generated(args.seed),
    };
    let runtime = crate::commands::runtime(0)?;
    runtime.block_on(async {
        let (stage, told) = story::tell(&scene, args, globals).await?;
        report::print(&scene, &told, globals);
        if args.serve {
            report::invite(&stage, &scene, globals);
            stage.serve_until_interrupted().await
        } else {
            stage.close().await
        }
    })
}
