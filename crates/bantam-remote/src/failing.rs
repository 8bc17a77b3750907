//! Requests that an upstream fails over. One that fails each time it is sent stops itself and not its model for others: it
//! counts once against the model, and from then on only against itself.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::time::Instant;

use bantam_backend::BackendFault;

use crate::breaker::Breaker;

/// The most requests of a model that are remembered.
const REQUESTS_MAX: usize = 64;

/// The requests of one model that failed and have not gone well since, by the hashes of their bodies.
#[derive(Debug, Default)]
pub(crate) struct FailingRequests {
    known: VecDeque<(u64, Breaker)>,
}

impl FailingRequests {
    /// Returns whether a request failed too often recently. Bodies are hashed only where any request has failed.
    pub(crate) fn refuses(&self, body: &[u8], hasher: &impl BuildHasher, now: Instant) -> bool {
        if self.known.is_empty() {
            return false;
        }
        let hash = hasher.hash_one(body);
        self.known.iter().any(|(known, breaker)| *known == hash && !breaker.is_available(now))
    }

    /// Notes a failure of a request, and returns whether the same one failed before.
    pub(crate) fn failed(&mut self, body: &[u8], hasher: &impl BuildHasher, now: Instant) -> bool {
        let hash = hasher.hash_one(body);
        let found = self.known.iter_mut().find(|(known, _)| *known == hash);
        if let Some((_, breaker)) = found {
            count(breaker, now);
            return true;
        }
        let mut breaker = Breaker::default();
        count(&mut breaker, now);
        self.known.push_back((hash, breaker));
        if self.known.len() > REQUESTS_MAX {
            self.known.pop_front();
        }
        false
    }

    /// Notes that a request went well.
    pub(crate) fn succeeded(&mut self, body: &[u8], hasher: &impl BuildHasher) {
        if !self.known.is_empty() {
            let hash = hasher.hash_one(body);
            self.known.retain(|(known, _)| *known != hash);
        }
    }
}

fn count(breaker: &mut Breaker, now: Instant) {
    if let Some(admission) = breaker.admit(now) {
        breaker.failed(admission, now, None);
    }
}

/// Returns whether a fault is an answer that the request itself may have brought about. Those by which a host says that it is
/// busy, or a proxy that it has no host, are not.
pub(crate) const fn may_be_provoked(fault: BackendFault) -> bool {
    match fault {
        BackendFault::Status(status) => !matches!(status, 502 | 504 | 520..=599),
        BackendFault::ErrorBody | BackendFault::Garbage | BackendFault::Cut => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_request_that_keeps_failing_is_refused_alone_and_tried_again_later() {
        let (mut failing, hasher, now) = (FailingRequests::default(), RandomState::new(), Instant::now());
        assert!(!failing.refuses(b"poison", &hasher, now));
        assert!(!failing.failed(b"poison", &hasher, now), "the first time counts against the model");
        for _ in 0..10 {
            assert!(failing.failed(b"poison", &hasher, now));
        }
        assert!(failing.refuses(b"poison", &hasher, now) && !failing.refuses(b"good", &hasher, now));
        let later = now + Duration::from_secs(31);
        assert!(!failing.refuses(b"poison", &hasher, later));
        failing.failed(b"poison", &hasher, later);
        assert!(failing.refuses(b"poison", &hasher, later + Duration::from_secs(31)), "the pause doubles");
        failing.succeeded(b"poison", &hasher);
        assert!(!failing.refuses(b"poison", &hasher, later));
    }

    #[test]
    fn only_so_many_requests_are_remembered() {
        let (mut failing, hasher, now) = (FailingRequests::default(), RandomState::new(), Instant::now());
        for number in 0..1_000_u32 {
            assert!(!failing.failed(&number.to_le_bytes(), &hasher, now));
        }
        assert_eq!(failing.known.len(), REQUESTS_MAX);
    }
}
