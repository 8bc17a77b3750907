//! Use cases over real stores, and the shapes of their results.

#![cfg(test)]

mod models;
#[path = "../../../bantam-local/tests/it/tiny_model.rs"]
mod tiny_model;
