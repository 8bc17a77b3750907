//! A model behind an upstream, as a backend.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture, Repeat};
use bantam_privacy::Cleared;
use bantam_types::Tier;
use bantam_wire::anthropic::ModelTraits;
use bantam_wire::{Call, CallKind, Edits, Format, Unsupported, anthropic, openai};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Uri;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout_at;

use crate::detection::{DetectEngineError, fault_of};
use crate::engine::{Engine, adapt};
use crate::exchange::{self, Asked, Deadlines, Received};
use crate::failing::{FailingRequests, may_be_provoked};
use crate::retry;
use crate::upstream::{BuildUpstreamError, Dialect, Upstream};
use crate::watch::{AdmittedCall, SharedBreaker};

/// One model of one upstream.
pub struct RemoteModel {
    upstream: Arc<Upstream>,
    /// The name the upstream knows it by.
    model: String,
    tier: Tier,
    /// For upstreams whose dialect wants to know more of the model than its name.
    traits: ModelTraits,
    chat: Target,
    text: Option<Target>,
    embeddings: Option<Target>,
}

/// Where calls of one kind go. Each has a breaker of its own: a model that cannot embed may chat well.
struct Target {
    uri: Uri,
    breaker: SharedBreaker,
    failing: Mutex<FailingRequests>,
}

impl Target {
    fn new(uri: Uri) -> Self {
        Self { uri, breaker: SharedBreaker::default(), failing: Mutex::default() }
    }
}

/// One call as it is sent, and sent again.
struct Sending<'c> {
    call: &'c Call,
    body: Bytes,
    stream: bool,
    target: &'c Target,
    format: Format,
}

impl RemoteModel {
    /// Returns the model that `upstream` calls `model`, on `tier`.
    ///
    /// # Errors
    /// When its address is not a valid URL.
    pub fn new(upstream: Arc<Upstream>, model: String, tier: Tier) -> Result<Self, BuildUpstreamError> {
        let chat = Target::new(upstream.uri(&model)?);
        let text = upstream.uri_of(CallKind::Text, &model)?.map(Target::new);
        let embeddings = upstream.uri_of(CallKind::Embeddings, &model)?.map(Target::new);
        let traits = ModelTraits::default();
        Ok(Self { upstream, model, tier, traits, chat, text, embeddings })
    }

    /// Returns the same model with what Anthropic's API has to be told of it.
    #[must_use]
    pub fn with_traits(self, traits: ModelTraits) -> Self {
        Self { traits, ..self }
    }

    const fn target(&self, kind: CallKind) -> Option<&Target> {
        match kind {
            CallKind::Chat => Some(&self.chat),
            CallKind::Text => self.text.as_ref(),
            CallKind::Embeddings => self.embeddings.as_ref(),
        }
    }

    /// Returns where calls of `kind` go, and the format of their answers.
    ///
    /// # Errors
    /// When the upstream does not answer such calls.
    fn served_target(&self, kind: CallKind) -> Result<(&Target, Format), Unsupported> {
        let unserved = || Unsupported::new(kind.feature(), "the upstream has no such endpoint");
        self.target(kind).zip(self.upstream.dialect.format(kind)).ok_or_else(unserved)
    }

    async fn call(&self, request: Cleared, ask: Ask) -> Result<Answer, BackendError> {
        if request.tier() != self.tier {
            return Err(BackendFault::NotCleared.into());
        }
        let call = request.request();
        let (target, format) = self.served_target(call.kind())?;
        let edits = Edits { model: &self.model, system: ask.system.as_deref(), stream: ask.stream };
        let body = match self.upstream.dialect {
            Dialect::OpenAi => openai::body(call, edits)?,
            Dialect::Anthropic => anthropic::body(call, edits, self.traits)?,
        };
        let Ok(place) = Arc::clone(&self.upstream.places).try_acquire_owned() else {
            return Err(BackendFault::Busy.into());
        };
        let sending = Sending { call, body: body.into(), stream: ask.stream, target, format };
        self.send(&sending, &ask).await.map(|(answer, retries)| with_retries(answer, retries, place))
    }

