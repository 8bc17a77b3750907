//! Which breakers a call has to pass, and what its end says to each of them.
//!
//! There are two scopes. The upstream's breaker counts what concerns the host or the whole key, and so every model there.
//! Everything that may concern a single model counts for that model's breaker, and there for one kind of calls: a model
//! that cannot embed may chat well. Where a fault could be of either scope, it counts for the narrower one. A host that is
//! down altogether then costs each of its models a few failures; the other way round, one mistyped model would stop
//! all the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_backend::{BackendError, BackendFault};
use parking_lot::Mutex;

use crate::breaker::{Admission, Breaker};

/// A breaker that the calls in flight share.
pub(crate) type SharedBreaker = Arc<Mutex<Breaker>>;

/// A call that both breakers admitted. Dropped without a word, it says nothing about either scope.
pub(crate) struct AdmittedCall {
    /// Until the host has answered.
    upstream: Option<Watch>,
    model: Watch,
}

/// Tells one breaker how a call ended, also when it was dropped half-way.
pub(crate) struct Watch {
    breaker: SharedBreaker,
    admission: Option<Admission>,
}

/// What the end of a call says about a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Good,
    Bad,
    Silent,
}

impl AdmittedCall {
    /// Admits a call if both breakers do.
    pub(crate) fn admit(upstream: &SharedBreaker, model: &SharedBreaker, now: Instant) -> Option<Self> {
        let (mut of_upstream, mut of_model) = (upstream.lock(), model.lock());
        // Neither is asked to admit a call that the other refuses: that would take up its probe.
        if !of_upstream.is_available(now) || !of_model.is_available(now) {
            return None;
        }
        let (for_upstream, for_model) = (of_upstream.admit(now)?, of_model.admit(now)?);
        Some(Self { upstream: Some(Watch::new(upstream, for_upstream)), model: Watch::new(model, for_model) })
    }

    /// Notes that the host has answered, well or not, and took the key.
    pub(crate) fn was_answered(&mut self) {
        if let Some(upstream) = self.upstream.take() {
            upstream.succeeded();
        }
    }

    /// Notes a whole answer.
    pub(crate) fn succeeded(mut self) {
        self.was_answered();
        self.model.succeeded();
    }

    /// Notes that a stream began well, and returns what has to learn how it ends.
    pub(crate) fn began(mut self) -> Watch {
        self.was_answered();
        self.model.began();
        self.model
    }

    /// Notes a fault that says nothing about the model: the host was not fit for any call.
    pub(crate) fn upstream_failed(self) {
        if let Some(upstream) = self.upstream {
            upstream.failed(None);
        }
    }

    /// Notes how a call failed whose very request has failed before. That says nothing more about the model, unless the call
    /// was to find out whether the model is well again.
    pub(crate) fn failed_again(self, error: &BackendError) {
        if self.model.breaker.lock().is_open() {
            return self.failed(error);
        }
        if let Some(upstream) = self.upstream {
            upstream.tell(signs(error.fault).0, error.retry_after);
        }
    }

    /// Notes how a call failed.
    pub(crate) fn failed(self, error: &BackendError) {
        let asked = error.retry_after;
        let (of_upstream, of_model) = signs(error.fault);
        if let Some(upstream) = self.upstream {
            upstream.tell(of_upstream, asked);
        }
        self.model.tell(of_model, asked);
    }
}

impl Watch {
    fn new(breaker: &SharedBreaker, admission: Admission) -> Self {
        Self { breaker: Arc::clone(breaker), admission: Some(admission) }
    }

    pub(crate) fn succeeded(mut self) {
        if let Some(admission) = self.admission.take() {
            self.breaker.lock().succeeded(admission);
        }
    }

    fn failed(mut self, asked: Option<Duration>) {
        if let Some(admission) = self.admission.take() {
            self.breaker.lock().failed(admission, Instant::now(), asked);
        }
    }

    fn began(&self) {
        if let Some(admission) = &self.admission {
            self.breaker.lock().began(admission);
        }
    }

    /// Notes how a stream broke off.
    pub(crate) fn told(self, error: &BackendError) {
        let (_, of_model) = signs(error.fault);
        self.tell(of_model, error.retry_after);
    }

    fn tell(self, sign: Sign, asked: Option<Duration>) {
        match sign {
            Sign::Good => self.succeeded(),
            Sign::Bad => self.failed(asked),
            Sign::Silent => {}
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            self.breaker.lock().ended(admission);
        }
    }
}

