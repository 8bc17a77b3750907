//! Bytes to values. Nothing here trusts a length: a body whose checksum holds can still be wrong.

use std::borrow::Cow;
use std::sync::Arc;

use bantam_books::{ExampleRecord, TemplateRecord};
use bantam_types::{
    AttemptRecord, FaultKind, Price, RateLimit, RateLimits, Settlement, TaskName, Template, Unpriced, Usd,
};

use super::codes::{attempt_outcome, label, outcome, tier};
use super::known::Known;
use super::numbers::Body;
use super::{DecodeError, KIND_SETTLEMENT, KIND_TEMPLATE, SETTLEMENT_VERSION, TEMPLATE_VERSION};
use crate::entry::Entry;

/// Returns the entry that a record's body holds; `known` has what was read before.
pub(crate) fn decode(body: &[u8], known: &mut Known) -> Result<Entry, DecodeError> {
    let mut body = Body::new(body);
    let (kind, version) = (body.byte("kind")?, body.byte("version")?);
    let entry = match (kind, version) {
        (KIND_SETTLEMENT, 1..=SETTLEMENT_VERSION) => Entry::Settlement {
            settlement: settlement(&mut body, version, known)?,
            example: example(&mut body)?,
        },
        (KIND_TEMPLATE, TEMPLATE_VERSION) => Entry::Template(template(&mut body)?),
        (kind, version) => return Err(DecodeError::Unknown { kind, version }),
    };
    if body.is_empty() { Ok(entry) } else { Err(DecodeError::Field("end")) }
}

fn settlement(body: &mut Body<'_>, version: u8, known: &mut Known) -> Result<Settlement, DecodeError> {
    let request_id = u128::from_le_bytes(body.array("request id")?);
    let label = label(body.byte("label")?).ok_or(DecodeError::Field("label"))?;
    let outcome = outcome(body.byte("outcome")?).ok_or(DecodeError::Field("outcome"))?;
    let (flags, names) = match version {
        1 => {
            let [streamed, has_task, has_template, has_baseline, _] = body.flags()?;
            ([streamed, has_task, has_template, has_baseline], [false; 3])
        }
        _ => {
            let [streamed, has_task, has_template, has_baseline, names @ ..] = body.flags::<7>()?;
            ([streamed, has_task, has_template, has_baseline], names)
        }
    };
    let [streamed, has_task, has_template, has_baseline] = flags;
    let [has_caller, has_endpoint, has_dialect] = names;
    Ok(Settlement {
        request_id,
        arrived_unix_ms: body.signed("arrival")?,
        status: body.number("status")?.try_into().map_err(|_| DecodeError::Field("status"))?,
        duration_us: body.number("duration")?,
        requested_model: body.text("requested model")?.to_owned(),
        task: has_task.then(|| body.text("task").and_then(|text| known.task(text))).transpose()?,
        template: has_template.then(|| body.template()).transpose()?,
        baseline_cost: has_baseline.then(|| body.cost("baseline cost")).transpose()?,
        caller: has_caller.then(|| body.text("caller").map(|name| known.name(name))).transpose()?,
        endpoint: has_endpoint.then(|| body.name("endpoint")).transpose()?,
        dialect: has_dialect.then(|| body.name("dialect")).transpose()?,
        label,
        outcome,
        streamed,
        attempts: attempts(body, version, known)?,
    })
}

fn attempts(body: &mut Body<'_>, version: u8, known: &mut Known) -> Result<Vec<AttemptRecord>, DecodeError> {
    let count = body.number("attempt count")?;
    // An attempt takes at least eight bytes, so a wrong count cannot ask for much memory.
    if count > body.len() as u64 / 8 {
        return Err(DecodeError::Field("attempt count"));
    }
    (0..count).map(|_| attempt(body, version, known)).collect()
}

