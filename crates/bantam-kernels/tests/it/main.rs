//! Every kernel against a plain reference in f64, with every set of instructions that the machine has.

mod attend;
mod attention;
mod decoder;
mod grouped;
mod int8;
mod layers;
mod pool;
mod support;