/// Returns what a fault says about the upstream, and about the model.
const fn signs(fault: BackendFault) -> (Sign, Sign) {
    use Sign::{Bad, Good, Silent};

    match fault {
        // The call did not get there, or was refused here.
        BackendFault::NotCleared
        | BackendFault::Elsewhere
        | BackendFault::CannotHonour(_)
        | BackendFault::ContextLength { .. }
        | BackendFault::BreakerOpen
        | BackendFault::Busy
        | BackendFault::NoMemory
        | BackendFault::NoRoom
        | BackendFault::NotLoaded => (Silent, Silent),
        // No model can be reached. A 401 refuses the key itself, whatever it was used for.
        BackendFault::Connect(_) | BackendFault::Unsent | BackendFault::NotHttp | BackendFault::Key(401) => {
            (Bad, Silent)
        }
        // Silence may be one model's long queue, or the whole host's; and a connection that breaks once the request was
        // sent may be one model's worker that died of it.
        BackendFault::FirstByteTimeout
        | BackendFault::TotalTimeout
        | BackendFault::Broken
        | BackendFault::Reset => (Silent, Bad),
        // The caller's request is at fault, or what it asked for. A 403 is also what a firewall before an upstream sends
        // for words in a prompt.
        BackendFault::Refused(_)
        | BackendFault::Unsupported(_)
        | BackendFault::ContextExceeded(_)
        | BackendFault::Filtered(_)
        | BackendFault::RequestTooLarge(_)
        | BackendFault::TooLarge
        | BackendFault::Key(_) => (Good, Silent),
        // Some say with a status for invalid requests, or in their words only, that there is no credit; and words may be the
        // prompt's.
        BackendFault::QuotaUsedUp(200 | 400 | 403) => (Good, Silent),
        // The host answered. A 404 is what providers send for a model that they do not have. Limits (429) and capacity
        // (503, 529) are counted by model; where a quota covers all of them, each model finds out for itself.
        BackendFault::NotFound
        | BackendFault::RateLimited(_)
        | BackendFault::QuotaUsedUp(_)
        | BackendFault::Overloaded(_)
        | BackendFault::Status(_)
        | BackendFault::ErrorBody
        | BackendFault::Garbage
        | BackendFault::Encoded(_)
        | BackendFault::ChunkTimeout
        | BackendFault::Cut => (Good, Bad),
    }
}

#[cfg(test)]
mod tests {
    use bantam_backend::ConnectFault;

    use super::*;

    /// Returns whether the upstream, and whether the model, is available after many calls that ended with `fault`.
    fn after(fault: BackendFault) -> (bool, bool) {
        let (upstream, model) = (SharedBreaker::default(), SharedBreaker::default());
        let now = Instant::now();
        for _ in 0..20 {
            if let Some(call) = AdmittedCall::admit(&upstream, &model, now) {
                call.failed(&fault.into());
            }
        }
        (upstream.lock().is_available(now), model.lock().is_available(now))
    }

    #[test]
    fn a_fault_closes_the_narrowest_scope_that_it_may_concern() {
        let refused = BackendFault::Connect(ConnectFault::Refused);
        for fault in [refused, BackendFault::Unsent, BackendFault::NotHttp, BackendFault::Key(401)] {
            assert_eq!(after(fault), (false, true), "{fault:?}");
        }
        for fault in [
            BackendFault::Broken,
            BackendFault::Reset,
            BackendFault::NotFound,
            BackendFault::RateLimited(429),
            BackendFault::QuotaUsedUp(429),
            BackendFault::Status(500),
            BackendFault::Overloaded(529),
            BackendFault::FirstByteTimeout,
            BackendFault::TotalTimeout,
            BackendFault::ChunkTimeout,
            BackendFault::Garbage,
            BackendFault::ErrorBody,
            BackendFault::Cut,
        ] {
            assert_eq!(after(fault), (true, false), "{fault:?}");
        }
        for fault in [
            BackendFault::Refused(400),
            BackendFault::ContextExceeded(400),
            BackendFault::Filtered(403),
            BackendFault::RequestTooLarge(413),
            BackendFault::QuotaUsedUp(400),
            BackendFault::TooLarge,
            BackendFault::Key(403),
            BackendFault::Busy,
            BackendFault::BreakerOpen,
        ] {
            assert_eq!(after(fault), (true, true), "{fault:?}");
        }
    }

    /// Opens `breaker` and returns when it may be probed.
    fn open(breaker: &SharedBreaker) -> Instant {
        let neighbour = SharedBreaker::default();
        let start = Instant::now();
        while let Some(call) = AdmittedCall::admit(breaker, &neighbour, start) {
            call.upstream_failed();
        }
        start + Duration::from_secs(40)
    }

    #[test]
    fn a_call_that_one_breaker_refuses_does_not_take_up_the_probe_of_the_other() {
        let (upstream, model, other) =
            (SharedBreaker::default(), SharedBreaker::default(), SharedBreaker::default());
        let later = open(&upstream);
        open(&model);
        let probe = AdmittedCall::admit(&upstream, &model, later).unwrap();
        assert!(AdmittedCall::admit(&upstream, &other, later).is_none(), "the host is being probed");
        assert!(AdmittedCall::admit(&other, &model, later).is_none(), "the model is being probed");
        assert!(other.lock().is_available(later));
        drop(probe);
        let probe = AdmittedCall::admit(&upstream, &other, later).unwrap();
        probe.succeeded();
        assert!(AdmittedCall::admit(&upstream, &model, later).is_some(), "the model's probe was not used up");
    }

    #[test]
    fn an_answer_that_began_ends_the_probe_of_the_host_but_not_that_of_the_model() {
        let (upstream, model) = (SharedBreaker::default(), SharedBreaker::default());
        let later = open(&upstream);
        open(&model);
        let mut probe = AdmittedCall::admit(&upstream, &model, later).unwrap();
        probe.was_answered();
        let is_available = |breaker: &SharedBreaker| breaker.lock().is_available(later);
        assert_eq!((is_available(&upstream), is_available(&model)), (true, false));
        probe.failed(&BackendFault::Cut.into());
        assert_eq!((is_available(&upstream), is_available(&model)), (true, false));
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept() {
        let (upstream, model) = (SharedBreaker::default(), SharedBreaker::default());
        let start = Instant::now();
        while let Some(call) = AdmittedCall::admit(&upstream, &model, start) {
            let retry_after = Some(Duration::from_secs(300));
            call.failed(&BackendError { retry_after, ..BackendFault::RateLimited(429).into() });
        }
        assert!(!model.lock().is_available(start + Duration::from_secs(299)));
        assert!(model.lock().is_available(start + Duration::from_secs(400)));
    }
}
