//! What only a test inside the binary can see.

mod reference;