    /// Sends a call until it is answered or may not be sent again for free; returns the retries as well. What failed after
    /// the request was sent may have been billed: that is another attempt, and for the asker to make.
    async fn send(&self, sending: &Sending<'_>, ask: &Ask) -> Result<(Answer, u32), BackendError> {
        let started = Instant::now();
        let own_total = ask.before.began.unwrap_or(started) + self.upstream.settings.total_timeout;
        let total = ask.deadline.map_or(own_total, |deadline| deadline.min(own_total));
        self.upstream.budget.lock().earn(started);
        let mut last: Option<BackendError> = None;
        let mut retries = 0;
        loop {
            let first_byte = Instant::now() + self.upstream.settings.first_byte_timeout;
            let deadlines = Deadlines { started, first_byte, total, total_is_callers: total < own_total };
            let begun = Instant::now();
            let error = match (self.attempt(sending, deadlines).await, last) {
                (Ok(answer), _) => return Ok((answer, retries)),
                // A breaker opened during the pause, and nothing was sent: what counts is why the call failed before.
                (Err(error), Some(last)) if error.fault == BackendFault::BreakerOpen => return Err(last),
                (Err(error), _) => BackendError { retries, ..error },
            };
            self.upstream.log_failure(Some(&self.model), &error, begun);
            let calls = ask.before.calls.saturating_add(retries);
            let pause = self.pause_before_repeat(sending, &error, calls, total);
            match (pause, error.repeat()) {
                (Some(pause), Repeat::Free) => {
                    retries += 1;
                    last = Some(error);
                    tokio::time::sleep(pause).await;
                }
                (repeat_after, _) => return Err(BackendError { repeat_after, ..error }),
            }
        }
    }

    /// Returns how long to wait before a call that failed is made again, where it may be, after `calls` that were made
    /// before it; takes that out of the budget.
    fn pause_before_repeat(
        &self,
        sending: &Sending<'_>,
        error: &BackendError,
        calls: u32,
        total: Instant,
    ) -> Option<Duration> {
        let settings = &self.upstream.settings;
        let is_allowed = match error.repeat() {
            Repeat::Never => false,
            Repeat::Free => true,
            Repeat::MayBeBilled => settings.retry_sent,
        };
        let pause = retry::pause(calls, error.retry_after, &self.upstream.jitter)?;
        let then = Instant::now() + pause;
        let may = is_allowed
            && calls < settings.retries_max
            && then < total
            && self.would_admit(sending.target, then)
            && self.upstream.budget.lock().spend();
        may.then_some(pause)
    }

    /// Returns how long calls of a target are refused.
    fn pause_left(&self, target: &Target, now: Instant) -> Option<Duration> {
        let of_upstream = self.upstream.breaker.lock().pause_left(now);
        of_upstream.max(target.breaker.lock().pause_left(now))
    }

    fn would_admit(&self, target: &Target, now: Instant) -> bool {
        self.upstream.breaker.lock().is_available(now) && target.breaker.lock().is_available(now)
    }

    async fn attempt(&self, sending: &Sending<'_>, deadlines: Deadlines) -> Result<Answer, BackendError> {
        let (upstream, now) = (&self.upstream, Instant::now());
        if sending.target.failing.lock().refuses(&sending.body, &upstream.jitter, now) {
            return Err(BackendFault::BreakerOpen.into());
        }
        let admitted = AdmittedCall::admit(&upstream.breaker, &sending.target.breaker, now);
        let Some(admitted) = admitted else {
            let retry_after = self.pause_left(sending.target, now);
            return Err(BackendError { retry_after, ..BackendFault::BreakerOpen.into() });
        };
        let (engine, body) = match self.adapted(sending, &deadlines).await {
            Ok(adapted) => adapted,
            Err(error) => {
                if matches!(error, DetectEngineError::Failed { is_first: true, .. }) {
                    admitted.upstream_failed();
                }
                return Err(error.into());
            }
        };
        if self.tier == Tier::Local {
            self.runs_itself(engine, &deadlines).await?;
        }
        self.exchange(sending, body, deadlines, admitted).await
    }

