//! A model behind an upstream, as a backend.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture, Repeat, WholeAnswer};
use bantam_privacy::Cleared;
use bantam_types::Tier;
use bantam_wire::anthropic::ModelTraits;
use bantam_wire::{
    Call, CallKind, Edits, Envelope, Feature, Format, Phrasing, Unsupported, anthropic, openai,
};
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
use crate::notes;
use crate::phrasing::{Changes, Learnt};
use crate::refusal::Failure;
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
    learnt: Mutex<Learnt>,
}

impl Target {
    fn new(uri: Uri) -> Self {
        Self { uri, breaker: SharedBreaker::default(), failing: Mutex::default(), learnt: Mutex::default() }
    }
}

/// One call as it is sent, and sent again.
struct Sending<'c> {
    call: &'c Call,
    envelope: &'c Envelope,
    ask: &'c Ask,
    phrasing: Phrasing,
    /// What was said another way since it was first sent.
    changes: Changes,
    body: Bytes,
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
        let phrasing = target.learnt.lock().phrasing(self.upstream.settings.phrasing, Instant::now());
        let body = self.body(call, &ask, phrasing)?;
        let Ok(place) = Arc::clone(&self.upstream.places).try_acquire_owned() else {
            return Err(BackendFault::Busy.into());
        };
        let changes = Changes::default();
        let mut sending = Sending {
            call,
            envelope: request.envelope(),
            ask: &ask,
            phrasing,
            changes,
            body,
            target,
            format,
        };
        self.send(&mut sending).await.map(|(answer, retries)| with_retries(answer, retries, place))
    }

    fn body(&self, call: &Call, ask: &Ask, phrasing: Phrasing) -> Result<Bytes, Unsupported> {
        let edits = Edits { model: &self.model, system: ask.system.as_deref(), stream: ask.stream, phrasing };
        Ok(match self.upstream.dialect {
            Dialect::OpenAi => openai::body(call, edits)?,
            Dialect::Anthropic => anthropic::body(call, edits, self.traits)?,
        }
        .into())
    }

    /// Says a call that was refused another way, where there is one that may be taken.
    fn rephrase(&self, sending: &mut Sending<'_>, failure: &Failure) -> bool {
        if self.upstream.dialect != Dialect::OpenAi {
            return false;
        }
        let rephrased = sending.target.learnt.lock().rephrased(
            self.upstream.settings.phrasing,
            (sending.call, sending.ask.stream, sending.phrasing),
            (failure.error.fault, failure.unwanted),
            &mut sending.changes,
        );
        let Some(phrasing) = rephrased else { return false };
        let Ok(body) = self.body(sending.call, sending.ask, phrasing) else { return false };
        (sending.phrasing, sending.body) = (phrasing, body);
        true
    }

    /// Remembers how a call was said that was answered.
    fn confirm(&self, sending: &Sending<'_>) {
        let (phrasing, stream) = (sending.phrasing, sending.ask.stream);
        let new = sending.target.learnt.lock().confirm(phrasing, stream, sending.changes, Instant::now());
        if let Some(new) = new {
            self.upstream.log_learnt(&self.model, new);
        }
    }

    /// Returns the first parameter of the caller's that the dialect does not have and the upstream does not list.
    fn unlisted_field(&self, call: &Call) -> Option<Unsupported> {
        if !call.asks(Feature::VendorFields) {
            return None;
        }
        let mut names = call.source().vendor_members().map(|(name, _)| name);
        let unlisted = names.find(|name| !self.upstream.fields.contains(*name))?;
        let reason = format!("`{unlisted}` is not among the `fields` of its upstream");
        Some(Unsupported::new(Feature::VendorFields, reason))
    }

    /// Sends a call until it is answered or may not be sent again for free; returns the retries as well. What failed after
    /// the request was sent may have been billed: that is another attempt, and for the asker to make.
    async fn send(&self, sending: &mut Sending<'_>) -> Result<(Answer, u32), BackendError> {
        let ask = sending.ask;
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
            let failure = match (self.attempt(sending, deadlines).await, last) {
                (Ok(answer), _) => {
                    self.confirm(sending);
                    return Ok((answer, retries));
                }
                // A breaker opened during the pause, and nothing was sent: what counts is why the call failed before.
                (Err(failure), Some(last)) if failure.error.fault == BackendFault::BreakerOpen => {
                    return Err(last);
                }
                (Err(failure), _) => failure,
            };
            let is_rephrased = self.rephrase(sending, &failure);
            let error = BackendError { retries, ..failure.error };
            self.upstream.log_failure(Some(&self.model), &error, begun);
            if is_rephrased {
                retries += 1;
                last = Some(error);
                continue;
            }
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

    async fn attempt(&self, sending: &Sending<'_>, deadlines: Deadlines) -> Result<Answer, Failure> {
        let (upstream, now) = (&self.upstream, Instant::now());
        if sending.target.failing.lock().refuses(&sending.body, &upstream.jitter, now) {
            return Err(BackendFault::BreakerOpen.into());
        }
        let admitted = AdmittedCall::admit(&upstream.breaker, &sending.target.breaker, now);
        let Some(admitted) = admitted else {
            let retry_after = self.pause_left(sending.target, now);
            let error = BackendError { retry_after, ..BackendFault::BreakerOpen.into() };
            return Err(error.into());
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
    ) -> Result<Answer, Failure> {
        let upstream = &self.upstream;
        let blame = |admitted: AdmittedCall, failure: Failure| {
            let error = &failure.error;
            if deadlines.is_callers_own(error.fault) {
                return failure;
            }
            let is_known = may_be_provoked(error.fault)
                && sending.target.failing.lock().failed(&sending.body, &upstream.jitter, Instant::now());
            if is_known {
                admitted.failed_again(error);
            } else {
                admitted.failed(error);
            }
            failure
        };
        let asked = (sending.ask.stream && sending.phrasing.stream, sending.envelope);
        let sent = exchange::send(upstream, &sending.target.uri, body, asked, &deadlines).await;
        let response = match sent {
            Ok(response) => response,
            Err(failure) => return Err(blame(admitted, sending.judged(failure))),
        };
        admitted.was_answered();
        let notes = notes::read(response.headers());
        let call = sending.call;
        let prompts = call.texts().len().max(1);
        let asked = Asked {
            format: sending.format,
            endpoint: call.endpoint,
            stream: sending.ask.stream,
            answers: prompts.saturating_mul(call.answers as usize),
        };
        let received = match exchange::receive(upstream, response, asked, deadlines).await {
            Ok(received) => received,
            Err(error) => return Err(blame(admitted, BackendError { notes, ..error }.into())),
        };
        sending.target.failing.lock().succeeded(&sending.body, &upstream.jitter);
        Ok(match received {
            Received::Stream(stream) => Answer::Stream(stream.watched_by(admitted.began(), upstream, notes)),
            Received::Whole(whole) => {
                admitted.succeeded();
                Answer::Whole(WholeAnswer { notes, ..whole })
            }
        })
    }
}

impl Sending<'_> {
    /// Returns a failure as what it says of the caller's request. That a translation is refused as invalid says nothing of
    /// it: another upstream may take what was asked for.
    fn judged(&self, mut failure: Failure) -> Failure {
        if let BackendFault::Refused(status) = failure.error.fault
            && self.call.endpoint.format() != Some(self.format)
        {
            failure.error.fault = BackendFault::Unsupported(status);
        }
        failure
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
        if let Some(unlisted) = self.unlisted_field(call) {
            return Some(unlisted);
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

    fn upstream(&self) -> Option<&str> {
        Some(self.upstream.name())
    }

    fn answer(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
        Box::pin(self.call(request, ask))
    }
}
