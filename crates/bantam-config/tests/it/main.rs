//! The crate's behaviour, through its public face.

#![cfg(test)]

mod example;
mod hostile;
mod layers;
mod losses;
mod mistakes;
mod purposes;
mod reference;
mod references;
mod secrets;
mod wire;
mod world;
