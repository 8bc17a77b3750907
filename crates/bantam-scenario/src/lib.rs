//! Generated traffic whose truth is known, and the simulated frontier model that answers it.
//!
//! The demo and its tests need applications that ask and a model that knows what is right. [`Workload::generated`] is a
//! support desk whose messages are to be classified, orders whose values are to be found, and messages that are to be
//! replied to; [`Workload::of_rows`] is a user's own rows. [`SimulatedFrontier`] answers them over HTTP, slowly and not
//! without mistakes, and [`replay`] asks a gateway as many applications at a time would.
//!
//! **Invariant:** equal seeds give equal messages, truths and mistakes.

mod desk;
mod frontier;
pub mod orders;
mod random;
mod replay;
pub mod replies;
mod topics;
mod traffic;
mod words;
mod workload;

pub use desk::Message;
pub use frontier::{SimulatedFrontier, Skill};
pub use random::Random;
pub use replay::{Application, ReplayFigures, replay};
pub use traffic::Traffic;
pub use workload::{CONCURRENCIES, Workload, WorkloadError};
