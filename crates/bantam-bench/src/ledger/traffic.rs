//! A month of invented traffic: busy days and quiet nights, a few large tasks and many small templates, and some names
//! that hardly ever occur.

use std::sync::Arc;

use bantam_types::{
    AttemptOutcome, AttemptRecord, EscalationReason, FaultKind, Label, Price, Rates, RequestOutcome,
    Settlement, TaskName, Template, Tier, TokenUsage, Usd, UsdPerMillion,
};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// When the first request arrives: 2026-11-01.
pub(crate) const BEGIN_MS: i64 = 20_758 * DAY_MS;
/// How long it goes on.
pub(crate) const DAYS: i64 = 30;
pub(crate) const DAY_MS: i64 = 86_400_000;

/// A task, a caller and a model that about one request in ten thousand has.
pub(crate) const RARE_TASK: &str = "task-11";
pub(crate) const RARE_CALLER: &str = "KEY_5";
pub(crate) const RARE_MODEL: &str = "model-4";

const TEMPLATES: u64 = 200;

/// Requests in the order of their arrival.
pub(crate) struct Traffic {
    random: Xoshiro256PlusPlus,
    tasks: Vec<TaskName>,
    callers: Vec<Arc<str>>,
    models: Vec<Arc<str>>,
    backend: Arc<str>,
    price: Arc<Price>,
    attempts: u64,
    settled: u64,
}

impl Traffic {
    /// Returns requests with at least this many attempts in all.
    pub(crate) fn new(attempts: u64) -> Self {
        let rates = Rates {
            input: UsdPerMillion::from_micros(150_000),
            cached_input: UsdPerMillion::from_micros(75_000),
            output: UsdPerMillion::from_micros(600_000),
            ..Rates::default()
        };
        let price = Price::flat(rates, "2026-11-01");
        Self {
            random: Xoshiro256PlusPlus::seed_from_u64(13),
            tasks: (0..12).filter_map(|number| format!("task-{number}").parse().ok()).collect(),
            callers: (0..6).map(|number| format!("KEY_{number}").into()).collect(),
            models: (0..5).map(|number| format!("model-{number}").into()).collect(),
            backend: "upstream".into(),
            price: Arc::new(price),
            attempts,
            settled: 0,
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.next_u64() % limit
    }

    /// Returns a place in a list whose first items are frequent and whose last is rare.
    fn skewed(&mut self, count: u64) -> u64 {
        if self.below(10_000) == 0 {
            return count - 1;
        }
        let (one, other) = (self.below(count - 1), self.below(count - 1));
        one.min(other)
    }

    fn attempt(&mut self, tier: Tier, model: u64, outcome: AttemptOutcome) -> AttemptRecord {
        let usage = TokenUsage::new(100 + self.below(900), 0, 1 + self.below(200));
        let is_local = tier == Tier::Local;
        let model = self.models.get(model as usize).unwrap_or(&self.backend);
        AttemptRecord {
            backend: Arc::clone(&self.backend),
            model: Arc::clone(model),
            tier,
            usage: Some(usage.into()),
            started_us: 60,
            first_byte_us: Some(2_000),
            last_byte_us: 90_000,
            price: (!is_local).then(|| Arc::clone(&self.price)),
            cost: if is_local { Some(Usd::ZERO) } else { self.price.cost(usage).ok() },
            confidence: is_local.then_some(0.9),
            fault: outcome.reason().map(|_| FaultKind::ServerError).filter(|_| outcome.as_str() == "failed"),
            upstream_status: None,
            unpriced: None,
            upstream_request_id: None,
            rate_limits: None,
            outcome,
            retries: 0,
        }
    }

    fn attempts(&mut self, outcome: RequestOutcome) -> Vec<AttemptRecord> {
        let ending = match outcome {
            RequestOutcome::Answered => AttemptOutcome::Accepted,
            RequestOutcome::Cancelled => AttemptOutcome::Cancelled,
            RequestOutcome::Failed => AttemptOutcome::Failed(EscalationReason::Timeout),
            RequestOutcome::Refused => return Vec::new(),
        };
        let last = if self.below(10_000) == 0 { (Tier::Frontier, 4) } else { (Tier::Frontier, 3) };
        match self.below(10) {
            0..5 => vec![self.attempt(Tier::Local, 0, ending)],
            5..8 => {
                let draft = AttemptOutcome::Discarded(EscalationReason::LowConfidence);
                let model = 1 + self.below(2);
                vec![self.attempt(Tier::Local, 0, draft), self.attempt(Tier::Mid, model, ending)]
            }
            _ => vec![self.attempt(last.0, last.1, ending)],
        }
    }
}

impl Iterator for Traffic {
    type Item = Settlement;

    fn next(&mut self) -> Option<Settlement> {
        if self.settled >= self.attempts {
            return None;
        }
        // Twice as many requests at noon as at midnight.
        let share = self.settled as f64 / self.attempts as f64 * DAYS as f64;
        let wave = (share.fract() - 0.159 * (share.fract() * std::f64::consts::TAU).sin() * 0.5).max(0.0);
        let arrived_unix_ms = BEGIN_MS + ((share.floor() + wave) * DAY_MS as f64) as i64;
        let outcome = match self.below(100) {
            0..90 => RequestOutcome::Answered,
            90..95 => RequestOutcome::Failed,
            95..98 => RequestOutcome::Cancelled,
            _ => RequestOutcome::Refused,
        };
        let attempts = self.attempts(outcome);
        self.settled += attempts.len() as u64;
        let template = self.skewed(TEMPLATES);
        let task = if template.is_multiple_of(4) { None } else { Some(self.skewed(12)) };
        let caller = self.skewed(6);
        let request_id =
            u128::from(arrived_unix_ms.unsigned_abs()) << 80 | u128::from(self.random.next_u64());
        Some(Settlement {
            request_id,
            arrived_unix_ms,
            task: task.and_then(|task| self.tasks.get(task as usize).cloned()),
            template: Some(Template(template.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
            caller: self.callers.get(caller as usize).filter(|_| !template.is_multiple_of(9)).cloned(),
            endpoint: Some(
                ["/v1/chat/completions", "/v1/embeddings"][usize::from(template.is_multiple_of(7))].into(),
            ),
            dialect: Some("openai".into()),
            requested_model: "auto".to_owned(),
            label: Label::Internal,
            outcome,
            status: 200,
            streamed: template.is_multiple_of(2),
            duration_us: 1_000 + self.below(1_000) * self.below(1_000),
            baseline_cost: Some(Usd::from_picodollars(900_000_000)),
            attempts,
        })
    }
}
