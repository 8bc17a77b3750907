//! One request's file: its attempts as they happen, its settlement when it ends, however it ends.

use std::sync::Arc;
use std::time::Instant;

use bantam_backend::{BackendError, BackendFault, Repeat, UpstreamNotes};
use bantam_books::{Books, ExampleRecord, SettleError, Ticket};
use bantam_privacy::Scanned;
use bantam_types::{
    AnswerUsage, AttemptOutcome, AttemptRecord, CountState, EscalationReason, Label, Price, RequestOutcome,
    ServiceTier, Settlement, Unpriced, Usd,
};
use bantam_wire::{ApiError, Endpoint, ErrorCode, Feature, RoutingNote};
use tokio::sync::OwnedSemaphorePermit;

use crate::deployment::{Deployment, Rung, Task};
use crate::identify::Identified;
use crate::live::LiveStreams;
use crate::observe::Observers;

/// The status of requests whose caller left before an answer, as nginx writes it; nobody receives it.
const CLOSED_BY_CALLER: u16 = 499;

/// When a request came, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) request_id: u128,
    pub(crate) at: Instant,
    pub(crate) unix_ms: i64,
}

/// What one attempt turned out to be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AttemptFacts {
    pub(crate) usage: Option<AnswerUsage>,
    pub(crate) first_byte_us: Option<u64>,
    pub(crate) confidence: Option<f32>,
    pub(crate) retries: u32,
    /// Why it gave no answer.
    pub(crate) fault: Option<BackendFault>,
}

/// What all requests share: where they go when they are finished, into the books and then to whoever watches, and the
/// streams among them that are under way.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) books: Arc<dyn Books>,
    pub(crate) observers: Arc<Observers>,
    pub(crate) live: Arc<LiveStreams>,
}

/// A request under way, from its arrival on. Dropped before it is settled, it settles itself: as cancelled, or as
/// failed when a panic drops it.
pub(crate) struct Case {
    desk: Desk,
    arrived: Instant,
    settlement: Option<Settlement>,
    open: Option<(Arc<Rung>, Instant)>,
    /// What is known so far of the attempt under way.
    so_far: AttemptFacts,
    /// What the upstream of the attempt under way said beside its answer.
    notes: Option<Arc<UpstreamNotes>>,
    /// Why the attempts since the last answer gave none, in the words of the one that tells most.
    fault: Option<BackendError>,
    pub(crate) task: Option<Arc<Task>>,
    baseline: Option<Arc<Price>>,
    pub(crate) estimated_prompt_tokens: u64,
    /// Whether the caller asks for another service of the provider than the ordinary one.
    asks_for_service: bool,
    /// What the teacher answered, when the task keeps that.
    pub(crate) example: Option<ExampleRecord>,
    /// The place among the requests being worked on; a stream keeps it to its last byte.
    place: Option<OwnedSemaphorePermit>,
}

impl Case {
    /// Opens the file of a request of which nothing is known but where it was asked, and by whom.
    pub(crate) fn open(
        desk: Desk,
        arrival: Arrival,
        endpoint: &'static dyn Endpoint,
        caller: Option<Arc<str>>,
    ) -> Box<Self> {
        let settlement = Settlement {
            request_id: arrival.request_id,
            arrived_unix_ms: arrival.unix_ms,
            task: None,
            template: None,
            caller,
            endpoint: Some(endpoint.path().into()),
            dialect: Some(endpoint.dialect().into()),
            requested_model: String::new(),
            label: Label::Public,
            outcome: RequestOutcome::Cancelled,
            status: CLOSED_BY_CALLER,
            streamed: false,
            duration_us: 0,
            baseline_cost: None,
            attempts: Vec::new(),
        };
        // It goes from hand to hand, and is large.
        Box::new(Self {
            desk,
            arrived: arrival.at,
            settlement: Some(settlement),
            open: None,
            so_far: AttemptFacts::default(),
            notes: None,
            fault: None,
            task: None,
            baseline: None,
            estimated_prompt_tokens: 0,
            asks_for_service: false,
            example: None,
            place: None,
        })
    }

    /// Returns the name of the key that the caller showed.
    pub(crate) fn caller(&self) -> Option<Arc<str>> {
        self.settlement.as_ref()?.caller.clone()
    }

    /// Notes that the request is being worked on.
    pub(crate) fn admit(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }

    /// Notes what reading the request told.
    pub(crate) fn read(&mut self, scanned: &Scanned) {
        let request = scanned.request();
        self.asks_for_service = request.asks(Feature::ServiceTier);
        if let Some(settlement) = &mut self.settlement {
            settlement.requested_model.clone_from(&request.model);
            settlement.label = scanned.label();
            settlement.streamed = request.stream;
        }
    }

