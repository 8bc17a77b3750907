//! `bantam`: a local-first AI gateway.
//!
//! This crate is the outermost layer: it reads flags, environment and files once, builds the values that
//! the crates below are made from, and turns their errors into messages, hints and exit codes.
//!
//! It is a library only so that the generated reference can be made from what the program is: its commands, variables
//! and exit codes.

mod books;
mod cli;
mod commands;
mod demo;
mod deploy;
mod environment;
mod failure;
mod hints;
mod interrupt;
mod output;
mod settings;

use std::process::ExitCode;

use clap::Parser;

pub use cli::command_line;
pub use environment::VARIABLES;
pub use failure::Outcome;

/// Does what the command line of this process says, and returns its exit code.
pub fn run() -> ExitCode {
    let cli = cli::Cli::parse();
    let globals = settings::Globals::new(cli.globals);
    match commands::run(cli.command, &globals) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure, globals.json);
            ExitCode::from(failure.code())
        }
    }
}
