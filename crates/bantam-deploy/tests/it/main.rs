//! Deployments from real files: what is watched, what is taken over, what is refused.

#![cfg(test)]

mod certificates;
mod desk;
mod half_written;
mod reload;
#[path = "../../../bantam-local/tests/it/tiny_model.rs"]
mod tiny_model;
