//! The traffic of one task.

use std::collections::HashSet;

use bantam_student::normalised;

use crate::desk::Message;
use crate::random::{Random, hash_text};

/// A task's traffic.
pub struct Traffic {
    /// What is recorded and learned from.
    pub teach: Vec<Message>,
    /// What is replayed.
    pub replay: Vec<Message>,
}

impl Traffic {
    /// Returns this many drawn messages to teach with and to replay; equal seeds give equal ones, and no text that is
    /// taught is replayed.
    pub fn drawn(
        (teach, replay): (usize, usize),
        message: fn(&mut Random) -> Message,
        random: &mut Random,
    ) -> Self {
        let teach: Vec<Message> = (0..teach).map(|_| message(random)).collect();
        let taught: HashSet<String> = teach.iter().map(|message| normalised(&message.text)).collect();
        let mut unseen = Vec::with_capacity(replay);
        while unseen.len() < replay {
            let next = message(random);
            if !taught.contains(&normalised(&next.text)) {
                unseen.push(next);
            }
        }
        Self { teach, replay: unseen }
    }

    /// Returns all messages.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.teach.iter().chain(&self.replay)
    }
}

/// Returns whether the simulated frontier errs on a message, as it does on a share `error` of all: decided once, by the
/// seed.
pub(crate) fn errs(message: &Message, seed: u64, error: f64) -> bool {
    ((hash_text(seed, &message.text) >> 11) as f64 / (1_u64 << 53) as f64) < error
}
