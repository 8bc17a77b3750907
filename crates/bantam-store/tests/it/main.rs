//! The store through its public API: what enters, what leaves, and what is refused.

#![cfg(test)]

mod bundle;
mod hub;
mod models;
mod pull;
#[path = "../../../bantam-local/tests/it/tiny_model.rs"]
mod tiny_model;
