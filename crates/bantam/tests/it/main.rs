//! The command line from outside: whole outputs and exit codes of the real binary, in folders of its own.

#![cfg(test)]

mod certify;
mod config;
mod context;
mod decoder;
mod encoder;
#[cfg(unix)]
mod full_disk;
mod help;
#[path = "../../../bantam-store/tests/it/hub.rs"]
#[expect(dead_code, reason = "the store's own tests use more of it")]
mod hub;
mod jobs;
mod ledger;
mod local;
mod models;
mod place;
mod reference;
mod reload;
mod residents;
mod route;
mod rows;
mod serve;
mod student;
mod teaching;
#[path = "../../../bantam-student/tests/it/tiny_base.rs"]
mod tiny_base;
#[path = "../../../bantam-local/tests/it/tiny_model.rs"]
mod tiny_model;
