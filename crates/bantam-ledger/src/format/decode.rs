//! Bytes to values. Nothing here trusts a length: a body whose checksum holds can still be wrong.

use std::sync::Arc;

use bantam_types::{AttemptRecord, Price, Settlement, TaskName, Template, TokenUsage, Usd, UsdPerMillion};

use super::codes::{attempt_outcome, label, outcome, tier};
use super::{DecodeError, KIND_SETTLEMENT, KIND_TEMPLATE, VERSION};
use crate::entry::{Entry, ExampleRecord, TemplateRecord};

/// Returns the entry that a record's body holds.
pub(crate) fn decode(body: &[u8]) -> Result<Entry, DecodeError> {
    let mut body = Body(body);
    let (kind, version) = (body.byte("kind")?, body.byte("version")?);
    let entry = match (kind, version) {
        (KIND_SETTLEMENT, VERSION) => {
            Entry::Settlement { settlement: settlement(&mut body)?, example: example(&mut body)? }
        }
        (KIND_TEMPLATE, VERSION) => Entry::Template(template(&mut body)?),
        (kind, version) => return Err(DecodeError::Unknown { kind, version }),
    };
    if body.0.is_empty() { Ok(entry) } else { Err(DecodeError::Field("end")) }
}

fn settlement(body: &mut Body<'_>) -> Result<Settlement, DecodeError> {
    let request_id = u128::from_le_bytes(body.array("request id")?);
    let label = label(body.byte("label")?).ok_or(DecodeError::Field("label"))?;
    let outcome = outcome(body.byte("outcome")?).ok_or(DecodeError::Field("outcome"))?;
    let [streamed, has_task, has_template, has_baseline, _] = body.flags()?;
    Ok(Settlement {
        request_id,
        arrived_unix_ms: body.signed("arrival")?,
        status: body.number("status")?.try_into().map_err(|_| DecodeError::Field("status"))?,
        duration_us: body.number("duration")?,
        requested_model: body.text("requested model")?.to_owned(),
        task: has_task.then(|| body.task()).transpose()?,
        template: has_template.then(|| body.template()).transpose()?,
        baseline_cost: has_baseline.then(|| body.cost("baseline cost")).transpose()?,
        label,
        outcome,
        streamed,
        attempts: attempts(body)?,
    })
}

fn attempts(body: &mut Body<'_>) -> Result<Vec<AttemptRecord>, DecodeError> {
    let count = body.number("attempt count")?;
    // An attempt takes at least eight bytes, so a wrong count cannot ask for much memory.
    if count > body.0.len() as u64 / 8 {
        return Err(DecodeError::Field("attempt count"));
    }
    (0..count).map(|_| attempt(body)).collect()
}

fn attempt(body: &mut Body<'_>) -> Result<AttemptRecord, DecodeError> {
    let tier = tier(body.byte("tier")?).ok_or(DecodeError::Field("tier"))?;
    let outcome = attempt_outcome(body.byte("verdict")?).ok_or(DecodeError::Field("verdict"))?;
    let [has_usage, has_first_byte, has_price, has_cost, has_confidence] = body.flags()?;
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
    })
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

/// What is left of a body. Every method takes bytes from its front or says which field lacks them.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(DecodeError::Field(field))?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn byte(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    fn flags(&mut self) -> Result<[bool; 5], DecodeError> {
        let bits = self.byte("flags")?;
        if bits >= 1 << 5 {
            return Err(DecodeError::Field("flags"));
        }
        Ok(std::array::from_fn(|at| bits >> at & 1 == 1))
    }

    fn number(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(field)?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeError::Field(field))
    }

    fn signed(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        let number = self.number(field)?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let length = usize::try_from(self.number(field)?).map_err(|_| DecodeError::Field(field))?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Field(field))?;
        self.0 = rest;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Field(field))
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
