//! Every kernel against a plain reference in f64, with every set of instructions that the machine has.

mod attention;
mod int8;
mod layers;
mod pool;
mod support;
