//! One row of usage as bytes.
//!
//! ```text
//! u8 version  counts  sums  histogram  escalations  last arrival
//! ```
//!
//! All numbers are varints, so what did not happen takes one byte. A new field is a new version: rows are kept for
//! ever, and each is written again only while its hour or day goes on. Version 1 had no tokens written to a cache.

use bantam_books::{Bucket, Histogram, Savings, Usage};
use bantam_types::{TokenUsage, Usd};

use crate::format::DecodeError;
use crate::format::codes::{reason, reason_code};
use crate::format::numbers::{Body, put_number, put_signed};

const VERSION: u8 = 2;
/// How many counts a row has, by its version.
const COUNTS_1: usize = 17;
const COUNTS: usize = 19;

/// Returns the bytes of a row.
pub(super) fn encode(usage: &Usage) -> Vec<u8> {
    // Named one by one, so that a new field does not compile before it is written.
    let Usage {
        requests,
        answered,
        refused,
        failed,
        cancelled,
        answered_by_tier: [local, mid, frontier],
        attempts,
        tokens: TokenUsage { input, cached_input, cache_write, cache_write_long, output },
        attempts_uncounted,
        spend,
        attempts_unpriced,
        requests_unpriced,
        savings,
        latency,
        escalations,
        last_arrival_unix_ms,
    } = usage;
    let Savings { requests: compared, baseline, spend: compared_spend, excluded_requests, excluded_spend } =
        savings;
    let mut out = Vec::with_capacity(64 + latency.buckets().len() * 3);
    out.push(VERSION);
    for count in [
        requests,
        answered,
        refused,
        failed,
        cancelled,
        local,
        mid,
        frontier,
        attempts,
        input,
        cached_input,
        output,
        attempts_uncounted,
        attempts_unpriced,
        requests_unpriced,
        compared,
        excluded_requests,
        cache_write,
        cache_write_long,
    ] {
        put_number(&mut out, *count);
    }
    for sum in [spend, baseline, compared_spend, excluded_spend] {
        put_signed(&mut out, sum.picodollars());
    }
    put_histogram(&mut out, latency);
    put_number(&mut out, escalations.len() as u64);
    for (reason, count) in escalations {
        out.push(reason_code(*reason));
        put_number(&mut out, *count);
    }
    out.push(last_arrival_unix_ms.is_some().into());
    last_arrival_unix_ms.iter().for_each(|last| put_signed(&mut out, *last));
    out
}

fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    put_number(out, histogram.buckets().len() as u64);
    let Some((min_us, max_us)) = histogram.bounds_us() else { return };
    put_number(out, min_us);
    put_number(out, max_us - min_us);
    let mut place = 0;
    for bucket in histogram.buckets() {
        put_number(out, (bucket.place - place).into());
        put_number(out, bucket.count);
        place = bucket.place;
    }
}

/// Returns the row that the bytes hold.
pub(super) fn decode(bytes: &[u8]) -> Result<Usage, DecodeError> {
    let mut body = Body::new(bytes);
    let length = match body.byte("version")? {
        1 => COUNTS_1,
        VERSION => COUNTS,
        version => return Err(DecodeError::Unknown { kind: 0, version }),
    };
    let mut counts = [0; COUNTS];
    for count in counts.iter_mut().take(length) {
        *count = body.number("count")?;
    }
    let mut sums = [Usd::ZERO; 4];
    for sum in &mut sums {
        *sum = Usd::from_picodollars(body.signed("sum")?);
    }
    let latency = histogram(&mut body)?;
    let mut usage = of_numbers(counts, sums);
    usage.latency = latency;
    for _ in 0..body.number("reasons")? {
        let reason = reason(body.byte("reason")?).ok_or(DecodeError::Field("reason"))?;
        usage.escalations.insert(reason, body.number("escalations")?);
    }
    usage.last_arrival_unix_ms = match body.byte("last arrival")? {
        0 => None,
        _ => Some(body.signed("last arrival")?),
    };
    if body.is_empty() { Ok(usage) } else { Err(DecodeError::Field("end")) }
}

fn of_numbers(counts: [u64; COUNTS], sums: [Usd; 4]) -> Usage {
    let [requests, answered, refused, failed, cancelled, local, mid, frontier, attempts, rest @ ..] = counts;
    let [input, cached_input, output, attempts_uncounted, attempts_unpriced, requests_unpriced, rest @ ..] =
        rest;
    let [compared, excluded_requests, cache_write, cache_write_long] = rest;
    let [spend, baseline, compared_spend, excluded_spend] = sums;
    Usage {
        requests,
        answered,
        refused,
        failed,
        cancelled,
        answered_by_tier: [local, mid, frontier],
        attempts,
        tokens: TokenUsage { input, cached_input, cache_write, cache_write_long, output },
        attempts_uncounted,
        spend,
        attempts_unpriced,
        requests_unpriced,
        savings: Savings {
            requests: compared,
            baseline,
            spend: compared_spend,
            excluded_requests,
            excluded_spend,
        },
        ..Usage::default()
    }
}

