//! The gateway: the stages in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bantam_backend::{Answer, Ask, BackendFault, CallsBefore, HEAVY_BYTES, heavy};
use bantam_books::{Books, TemplateRecord};
use bantam_privacy::Scanned;
use bantam_route::TemplateMiner;
use bantam_types::{Label, RequestOutcome, Template};
use bantam_wire::{ApiError, Endpoint, ErrorCode, Role};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::admit::{Admission, AdmissionLimits};
use crate::answer::{Conclusion, conclude};
use crate::case::{Arrival, Case, Desk, ledger_unavailable};
use crate::climbing::Refusals;
use crate::deployment::{Deployment, Rung};
use crate::exhausted::exhausted;
use crate::finish::finish;
use crate::identify::{Hints, Identified};
use crate::ladder::{label_forbids, nobody_can};
use crate::observe::Observers;
use crate::prepare::{Prepared, ask, prepare};
use crate::reply::{Reply, ReplyBody};
use crate::waiting;

/// The gateway. One for the process, shared by all connections.
pub struct Gateway {
    deployment: ArcSwap<Deployment>,
    desk: Desk,
    miner: Arc<Mutex<TemplateMiner>>,
    admission: Admission,
    /// Random high bits of this process's request ids.
    id_seed: u64,
    id_count: AtomicU64,
    /// After how much silence the caller of a stream is shown that it lives.
    keep_alive: Option<Duration>,
}

impl Gateway {
    /// Returns a gateway that serves `deployment` and settles into `books`.
    ///
    /// `id_seed` must be random: it keeps request ids of different processes apart.
    pub fn new(
        deployment: Deployment,
        books: Arc<dyn Books>,
        admission: AdmissionLimits,
        id_seed: u64,
    ) -> Self {
        let known: Vec<Template> = deployment.templates.keys().copied().collect();
        Self {
            deployment: ArcSwap::from_pointee(deployment),
            desk: Desk { books, observers: Arc::default(), live: Arc::default() },
            miner: Arc::new(Mutex::new(TemplateMiner::new(known))),
            admission: Admission::new(admission),
            id_seed,
            id_count: AtomicU64::new(0),
            keep_alive: None,
        }
    }

    /// Shows every finished request to `observers`.
    #[must_use]
    pub fn observed_by(mut self, observers: Observers) -> Self {
        self.desk.observers = Arc::new(observers);
        self
    }

    /// Sends a stream's head at the latest after `every`, and then a comment wherever as long a time passes without an item.
    #[must_use]
    pub fn keeping_alive(mut self, every: Duration) -> Self {
        self.keep_alive = Some(every);
        self
    }

    /// Returns how many finished requests no observer saw, because observers fell behind.
    pub fn unobserved(&self) -> u64 {
        self.desk.observers.dropped()
    }

    /// Makes templates known that earlier runs discovered.
    pub fn learn_templates(&self, templates: impl IntoIterator<Item = Template>) {
        let mut miner = self.miner.lock();
        templates.into_iter().for_each(|template| miner.learn(template));
    }

    /// Puts `deployment` in the place of the one there is; requests under way end under the old one.
    pub fn deploy(&self, deployment: Deployment) {
        self.learn_templates(deployment.templates.keys().copied());
        self.deployment.store(Arc::new(deployment));
    }

    /// Returns what is deployed now.
    pub fn deployment(&self) -> Arc<Deployment> {
        self.deployment.load_full()
    }

    /// Returns whether requests can be accounted for now.
    pub fn is_ready(&self) -> bool {
        self.desk.books.is_writable()
    }

    pub(crate) fn miner(&self) -> &Mutex<TemplateMiner> {
        &self.miner
    }

    /// Answers one request that came to `endpoint`.
    pub async fn answer(&self, endpoint: &'static dyn Endpoint, body: Bytes, hints: Hints) -> Reply {
        let arrival = self.arrival();
        let result = self.way(arrival, endpoint, body, hints).await;
        result.unwrap_or_else(|error| error_reply(arrival, endpoint, error))
    }

