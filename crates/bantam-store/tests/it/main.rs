//! The store from outside: models in and out, and what does not get in.

#![cfg(test)]

mod bundle;
mod hub;
mod models;
mod pull;
#[path = "../../../bantam-local/tests/it/tiny_model.rs"]
mod tiny_model;
