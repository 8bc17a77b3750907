//! Bytes to values. Nothing here trusts a length: a body whose checksum holds can still be wrong.

use std::borrow::Cow;
use std::sync::Arc;

use bantam_books::{ExampleRecord, TemplateRecord};
use bantam_types::{
    AttemptRecord, FaultKind, Price, Settlement, TaskName, Template, TokenUsage, Usd, UsdPerMillion,
};

use super::codes::{attempt_outcome, label, outcome, tier};
use super::numbers::Body;
use super::{DecodeError, KIND_SETTLEMENT, KIND_TEMPLATE, SETTLEMENT_VERSION, TEMPLATE_VERSION};
use crate::entry::Entry;

/// Returns the entry that a record's body holds.
pub(crate) fn decode(body: &[u8]) -> Result<Entry, DecodeError> {
    let mut body = Body::new(body);
    let (kind, version) = (body.byte("kind")?, body.byte("version")?);
    let entry = match (kind, version) {
        (KIND_SETTLEMENT, 1..=SETTLEMENT_VERSION) => {
            Entry::Settlement { settlement: settlement(&mut body, version)?, example: example(&mut body)? }
        }
        (KIND_TEMPLATE, TEMPLATE_VERSION) => Entry::Template(template(&mut body)?),
        (kind, version) => return Err(DecodeError::Unknown { kind, version }),
    };
    if body.is_empty() { Ok(entry) } else { Err(DecodeError::Field("end")) }
}

fn settlement(body: &mut Body<'_>, version: u8) -> Result<Settlement, DecodeError> {
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
        task: has_task.then(|| body.task()).transpose()?,
        template: has_template.then(|| body.template()).transpose()?,
        baseline_cost: has_baseline.then(|| body.cost("baseline cost")).transpose()?,
        caller: has_caller.then(|| body.text("caller").map(Arc::from)).transpose()?,
        endpoint: has_endpoint.then(|| body.name("endpoint")).transpose()?,
        dialect: has_dialect.then(|| body.name("dialect")).transpose()?,
        label,
        outcome,
        streamed,
        attempts: attempts(body, version)?,
    })
}

fn attempts(body: &mut Body<'_>, version: u8) -> Result<Vec<AttemptRecord>, DecodeError> {
    let count = body.number("attempt count")?;
    // An attempt takes at least eight bytes, so a wrong count cannot ask for much memory.
    if count > body.len() as u64 / 8 {
        return Err(DecodeError::Field("attempt count"));
    }
    (0..count).map(|_| attempt(body, version)).collect()
}

fn attempt(body: &mut Body<'_>, version: u8) -> Result<AttemptRecord, DecodeError> {
    let tier = tier(body.byte("tier")?).ok_or(DecodeError::Field("tier"))?;
    let outcome = attempt_outcome(body.byte("verdict")?).ok_or(DecodeError::Field("verdict"))?;
    let ([has_usage, has_first_byte, has_price, has_cost, has_confidence], [has_fault, has_status]) =
        match version {
            1 => (body.flags()?, [false; 2]),
            _ => {
                let [usage, first_byte, price, cost, confidence, fault @ ..] = body.flags::<7>()?;
                ([usage, first_byte, price, cost, confidence], fault)
            }
        };
    Ok(AttemptRecord {
        tier,
        outcome,
        backend: body.text("backend")?.into(),
        model: body.text("model")?.into(),
        started_us: body.number("start")?,
        last_byte_us: body.number("last byte")?,
        retries: body.number("retries")?.try_into().map_err(|_| DecodeError::Field("retries"))?,
        usage: has_usage.then(|| body.usage()).transpose()?,
        first_byte_us: has_first_byte.then(|| body.number("first byte")).transpose()?,
        price: has_price.then(|| body.price()).transpose()?.map(Arc::new),
        cost: has_cost.then(|| body.cost("cost")).transpose()?,
        confidence: has_confidence.then(|| body.array("confidence").map(f32::from_le_bytes)).transpose()?,
        fault: has_fault.then(|| fault(body)).transpose()?,
        upstream_status: has_status.then(|| status(body)).transpose()?,
    })
}

fn fault(body: &mut Body<'_>) -> Result<FaultKind, DecodeError> {
    FaultKind::of_word(body.text("fault")?).ok_or(DecodeError::Field("fault"))
}

fn status(body: &mut Body<'_>) -> Result<u16, DecodeError> {
    body.number("upstream's status")?.try_into().map_err(|_| DecodeError::Field("upstream's status"))
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

    fn usage(&mut self) -> Result<TokenUsage, DecodeError> {
        Ok(TokenUsage {
            input: self.number("input tokens")?,
            cached_input: self.number("cached tokens")?,
            output: self.number("output tokens")?,
        })
    }

    fn price(&mut self) -> Result<Price, DecodeError> {
        Ok(Price {
            input: UsdPerMillion::from_micros(self.number("input price")?),
            cached_input: UsdPerMillion::from_micros(self.number("cached price")?),
            output: UsdPerMillion::from_micros(self.number("output price")?),
            as_of: self.text("price's day")?.to_owned(),
        })
    }
}
