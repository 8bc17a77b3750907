//! The crate's behaviour, through its public face.

#![cfg(test)]

mod example;
mod hostile;
mod layers;
mod losses;
mod purposes;
mod mistakes;
mod reference;
mod references;
mod secrets;
mod world;
