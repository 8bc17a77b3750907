//! Damaged bytes for every parser of foreign input: requests, answers, events, settings, journals, students,
//! certificates, bundles, rows, weights, templates and grammars.
//!
//! A [`Target`] is a function over bytes that must return, whatever they are: it may refuse them, it may not panic,
//! loop for ever or allocate without bound. Each target has a corpus in `corpus/NAME`: files as others write them, and
//! inputs that once broke something. [`replay`] runs the corpus as it is; [`explore`] runs inputs made from it by a seeded
//! [`Mutator`], so a run can be repeated exactly. The test command does both with a fixed number of inputs. The same
//! functions are libFuzzer targets in `fuzz/`, a workspace of its own, for long runs that follow the coverage.
//!
//! Where a format carries a checksum, the target writes it anew over the damaged body. Otherwise every input would
//! end at the checksum, and the parser behind it would never be tried.
//!
//! To add a target, write the function in `targets/`, list it in [`TARGETS`], put at least one valid file into its
//! corpus, and give it an entry point in `fuzz/`.

mod mutate;
mod run;
mod targets;

pub use mutate::Mutator;
pub use run::{Crash, RunError, explore, replay};
pub use targets::{TARGETS, Target, run, target};