    /// Checks that a model that is to be local is not one that its engine passes on.
    async fn runs_itself(&self, engine: Option<Engine>, deadlines: &Deadlines) -> Result<(), BackendError> {
        let until = deadlines.first_byte.min(deadlines.total);
        match timeout_at(until.into(), self.upstream.runs_itself(engine, &self.model)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(BackendFault::Elsewhere.into()),
            Ok(Err(error)) => Err(fault_of(error).into()),
            Err(_) => Err(deadlines.first_byte_fault().into()),
        }
    }

    /// Returns the body in the words of the engine that it goes to, and which engine that is.
    async fn adapted(
        &self,
        sending: &Sending<'_>,
        deadlines: &Deadlines,
    ) -> Result<(Option<Engine>, Bytes), DetectEngineError> {
        let body = sending.body.clone();
        let Some(detector) = &self.upstream.detector else { return Ok((None, body)) };
        let engine = detector.engine(sending.call, deadlines).await?;
        Ok(match engine {
            Some(engine) => (Some(engine), adapt(engine, body)),
            None => (None, body),
        })
    }

    async fn exchange(
        &self,
        sending: &Sending<'_>,
        body: Bytes,
        deadlines: Deadlines,
        mut admitted: AdmittedCall,
    ) -> Result<Answer, BackendError> {
        let upstream = &self.upstream;
        let blame = |admitted: AdmittedCall, error: BackendError| {
            if deadlines.is_callers_own(error.fault) {
                return error;
            }
            let is_known = may_be_provoked(error.fault)
                && sending.target.failing.lock().failed(&sending.body, &upstream.jitter, Instant::now());
            if is_known {
                admitted.failed_again(&error);
            } else {
                admitted.failed(&error);
            }
            error
        };
        let sent = exchange::send(upstream, &sending.target.uri, body, sending.stream, &deadlines).await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Err(blame(admitted, error)),
        };
        admitted.was_answered();
        let call = sending.call;
        let prompts = call.texts().len().max(1);
        let asked = Asked {
            format: sending.format,
            endpoint: call.endpoint,
            stream: sending.stream,
            answers: prompts.saturating_mul(call.answers as usize),
        };
        let received = match exchange::receive(upstream, response, asked, deadlines).await {
            Ok(received) => received,
            Err(error) => return Err(blame(admitted, error)),
        };
        sending.target.failing.lock().succeeded(&sending.body, &upstream.jitter);
        Ok(match received {
            Received::Stream(stream) => Answer::Stream(stream.watched_by(admitted.began(), upstream)),
            Received::Whole(whole) => {
                admitted.succeeded();
                Answer::Whole(whole)
            }
        })
    }
}

/// Notes the retries; a stream keeps its place until it ends or is dropped.
fn with_retries(mut answer: Answer, retries: u32, place: OwnedSemaphorePermit) -> Answer {
    match &mut answer {
        Answer::Whole(whole) => whole.retries = retries,
        Answer::Stream(stream) => {
            stream.retries = retries;
            let items = std::mem::replace(&mut stream.items, futures_util::stream::empty().boxed());
            stream.items = items
                .map(move |item| {
                    let _held = &place;
                    item
                })
                .boxed();
        }
        Answer::Student(_) => {}
    }
    answer
}

impl Backend for RemoteModel {
    fn tier(&self) -> Tier {
        self.tier
    }

    fn cannot_honour(&self, call: &Call) -> Option<Unsupported> {
        if let Err(unserved) = self.served_target(call.kind()) {
            return Some(unserved);
        }
        match self.upstream.dialect {
            Dialect::OpenAi => {
                let engine =
                    || self.upstream.detector.as_ref().and_then(|detector| detector.refuses_surely(call));
                openai::refusal(call).or_else(engine)
            }
            Dialect::Anthropic => anthropic::refusal(call, self.traits),
        }
    }

    fn is_available(&self, kind: CallKind) -> bool {
        self.target(kind).is_some_and(|target| self.would_admit(target, Instant::now()))
    }

    fn refused_for(&self, kind: CallKind) -> Option<Duration> {
        self.pause_left(self.target(kind)?, Instant::now())
    }

    fn answer(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
        Box::pin(self.call(request, ask))
    }
}