fn attempt(body: &mut Body<'_>, version: u8, known: &mut Known) -> Result<AttemptRecord, DecodeError> {
    let tier = tier(body.byte("tier")?).ok_or(DecodeError::Field("tier"))?;
    let outcome = attempt_outcome(body.byte("verdict")?).ok_or(DecodeError::Field("verdict"))?;
    let (first, last): ([bool; 8], [bool; 2]) = match version {
        1 => (padded(body.flags::<5>()?), [false; 2]),
        2 => (padded(body.flags::<7>()?), [false; 2]),
        _ => (body.flags()?, body.flags()?),
    };
    let [usage, first_byte, price, cost, confidence, fault, status, unpriced] = first;
    let [request_id, limits] = last;
    Ok(AttemptRecord {
        tier,
        outcome,
        backend: known.name(body.text("backend")?),
        model: known.name(body.text("model")?),
        started_us: body.number("start")?,
        last_byte_us: body.number("last byte")?,
        retries: body.number("retries")?.try_into().map_err(|_| DecodeError::Field("retries"))?,
        usage: usage.then(|| body.usage(version)).transpose()?,
        first_byte_us: first_byte.then(|| body.number("first byte")).transpose()?,
        price: price.then(|| price_of(body, version, known)).transpose()?,
        cost: cost.then(|| body.cost("cost")).transpose()?,
        confidence: confidence.then(|| body.array("confidence").map(f32::from_le_bytes)).transpose()?,
        fault: fault.then(|| word(body, "fault", FaultKind::of_word)).transpose()?,
        upstream_status: status.then(|| upstream_status(body)).transpose()?,
        unpriced: unpriced.then(|| word(body, "reason for no cost", Unpriced::of_word)).transpose()?,
        upstream_request_id: request_id
            .then(|| body.text("upstream's request id").map(Arc::from))
            .transpose()?,
        rate_limits: limits.then(|| rate_limits(body)).transpose()?,
    })
}

/// Reads a price. Only those of the present version are told apart by their bytes.
fn price_of(body: &mut Body<'_>, version: u8, known: &mut Known) -> Result<Arc<Price>, DecodeError> {
    if version == SETTLEMENT_VERSION {
        return known.price(body, |body| body.price(version));
    }
    body.price(version).map(Arc::new)
}

/// Returns the flags of an older version: what came later is not there.
fn padded<const N: usize>(flags: [bool; N]) -> [bool; 8] {
    std::array::from_fn(|at| flags.get(at).copied().unwrap_or(false))
}

fn word<T>(
    body: &mut Body<'_>,
    field: &'static str,
    of_word: impl Fn(&str) -> Option<T>,
) -> Result<T, DecodeError> {
    of_word(body.text(field)?).ok_or(DecodeError::Field(field))
}

fn upstream_status(body: &mut Body<'_>) -> Result<u16, DecodeError> {
    body.number("upstream's status")?.try_into().map_err(|_| DecodeError::Field("upstream's status"))
}

pub(super) fn rate_limits(body: &mut Body<'_>) -> Result<RateLimits, DecodeError> {
    Ok(RateLimits { requests: rate_limit(body)?, tokens: rate_limit(body)? })
}

fn rate_limit(body: &mut Body<'_>) -> Result<RateLimit, DecodeError> {
    let [limit, remaining, reset] = body.flags()?;
    let mut number = |is_there: bool| is_there.then(|| body.number("rate limit")).transpose();
    Ok(RateLimit { limit: number(limit)?, remaining: number(remaining)?, resets_in_ms: number(reset)? })
}

fn example(body: &mut Body<'_>) -> Result<Option<ExampleRecord>, DecodeError> {
    match body.byte("example mark")? {
        0 => Ok(None),
        1 => Ok(Some(ExampleRecord {
            request_id: u128::from_le_bytes(body.array("example's request id")?),
            task: body.task()?,
            text: body.text("example's text")?.to_owned(),
            answer: body.text("example's answer")?.to_owned(),
            model: body.text("example's model")?.to_owned(),
            recorded_ms: body.signed("example's time")?,
        })),
        _ => Err(DecodeError::Field("example mark")),
    }
}

fn template(body: &mut Body<'_>) -> Result<TemplateRecord, DecodeError> {
    Ok(TemplateRecord {
        template: body.template()?,
        system_preview: body.text("system prompt")?.to_owned(),
        prefix: body.text("prefix")?.to_owned(),
        suffix: body.text("suffix")?.to_owned(),
        first_seen_ms: body.signed("first sight")?,
    })
}

impl Body<'_> {
    fn name(&mut self, field: &'static str) -> Result<Cow<'static, str>, DecodeError> {
        self.text(field).map(|text| Cow::Owned(text.to_owned()))
    }

    fn task(&mut self) -> Result<TaskName, DecodeError> {
        self.text("task")?.parse().map_err(|_| DecodeError::Field("task"))
    }

    fn template(&mut self) -> Result<Template, DecodeError> {
        self.array("template").map(|bytes| Template(u64::from_le_bytes(bytes)))
    }

    fn cost(&mut self, field: &'static str) -> Result<Usd, DecodeError> {
        self.signed(field).map(Usd::from_picodollars)
    }
}
