//! Use cases over real stores, and the shapes of their results.

#![cfg(test)]

mod desk;
mod models;
mod students;
mod talk;
#[path = "../../../bantam-local/tests/it/tiny_model.rs"]
mod tiny_model;
