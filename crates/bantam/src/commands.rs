//! One module a command.

mod bench;
pub(crate) mod certify;
mod config;
mod doctor;
mod engines;
pub(crate) mod flags;
pub(crate) mod job;
pub(crate) mod models;
pub(crate) mod named_task;
mod quantize;
mod residents;
mod route;
mod run;
pub(crate) mod serve;
mod student;
mod task;
mod train;
pub(crate) mod training;
mod usage;

use std::time::Duration;

use crate::cli::Command;
use crate::failure::Failure;
use crate::settings::Globals;

/// Runs a command.
pub(crate) fn run(command: Command, globals: &Globals) -> Result<(), Failure> {
    match command {
        Command::Serve => serve::run(globals),
        Command::Demo(args) => crate::demo::run(&args, globals),
        Command::Config { command } => config::run(&command, globals),
        Command::Student { command } => student::run(command, globals),
        Command::Train(command) => train::run(*command, globals),
        Command::Certify(args) => certify::run(&args, globals),
        Command::Task { command } => task::run(&command, globals),
        Command::Usage(args) => usage::run(&args, globals),
        Command::Route(args) => route::run(&args, globals),
        Command::Ps => residents::list(globals),
        Command::Stop { model, wait } => residents::stop(&model, Duration::from_secs(wait), globals),
        Command::Engines { at } => engines::run(&at, globals),
        Command::Run(args) => run::run(&args, globals),
        Command::Job { command } => job::run(&command, globals),
        Command::Export(args) => models::export(&args, globals),
        Command::Quantize(args) => quantize::run(&args, globals),
        Command::Doctor { upstreams: true, .. } => doctor::run_upstreams(globals),
        Command::Doctor { threads, .. } => doctor::run(threads, globals),
        Command::Pull { name } => models::pull(&name, globals),
        Command::Import(args) => models::import(&args, globals),
        Command::List => models::list(globals),
        Command::Show { name } => models::show(&name, globals),
        Command::Rm(args) => models::rm(&args, globals),
        Command::Cp(args) => models::cp(&args, globals),
        Command::Bench(args) => bench::run(&args, globals),
    }
}

/// Returns the runtime that the gateway runs on.
pub(crate) fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if threads == 0 { cores } else { threads };
    // One core is served best without a work-stealing scheduler around it.
    let built = if threads == 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    };
    built.map_err(|error| Failure::from_error("cannot start the runtime", &error))
}