    /// Notes what the request turned out to be.
    pub(crate) fn identify(&mut self, deployment: &Deployment, scanned: &Scanned, identified: &Identified) {
        let request = scanned.request();
        self.task = identified.task().cloned();
        self.baseline.clone_from(&deployment.baseline);
        let task = self.task.as_ref();
        let instructions = task.filter(|_| !request.has_system()).map_or(0, |task| task.instructions.len());
        self.estimated_prompt_tokens = request.estimated_prompt_tokens() + (instructions / 4) as u64;
        if let Some(settlement) = &mut self.settlement {
            settlement.task = self.task.as_ref().map(|task| task.name.clone());
            settlement.template = identified.template;
            settlement.label = scanned.label();
            settlement.attempts.reserve(2);
        }
    }

    /// Begins an attempt on `rung`.
    pub(crate) fn begin(&mut self, rung: &Arc<Rung>) {
        self.open = Some((Arc::clone(rung), Instant::now()));
        self.so_far = AttemptFacts::default();
        self.notes = None;
    }

    /// Notes what is known so far of the attempt under way: it is kept should the caller leave.
    pub(crate) const fn learn(&mut self, so_far: AttemptFacts) {
        self.so_far = so_far;
    }

    /// Notes what the upstream of the attempt under way says beside its answer.
    pub(crate) fn note_upstream(&mut self, notes: Option<&Arc<UpstreamNotes>>) {
        self.notes = notes.cloned();
    }

    /// Ends the attempt under way.
    pub(crate) fn end(&mut self, outcome: AttemptOutcome, facts: AttemptFacts) {
        let Some((rung, started)) = self.open.take() else {
            return;
        };
        let AttemptFacts { usage, first_byte_us, confidence, retries, fault } = facts;
        if fault.is_none() {
            self.fault = None;
        }
        // Where the answer does not say which service it came from, it may not be the ordinary one.
        let is_open = self.asks_for_service && rung.gate.is_none();
        let usage = usage.map(|usage| match usage.service_tier {
            None if is_open && usage != AnswerUsage::default() => {
                AnswerUsage { service_tier: Some(ServiceTier::Other), ..usage }
            }
            _ => usage,
        });
        let is_never_billed = fault.is_some_and(BackendFault::is_never_billed);
        let cost = match (&rung.price, usage) {
            // No fee either.
            (Some(_), Some(usage)) if is_never_billed && usage == AnswerUsage::default() => Ok(Usd::ZERO),
            (Some(price), None) if price.is_free() => Ok(Usd::ZERO),
            (None, _) => Err(Unpriced::NoPrice),
            (Some(_), None) => Err(Unpriced::NotCounted),
            (Some(price), Some(usage)) => price.cost(usage),
        };
        if let (Err(reason), None) = (cost, fault) {
            tracing::debug!(model = %rung.name, %reason, "the cost of an attempt is not known: {}", reason.about());
        }
        let is_whole = |usage: &AnswerUsage| usage.counts == CountState::Complete && usage.tokens.input > 0;
        if let Some(usage) = usage.filter(|usage| rung.gate.is_none() && is_whole(usage))
            && let Some(task) = &self.task
        {
            task.tokens.learn(self.estimated_prompt_tokens, usage.tokens);
        }
        let notes = self.notes.take();
        let record = AttemptRecord {
            backend: Arc::clone(&rung.name),
            model: Arc::clone(&rung.model),
            tier: rung.tier,
            usage,
            started_us: micros(started.saturating_duration_since(self.arrived)),
            first_byte_us,
            last_byte_us: micros(started.elapsed()),
            price: rung.price.clone(),
            cost: cost.ok(),
            unpriced: cost.err(),
            confidence,
            outcome,
            retries,
            fault: fault.map(BackendFault::kind),
            upstream_status: fault.and_then(BackendFault::upstream_status),
            upstream_request_id: notes.as_ref().and_then(|notes| notes.request_id.clone()),
            rate_limits: notes.as_ref().and_then(|notes| notes.rate_limits),
        };
        if let Some(settlement) = &mut self.settlement {
            settlement.attempts.push(record);
        }
    }

    /// Ends the attempt under way with a fault.
    pub(crate) fn end_failed(&mut self, error: &BackendError) {
        self.note_upstream(error.notes.as_ref());
        let facts = AttemptFacts {
            usage: error.usage().or_else(|| error.fault.is_never_billed().then(AnswerUsage::default)),
            retries: error.retries,
            fault: Some(error.fault),
            ..AttemptFacts::default()
        };
        self.end(AttemptOutcome::Failed(error.fault.reason()), facts);
        // That a rung was not asked says less than what another said that may answer later, and perhaps when.
        let was_asked = error.fault.reason() != EscalationReason::Unavailable;
        let tells_more = |before: &BackendError| before.repeat() != Repeat::Never;
        if was_asked || !self.fault.as_ref().is_some_and(tells_more) {
            self.fault = Some(error.clone());
        }
    }

    /// Turns a discarded attempt into the accepted one: its answer was good and nothing better came.
    pub(crate) fn accept_after_all(&mut self, attempt: usize) {
        let attempts = self.settlement.as_mut().map(|settlement| &mut settlement.attempts);
        if let Some(record) = attempts.and_then(|attempts| attempts.get_mut(attempt)) {
            record.outcome = AttemptOutcome::Accepted;
        }
    }