    /// Settles a request that could not be read from its connection, and returns `error` as its reply.
    pub async fn refuse(&self, endpoint: &'static dyn Endpoint, hints: Hints, error: ApiError) -> Reply {
        let arrival = self.arrival();
        let refused = match self.open_case(arrival, endpoint, hints.caller) {
            Ok(case) => case.refuse(RequestOutcome::Refused, error).await,
            Err(unavailable) => unavailable,
        };
        error_reply(arrival, endpoint, refused)
    }

    /// The way of a request.
    async fn way(
        &self,
        arrival: Arrival,
        endpoint: &'static dyn Endpoint,
        body: Bytes,
        hints: Hints,
    ) -> Result<Reply, ApiError> {
        let mut case = self.open_case(arrival, endpoint, hints.caller.clone())?;
        match self.admission.enter().await {
            Ok(place) => case.admit(place),
            Err(error) => return Err(case.refuse(RequestOutcome::Refused, error).await),
        }
        let deployment = self.deployment.load_full();
        let prepared = match self.prepare(&mut case, &deployment, (endpoint, body), &hints).await {
            Ok(prepared) => prepared,
            Err(error) => return Err(case.refuse(RequestOutcome::Refused, error).await),
        };
        let Prepared { scanned, identified, planned } = &prepared;
        case.identify(&deployment, scanned, identified);
        self.note_template(&deployment, identified, scanned, arrival);
        if planned.plan.rungs.is_empty() {
            return Err(case.refuse(RequestOutcome::Refused, nobody_can(planned, scanned)).await);
        }
        let keep_alive = self.keep_alive.filter(|_| scanned.request().stream);
        let answering = climb(deployment, arrival, (prepared, hints.earlier_tries), case);
        match keep_alive {
            Some(every) => {
                waiting::in_time(Box::pin(answering), every, arrival, endpoint, &self.desk.live).await
            }
            None => answering.await,
        }
    }

