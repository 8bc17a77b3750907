//! The way of a request, one direction, one stage a file:
//! `decode → admit → identify → scan → plan → attempt → judge → next rung or answer → settle → encode`.
//!
//! [`Gateway::answer`] composes the stages and reads top to bottom. This crate knows traits and bytes, no sockets: the
//! server hands it a body and gets a [`Reply`]. It knows no dialect either: bodies are decoded and answers written
//! through the [`bantam_wire::Endpoint`] that was asked.
//!
//! A request's file is opened when it arrives, before it waits for its turn, so a refusal at any stage is settled too.
//! Whoever wants to see finished requests watches them as an [`Observer`], off the caller's path.
//!
//! **Invariant:** every request is settled exactly once, also when its caller leaves or a panic ends it.
//!
//! **Invariant:** nothing is returned to a caller before its settlement is in the books.

mod admit;
mod answer;
mod case;
mod chat;
mod climbing;
mod deployment;
mod exhausted;
mod explain;
mod finish;
mod identify;
mod ladder;
mod live;
mod observe;
mod prepare;
mod relay;
mod reply;
mod tokens;
mod waiting;

pub use admit::AdmissionLimits;
pub use chat::Gateway;
pub use deployment::{Deployment, Rung, Task};
pub use explain::Explanation;
pub use identify::Hints;
pub use observe::{FinishedRequest, Observer, Observers};
pub use reply::{Reply, ReplyBody, ReplyStream};
pub use tokens::TokenRatio;
