//! Compares every kernel with a plain reference in f64, for every instruction set of the machine.

mod attend;
mod attention;
mod decoder;
mod grouped;
mod int8;
mod layers;
mod pool;
mod support;