    /// Prepares a request: a small one here, a large one where it holds up nobody.
    async fn prepare(
        &self,
        case: &mut Case,
        deployment: &Arc<Deployment>,
        (endpoint, body): (&'static dyn Endpoint, Bytes),
        hints: &Hints,
    ) -> Result<Prepared, ApiError> {
        if body.len() < HEAVY_BYTES {
            return prepare(deployment, &self.miner, (endpoint, body), hints, |scanned| case.read(scanned));
        }
        let (deployment, miner, hints) = (Arc::clone(deployment), Arc::clone(&self.miner), hints.clone());
        // The case stays here: it is settled at once if its caller leaves, and not when the work is done.
        let (read, prepared) = heavy(move || {
            let mut read = None;
            let note = |scanned: &Scanned| read = Some(scanned.clone());
            let prepared = prepare(&deployment, &miner, (endpoint, body), &hints, note);
            (read, prepared)
        })
        .await;
        read.iter().for_each(|scanned| case.read(scanned));
        prepared
    }

    /// Opens the file of a request, if requests can be accounted for now.
    fn open_case(
        &self,
        arrival: Arrival,
        endpoint: &'static dyn Endpoint,
        caller: Option<Arc<str>>,
    ) -> Result<Box<Case>, ApiError> {
        if !self.desk.books.is_writable() {
            return Err(ledger_unavailable());
        }
        Ok(Case::open(self.desk.clone(), arrival, endpoint, caller))
    }

    /// Tells the books of a template that was not known before.
    fn note_template(
        &self,
        deployment: &Deployment,
        identified: &Identified,
        scanned: &Scanned,
        arrival: Arrival,
    ) {
        let Some(template) = identified.template else {
            return;
        };
        {
            let mut miner = self.miner.lock();
            if miner.knows(template) {
                return;
            }
            miner.learn(template);
        }
        let request = scanned.request();
        // The preview is text of a prompt, kept for the owner to read: only where the owner asked for it, and only
        // when nothing sensitive was found in the request.
        let shown = deployment.keep_prompt_previews && scanned.label() <= Label::Internal;
        let preview = |text: &str| text.chars().take(if shown { 160 } else { 0 }).collect::<String>();
        let system = request.messages().iter().find(|message| message.role == Role::System);
        let prefix = request.last_user_text().and_then(|text| text.get(..identified.payload_start));
        let record = TemplateRecord {
            template,
            system_preview: preview(system.map_or("", |message| message.text())),
            prefix: preview(prefix.unwrap_or_default()),
            suffix: String::new(),
            first_seen_ms: arrival.unix_ms,
        };
        if let Err(error) = self.desk.books.record_template(&record).map(drop) {
            tracing::warn!(%error, "a discovered template was not kept");
        }
    }

    /// Returns a new id, ordered by time, unique over processes: 48 bits of milliseconds, 40 random, 40 counted.
    fn arrival(&self) -> Arrival {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let count = self.id_count.fetch_add(1, Ordering::Relaxed);
        let request_id = (u128::from(unix_ms & 0xffff_ffff_ffff) << 80)
            | (u128::from(self.id_seed & 0xff_ffff_ffff) << 40)
            | u128::from(count & 0xff_ffff_ffff);
        Arrival { request_id, at: Instant::now(), unix_ms: i64::try_from(unix_ms).unwrap_or(i64::MAX) }
    }
}

fn error_reply(arrival: Arrival, endpoint: &'static dyn Endpoint, error: ApiError) -> Reply {
    Reply { request_id: arrival.request_id, endpoint, note: None, body: ReplyBody::Error(error) }
}

/// Asks one rung, and asks it again as often as it may be: each time is an attempt with its own record, because the one
/// before may have been billed. The last attempt is still open when there is an answer; else it returns why it failed.
async fn attempt(
    deployment: &Deployment,
    (scanned, earlier_tries): (&Scanned, u32),
    identified: &Identified,
    rung: &Arc<Rung>,
    case: &mut Case,
) -> Result<Answer, Option<BackendFault>> {
    let mut before = CallsBefore { calls: earlier_tries, began: Some(Instant::now()) };
    loop {
        let cleared = deployment.policy.clear(scanned, rung.tier).ok_or(None)?;
        case.begin(rung);
        let ask = Ask { caller: case.caller(), ..ask(scanned, identified, before) };
        let error = match rung.backend.answer(cleared, ask).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        case.end_failed(&error);
        tokio::time::sleep(error.repeat_after.ok_or(Some(error.fault))?).await;
        before.calls = before.calls.saturating_add(error.retries).saturating_add(1);
    }
}

/// Tries the planned rungs in order until an answer is accepted.
async fn climb(
    deployment: Arc<Deployment>,
    arrival: Arrival,
    (prepared, earlier_tries): (Prepared, u32),
    mut case: Box<Case>,
) -> Result<Reply, ApiError> {
    let Prepared { scanned, identified, planned } = &prepared;
    let request = scanned.request();
    let (mut held, mut refusals) = (None, Refusals::default());
    let rungs = planned.plan.rungs.iter().filter_map(|index| planned.ladder.get(*index));
    for rung in rungs {
        if !refusals.leave(rung) {
            continue;
        }
        let attempted = attempt(&deployment, (scanned, earlier_tries), identified, rung, &mut case).await;
        let answer = match attempted {
            Ok(answer) => answer,
            Err(fault) => {
                fault.into_iter().for_each(|fault| refusals.note(rung, fault));
                continue;
            }
        };
        match conclude(&mut case, rung, answer, arrival) {
            Conclusion::Accepted(accepted) => {
                return finish(case, arrival, scanned, identified, rung, accepted).await;
            }
            Conclusion::Held(accepted) => {
                held = Some((Arc::clone(rung), accepted, case.attempts().len() - 1));
            }
            Conclusion::Discarded => {}
        }
    }
    if let Some((rung, accepted, attempt)) = held {
        case.accept_after_all(attempt);
        return finish(case, arrival, scanned, identified, &rung, accepted).await;
    }
    let forbidden = planned
        .plan
        .skipped
        .iter()
        .any(|skip| matches!(skip.reason, bantam_route::SkipReason::LabelForbids { .. }));
    let error = if forbidden {
        label_forbids(scanned)
    } else {
        exhausted(case.attempts(), request.endpoint, case.fault())
    };
    let is_refusal =
        matches!(error.code, ErrorCode::PolicyConflict | ErrorCode::InvalidRequest | ErrorCode::TooLarge);
    let outcome = if is_refusal { RequestOutcome::Refused } else { RequestOutcome::Failed };
    Err(case.refuse(outcome, error).await)
}
