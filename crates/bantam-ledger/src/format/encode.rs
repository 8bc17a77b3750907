//! Values to bytes.

use bantam_books::{ExampleRecord, TemplateRecord};
use bantam_types::{AttemptRecord, RateLimit, RateLimits, Settlement};

use super::codes::{attempt_outcome_code, label_code, outcome_code, tier_code};
use super::frame::{RECORD_HEADER_BYTES, seal};
use super::numbers::{flags, put_number, put_signed, put_text};
use super::price::{put_price, put_usage};
use super::{KIND_SETTLEMENT, KIND_TEMPLATE, SETTLEMENT_VERSION, TEMPLATE_VERSION};

/// Returns the record of a settlement, or the length of its body when that is more than a record
/// may have.
pub(crate) fn encode_settlement(
    settlement: &Settlement,
    example: Option<&ExampleRecord>,
) -> Result<Vec<u8>, usize> {
    let mut out = start(KIND_SETTLEMENT, SETTLEMENT_VERSION, 384);
    put_settlement(&mut out, settlement);
    put_number(&mut out, settlement.attempts.len() as u64);
    for attempt in &settlement.attempts {
        put_attempt(&mut out, attempt);
    }
    out.push(u8::from(example.is_some()));
    if let Some(example) = example {
        out.extend_from_slice(&example.request_id.to_le_bytes());
        put_text(&mut out, example.task.as_str());
        put_text(&mut out, &example.text);
        put_text(&mut out, &example.answer);
        put_text(&mut out, &example.model);
        put_signed(&mut out, example.recorded_ms);
    }
    seal(&mut out)?;
    Ok(out)
}

/// Returns the record of a template, or the length of its body when that is more than a record may
/// have.
pub(crate) fn encode_template(record: &TemplateRecord) -> Result<Vec<u8>, usize> {
    let mut out = start(KIND_TEMPLATE, TEMPLATE_VERSION, 512);
    out.extend_from_slice(&record.template.0.to_le_bytes());
    put_text(&mut out, &record.system_preview);
    put_text(&mut out, &record.prefix);
    put_text(&mut out, &record.suffix);
    put_signed(&mut out, record.first_seen_ms);
    seal(&mut out)?;
    Ok(out)
}

fn start(kind: u8, version: u8, capacity: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity);
    out.resize(RECORD_HEADER_BYTES, 0);
    out.extend_from_slice(&[kind, version]);
    out
}

fn put_settlement(out: &mut Vec<u8>, settlement: &Settlement) {
    out.extend_from_slice(&settlement.request_id.to_le_bytes());
    out.push(label_code(settlement.label));
    out.push(outcome_code(settlement.outcome));
    out.push(flags([
        settlement.streamed,
        settlement.task.is_some(),
        settlement.template.is_some(),
        settlement.baseline_cost.is_some(),
        settlement.caller.is_some(),
        settlement.endpoint.is_some(),
        settlement.dialect.is_some(),
    ]));
    put_signed(out, settlement.arrived_unix_ms);
    put_number(out, settlement.status.into());
    put_number(out, settlement.duration_us);
    put_text(out, &settlement.requested_model);
    if let Some(task) = &settlement.task {
        put_text(out, task.as_str());
    }
    if let Some(template) = settlement.template {
        out.extend_from_slice(&template.0.to_le_bytes());
    }
    if let Some(cost) = settlement.baseline_cost {
        put_signed(out, cost.picodollars());
    }
    let names = [settlement.caller.as_deref(), settlement.endpoint.as_deref(), settlement.dialect.as_deref()];
    names.into_iter().flatten().for_each(|name| put_text(out, name));
}

fn put_attempt(out: &mut Vec<u8>, attempt: &AttemptRecord) {
    out.push(tier_code(attempt.tier));
    out.push(attempt_outcome_code(attempt.outcome));
    out.push(flags([
        attempt.usage.is_some(),
        attempt.first_byte_us.is_some(),
        attempt.price.is_some(),
        attempt.cost.is_some(),
        attempt.confidence.is_some(),
        attempt.fault.is_some(),
        attempt.upstream_status.is_some(),
        attempt.unpriced.is_some(),
    ]));
    out.push(flags([attempt.upstream_request_id.is_some(), attempt.rate_limits.is_some()]));
    put_text(out, &attempt.backend);
    put_text(out, &attempt.model);
    put_number(out, attempt.started_us);
    put_number(out, attempt.last_byte_us);
    put_number(out, attempt.retries.into());
    if let Some(usage) = &attempt.usage {
        put_usage(out, usage);
    }
    if let Some(first_byte_us) = attempt.first_byte_us {
        put_number(out, first_byte_us);
    }
    if let Some(price) = &attempt.price {
        put_price(out, price);
    }
    if let Some(cost) = attempt.cost {
        put_signed(out, cost.picodollars());
    }
    if let Some(confidence) = attempt.confidence {
        out.extend_from_slice(&confidence.to_le_bytes());
    }
    if let Some(fault) = attempt.fault {
        put_text(out, fault.as_str());
    }
    if let Some(status) = attempt.upstream_status {
        put_number(out, status.into());
    }
    if let Some(reason) = attempt.unpriced {
        put_text(out, reason.as_str());
    }
    if let Some(id) = &attempt.upstream_request_id {
        put_text(out, id);
    }
    if let Some(limits) = &attempt.rate_limits {
        put_rate_limits(out, limits);
    }
}

pub(super) fn put_rate_limits(out: &mut Vec<u8>, limits: &RateLimits) {
    put_rate_limit(out, &limits.requests);
    put_rate_limit(out, &limits.tokens);
}

fn put_rate_limit(out: &mut Vec<u8>, limit: &RateLimit) {
    let numbers = [limit.limit, limit.remaining, limit.resets_in_ms];
    out.push(flags(numbers.map(|number| number.is_some())));
    numbers.into_iter().flatten().for_each(|number| put_number(out, number));
}