    /// Returns the streams under way, to which that of this request may belong.
    pub(crate) const fn live_streams(&self) -> &Arc<LiveStreams> {
        &self.desk.live
    }

    /// Returns the attempts that have ended.
    pub(crate) fn attempts(&self) -> &[AttemptRecord] {
        self.settlement.as_ref().map_or(&[], |settlement| &settlement.attempts)
    }

    /// Returns why the attempts since the last answer gave none, where the newest failed.
    pub(crate) const fn fault(&self) -> Option<&BackendError> {
        self.fault.as_ref()
    }

    /// Returns the note about the answer that was accepted.
    pub(crate) fn note(&self, request_id: u128, rung: &Rung) -> RoutingNote {
        let attempts = self.attempts();
        let accepted = attempts.iter().find(|attempt| attempt.outcome == AttemptOutcome::Accepted);
        RoutingNote {
            request_id,
            task: self.task.as_ref().map(|task| task.name.clone()),
            tier: rung.tier,
            model: Arc::clone(&rung.name),
            confidence: accepted.and_then(|attempt| attempt.confidence),
            escalated: attempts.iter().filter_map(|attempt| attempt.outcome.reason()).collect(),
            cost: total_cost(attempts),
        }
    }

    /// Writes the settlement to the ledger and waits until it is as durable as the configuration asks.
    ///
    /// # Errors
    /// When the ledger cannot take it: the answer must then not be acknowledged.
    pub(crate) async fn settle(&mut self, outcome: RequestOutcome, status: u16) -> Result<(), ApiError> {
        if let Some(ticket) = self.write(outcome, status).map_err(unsettled)? {
            ticket.await.map_err(unsettled)?;
        }
        Ok(())
    }

    /// Settles a request that gets `error` in place of an answer, and returns the error.
    pub(crate) async fn refuse(mut self: Box<Self>, outcome: RequestOutcome, error: ApiError) -> ApiError {
        match self.settle(outcome, error.code.status()).await {
            Ok(()) => error,
            Err(ledger_error) => ledger_error,
        }
    }

    fn write(&mut self, outcome: RequestOutcome, status: u16) -> Result<Option<Ticket>, SettleError> {
        let Some(mut settlement) = self.settlement.take() else {
            return Ok(None);
        };
        settlement.outcome = outcome;
        settlement.status = status;
        settlement.duration_us = micros(self.arrived.elapsed());
        settlement.baseline_cost = self.baseline_cost(&settlement);
        // Nobody works on it any more, whoever may still be reading it.
        self.place = None;
        let example = self.example.take();
        let ticket = self.desk.books.settle(&settlement, example.as_ref())?;
        self.desk.observers.tell(settlement, example);
        Ok(Some(ticket))
    }

    /// Returns what the baseline model would have charged: from tokens that some model counted for this
    /// very request, or else from the task's calibrated estimate. A request without an answer has none.
    fn baseline_cost(&self, settlement: &Settlement) -> Option<Usd> {
        let price = self.baseline.as_ref()?;
        if settlement.outcome != RequestOutcome::Answered {
            return None;
        }
        let accepted =
            settlement.attempts.iter().find(|attempt| attempt.outcome == AttemptOutcome::Accepted)?;
        // Only students say how sure they are.
        let is_model = accepted.confidence.is_none();
        let usage = match (&self.task, accepted.usage) {
            (_, Some(usage)) if is_model => usage,
            (Some(task), Some(usage)) => {
                task.tokens.predict(self.estimated_prompt_tokens, usage.tokens.output).into()
            }
            (_, usage) => usage?,
        };
        price.cost(usage).ok()
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if self.settlement.is_none() {
            return;
        }
        let (attempt, outcome, status) = if std::thread::panicking() {
            let failed = AttemptOutcome::Failed(EscalationReason::Error);
            (failed, RequestOutcome::Failed, ErrorCode::Internal.status())
        } else {
            (AttemptOutcome::Cancelled, RequestOutcome::Cancelled, CLOSED_BY_CALLER)
        };
        self.end(attempt, self.so_far);
        if let Err(error) = self.write(outcome, status) {
            tracing::error!(%error, outcome = outcome.as_str(), "the ledger did not take a request");
        }
    }
}

/// Returns the sum of the attempts' costs, when every one of them is known.
pub(crate) fn total_cost(attempts: &[AttemptRecord]) -> Option<Usd> {
    attempts.iter().map(|attempt| attempt.cost).sum::<Option<Usd>>()
}

fn unsettled(error: impl std::error::Error) -> ApiError {
    tracing::error!(%error, "the ledger did not take a settlement");
    ledger_unavailable()
}

pub(crate) fn ledger_unavailable() -> ApiError {
    ApiError::new(
        ErrorCode::Unavailable,
        "ledger_unavailable",
        "the ledger cannot be written, so nothing can be accounted for: see the server's log",
    )
    .retry_after(5)
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