fn histogram(body: &mut Body<'_>) -> Result<Histogram, DecodeError> {
    const FIELD: &str = "histogram";
    let bad = || DecodeError::Field(FIELD);
    let count = usize::try_from(body.number(FIELD)?).map_err(|_| bad())?;
    if count == 0 {
        return Ok(Histogram::default());
    }
    // A bucket takes at least two bytes, so a wrong count cannot ask for much memory.
    if count > body.len() / 2 {
        return Err(bad());
    }
    let min_us = body.number(FIELD)?;
    let max_us = min_us.checked_add(body.number(FIELD)?).ok_or_else(bad)?;
    let mut buckets = Vec::with_capacity(count);
    let mut place = 0_u16;
    for _ in 0..count {
        let step = u16::try_from(body.number(FIELD)?).map_err(|_| bad())?;
        place = place.checked_add(step).ok_or_else(bad)?;
        buckets.push(Bucket { place, count: body.number(FIELD)? });
    }
    Histogram::from_parts((min_us, max_us), buckets).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use bantam_books::{GroupBy, Tally, TimeRange, conformance};
    use proptest::prelude::*;

    use super::*;

    fn rows(by: GroupBy, count: u32) -> Vec<Usage> {
        let mut tally = Tally::new(TimeRange::ALL, by);
        conformance::requests(count).iter().for_each(|request| tally.add(request));
        tally.into_rows().into_iter().map(|row| row.usage).collect()
    }

    #[test]
    fn every_row_reads_back_as_it_was() {
        for by in [GroupBy::None, GroupBy::Task, GroupBy::Tier, GroupBy::Caller, GroupBy::Day] {
            for usage in rows(by, 900) {
                assert_eq!(decode(&encode(&usage)), Ok(usage));
            }
        }
        let mut usage =
            Usage { requests: u64::MAX, spend: Usd::from_picodollars(i64::MIN), ..Usage::default() };
        usage.latency.record(0);
        usage.latency.record(u64::MAX);
        usage.last_arrival_unix_ms = Some(i64::MIN);
        assert_eq!(decode(&encode(&usage)), Ok(usage));
    }

    #[test]
    fn what_did_not_happen_takes_little_room() {
        assert!(encode(&Usage::default()).len() <= 27);
    }

    #[test]
    fn a_row_of_a_newer_version_or_with_more_behind_it_is_refused() {
        let mut bytes = encode(&Usage::default());
        bytes.push(0);
        assert_eq!(decode(&bytes), Err(DecodeError::Field("end")));
        bytes[0] = VERSION + 1;
        assert!(matches!(decode(&bytes), Err(DecodeError::Unknown { .. })));
    }

    /// The bytes of the version that is written now, so that a change of the layout without a change of the version is
    /// seen.
    #[test]
    fn a_version_is_written_as_it_always_was() {
        let bytes = encode(&rows(GroupBy::None, 50)[0]);
        assert_eq!((bytes.len(), crc32fast::hash(&bytes)), GOLDEN);
    }

    const GOLDEN: (usize, u32) = (103, 893_539_319);

    /// A row of 50 requests as version 1 wrote it.
    const VERSION_1: &[u8] = include_bytes!("../../tests/fixtures/version-1.rollup");

    #[test]
    fn a_row_of_version_1_wrote_nothing_to_a_cache() {
        assert_eq!((VERSION_1.len(), crc32fast::hash(VERSION_1)), (100, 2_996_330_948));
        let found = decode(VERSION_1).unwrap();
        assert_eq!((found.tokens.cache_write, found.tokens.cache_write_long), (0, 0));
        assert_eq!((found.requests, found.attempts), (50, 70));
    }

    proptest! {
        #[test]
        fn bytes_cut_or_changed_anywhere_are_an_error_or_another_row(at: prop::sample::Index, byte: u8) {
            let mut bytes = encode(&rows(GroupBy::None, 60)[0]);
            let at = at.index(bytes.len());
            prop_assert!(decode(&bytes[..at]).is_err());
            bytes[at] = byte;
            let _ = decode(&bytes);
        }
    }
}
