//! A model behind an upstream, as a backend.

use std::sync::Arc;
use std::time::Instant;

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture};
use bantam_privacy::Cleared;
use bantam_types::Tier;
use bantam_wire::support::refusal_of_typed;
use bantam_wire::{Call, CallKind, Edits, Endpoint, Format, Unsupported, anthropic, openai};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Uri;
use tokio::sync::OwnedSemaphorePermit;

use crate::engine::adapt;
use crate::exchange::{self, Deadlines};
use crate::fetch::Key;
use crate::upstream::{BuildUpstreamError, Dialect, Upstream};
use crate::{retry, stream};

/// One model of one upstream.
pub struct RemoteModel {
    upstream: Arc<Upstream>,
    /// The name the upstream knows it by.
    model: String,
    tier: Tier,
    chat: Uri,
    text: Option<Uri>,
    embeddings: Option<Uri>,
}

impl RemoteModel {
    /// Returns the model that `upstream` calls `model`, on `tier`.
    ///
    /// # Errors
    /// When its address is not a valid URL.
    pub fn new(upstream: Arc<Upstream>, model: String, tier: Tier) -> Result<Self, BuildUpstreamError> {
        let chat = upstream.uri(&model)?;
        let text = upstream.uri_of(CallKind::Text, &model)?;
        let embeddings = upstream.uri_of(CallKind::Embeddings, &model)?;
        Ok(Self { upstream, model, tier, chat, text, embeddings })
    }

    /// Returns where calls of `kind` go, and the format of their answers.
    ///
    /// # Errors
    /// When the upstream does not answer such calls.
    fn target(&self, kind: CallKind) -> Result<(&Uri, Format), Unsupported> {
        let uri = match kind {
            CallKind::Chat => Some(&self.chat),
            CallKind::Text => self.text.as_ref(),
            CallKind::Embeddings => self.embeddings.as_ref(),
        };
        let unserved = Unsupported { feature: kind.feature(), reason: "the upstream has no such endpoint" };
        uri.zip(self.upstream.dialect.format(kind)).ok_or(unserved)
    }

    async fn call(&self, request: Cleared, ask: Ask) -> Result<Answer, BackendError> {
        if request.tier() != self.tier {
            return Err(BackendFault::NotCleared.into());
        }
        let call = request.request();
        let (uri, format) = self.target(call.kind())?;
        let edits = Edits { model: &self.model, system: ask.system.as_deref(), stream: ask.stream };
        let body = match self.upstream.dialect {
            Dialect::OpenAi => openai::body(call, edits)?,
            Dialect::Anthropic => anthropic::body(call, edits)?,
        };
        let body = match &self.upstream.seat {
            None => body,
            Some(seat) => {
                let key = self.upstream.auth.clone().map(|(name, value)| Key(name, value));
                match seat.engine(key.as_ref(), call).await? {
                    Some(engine) => adapt(engine, body),
                    None => body,
                }
            }
        };
        let body = Bytes::from(body);
        let Ok(place) = Arc::clone(&self.upstream.places).try_acquire_owned() else {
            return Err(BackendFault::Busy.into());
        };
        let started = Instant::now();
        let total = started + self.upstream.settings.total_timeout;
        let total = ask.deadline.map_or(total, |deadline| deadline.min(total));
        let mut retries = 0;
        self.upstream.budget.lock().earn(started);
        loop {
            let result = self
                .attempt(uri, (format, call.endpoint), (body.clone(), ask.stream), (started, total))
                .await;
            let error = match result {
                Ok(answer) => return Ok(with_retries(answer, retries, place)),
                Err(error) => error,
            };
            let pause = retry::pause(retries, error.retry_after_s, &self.upstream.jitter);
            let may_retry = error.fault.is_transient()
                && retries < self.upstream.settings.retries_max
                && pause.is_some_and(|pause| Instant::now() + pause < total)
                && self.upstream.budget.lock().spend();
            if !may_retry {
                return Err(BackendError { retries, ..error });
            }
            retries += 1;
            tokio::time::sleep(pause.unwrap_or_default()).await;
        }
    }

    async fn attempt(
        &self,
        uri: &Uri,
        target: (Format, &'static dyn Endpoint),
        (body, stream): (Bytes, bool),
        (started, total): (Instant, Instant),
    ) -> Result<Answer, BackendError> {
        let upstream = &self.upstream;
        if !upstream.breaker.lock().admit(Instant::now()) {
            return Err(BackendFault::BreakerOpen.into());
        }
        let mut watch = Watch { upstream, told: false };
        let deadlines =
            Deadlines { started, first_byte: Instant::now() + upstream.settings.first_byte_timeout, total };
        let result = async {
            let response = exchange::send(upstream, uri, body, stream, &deadlines).await?;
            if stream {
                stream::open(upstream, response, target, deadlines).await.map(Answer::Stream)
            } else {
                exchange::read_whole(upstream, response, target, &deadlines).await.map(Answer::Whole)
            }
        }
        .await;
        watch.tell(result.as_ref());
        result
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

/// Tells the breaker how a call ended, also when it was dropped half-way. A stream tells itself how it ends.
struct Watch<'u> {
    upstream: &'u Upstream,
    told: bool,
}

impl Watch<'_> {
    fn tell(&mut self, result: Result<&Answer, &BackendError>) {
        self.told = true;
        let mut breaker = self.upstream.breaker.lock();
        match result {
            Ok(Answer::Stream(_)) => breaker.began(),
            Ok(_) => breaker.succeeded(),
            Err(error) if error.fault.counts_against_upstream() => breaker.failed(Instant::now()),
            Err(_) => breaker.ended(),
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.upstream.breaker.lock().ended();
        }
    }
}

impl Backend for RemoteModel {
    fn tier(&self) -> Tier {
        self.tier
    }

    fn cannot_honour(&self, call: &Call) -> Option<Unsupported> {
        if let Err(unserved) = self.target(call.kind()) {
            return Some(unserved);
        }
        match self.upstream.dialect {
            Dialect::OpenAi => {
                let engine = || self.upstream.seat.as_ref().and_then(|seat| seat.refuses_surely(call));
                openai::refusal(call).or_else(engine)
            }
            Dialect::Anthropic => refusal_of_typed(call, anthropic::support),
        }
    }

    fn is_available(&self) -> bool {
        self.upstream.breaker.lock().is_available(Instant::now())
    }

    fn answer(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
        Box::pin(self.call(request, ask))
    }
}
