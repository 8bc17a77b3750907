//! Jobs from outside: run, watched, cancelled, and found again after a restart.

#![cfg(test)]

mod lifetime;
mod limits;
mod processes;
mod workshop;
