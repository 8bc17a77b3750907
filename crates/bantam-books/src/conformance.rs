//! What every form of the books has to do, as one function that its tests call.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;

use bantam_types::{
    AnswerUsage, AttemptOutcome, AttemptRecord, CountState, EscalationReason, FaultKind, Label,
    LongPromptRates, Price, RateLimit, RateLimits, Rates, RequestOutcome, ServiceRates, ServiceTier,
    Settlement, Template, Tier, TokenUsage, Unpriced, Usd, UsdPerMillion,
};

use crate::{
    Books, BooksReader, CallerFilter, Cursor, ExampleRecord, GroupBy, GroupKey, RequestFilter, Tally,
    TemplateRecord, TimeRange, block_on,
};

/// Books under test, with their reader.
pub trait Shelf {
    /// The side that writes.
    fn books(&self) -> &dyn Books;
    /// The side that reads.
    fn reader(&self) -> &dyn BooksReader;
    /// Returns when the reader sees everything that was settled.
    fn catch_up(&self);
}

const HOUR_MS: i64 = 3_600_000;

/// Checks a form of the books; `open` returns new ones without a request. Panics where they are not as they should be.
pub fn check<S: Shelf>(open: impl Fn() -> S) {
    adds_up_like_the_tally(&open());
    settles_each_request_once(&open());
    lists_pages(&open());
    keeps_templates_and_examples(&open());
}

/// Returns `count` requests of several tasks, callers, models, outcomes and hours.
pub fn requests(count: u32) -> Vec<Settlement> {
    (0..count).map(request).collect()
}

fn request(number: u32) -> Settlement {
    let outcomes = [
        RequestOutcome::Answered,
        RequestOutcome::Answered,
        RequestOutcome::Failed,
        RequestOutcome::Cancelled,
    ];
    let outcome = outcomes[number as usize % 4];
    let local = attempt(
        "small",
        Tier::Local,
        if number.is_multiple_of(3) {
            AttemptOutcome::Accepted
        } else {
            AttemptOutcome::Discarded(EscalationReason::LowConfidence)
        },
        number,
    );
    let ending = match outcome {
        RequestOutcome::Answered => AttemptOutcome::Accepted,
        RequestOutcome::Cancelled => AttemptOutcome::Cancelled,
        RequestOutcome::Refused | RequestOutcome::Failed => AttemptOutcome::Failed(EscalationReason::Timeout),
    };
    let above = attempt(if number.is_multiple_of(5) { "large" } else { "medium" }, Tier::Mid, ending, number);
    let attempts = match number % 7 {
        0 => Vec::new(),
        _ if number.is_multiple_of(3) => vec![local],
        _ => vec![local, above],
    };
    Settlement {
        request_id: u128::from(number) + (1 << 90),
        arrived_unix_ms: 20_000 * 24 * HOUR_MS + i64::from(number) * 700_001,
        task: (!number.is_multiple_of(4)).then(|| ["intent", "reply"][number as usize % 2].parse().unwrap()),
        template: number.is_multiple_of(6).then(|| Template(u64::from(number % 12) << 60 | 1)),
        caller: (!number.is_multiple_of(3)).then(|| Arc::from(["DESK_KEY", "SHOP_KEY"][number as usize % 2])),
        endpoint: Some(
            ["/v1/chat/completions", "/v1/embeddings"][usize::from(number.is_multiple_of(9))].into(),
        ),
        dialect: Some("openai".into()),
        requested_model: "auto".to_owned(),
        label: Label::Internal,
        outcome: if attempts.is_empty() { RequestOutcome::Refused } else { outcome },
        status: 200,
        streamed: number.is_multiple_of(2),
        duration_us: u64::from(number) * 997,
        baseline_cost: (number % 5 != 1).then(|| Usd::from_picodollars(9_000_000)),
        attempts,
    }
}

fn attempt(model: &str, tier: Tier, outcome: AttemptOutcome, number: u32) -> AttemptRecord {
    let is_counted = number % 8 != 3;
    AttemptRecord {
        backend: model.into(),
        model: model.into(),
        tier,
        usage: is_counted.then(|| usage(number)),
        started_us: 1,
        first_byte_us: Some(2),
        last_byte_us: 3,
        price: price(number).map(Arc::new),
        cost: is_counted.then(|| Usd::from_picodollars(i64::from(number) * 1_000)),
        confidence: (tier == Tier::Local).then_some(0.5),
        outcome,
        retries: 0,
        fault: matches!(outcome, AttemptOutcome::Failed(_))
            .then(|| FaultKind::ALL[number as usize % FaultKind::ALL.len()]),
        upstream_status: number.is_multiple_of(2).then_some(503),
        unpriced: (!is_counted).then(|| Unpriced::ALL[number as usize % Unpriced::ALL.len()]),
        upstream_request_id: number.is_multiple_of(3).then(|| format!("req_{number}").into()),
        rate_limits: number.is_multiple_of(5).then(|| RateLimits {
            requests: RateLimit { limit: Some(number.into()), remaining: Some(0), resets_in_ms: None },
            tokens: RateLimit {
                resets_in_ms: number.is_multiple_of(2).then_some(1_500),
                ..RateLimit::default()
            },
        }),
    }
}

/// Returns three plain counts, or everything that can be counted.
fn usage(number: u32) -> AnswerUsage {
    let tokens = TokenUsage::new(number.into(), 1, 7);
    let states = [CountState::Complete, CountState::Partial, CountState::Contradictory];
    match number % 5 {
        0 => AnswerUsage {
            tokens: TokenUsage { cache_write: u64::from(number) * 2, cache_write_long: 3, ..tokens },
            service_tier: Some(ServiceTier::ALL[number as usize % ServiceTier::ALL.len()]),
            ..AnswerUsage::default()
        },
        1 => AnswerUsage {
            audio_input: u64::from(number % 2) * 4,
            audio_output: 5,
            web_searches: u64::from(number % 3),
            counts: states[number as usize % 3],
            ..tokens.into()
        },
        _ => tokens.into(),
    }
}

/// Returns no price, three plain rates, or everything that a price can state.
fn price(number: u32) -> Option<Price> {
    let rate = |micros: u32| UsdPerMillion::from_micros(micros.into());
    let plain =
        Rates { input: rate(20), cached_input: rate(2), output: rate(80 + number % 2), ..Rates::default() };
    let rates = Rates { cache_write: Some(rate(25)), cache_write_long: Some(rate(40 + number % 3)), ..plain };
    let long_prompts =
        vec![LongPromptRates { above: 200_000, rates: Rates { audio_input: Some(rate(7)), ..rates } }];
    match number % 4 {
        0 => None,
        1 => Some(Price::flat(plain, "2026-11-01")),
        2 => Some(Price::flat(rates, "2026-11-01")),
        _ => Some(Price {
            standard: ServiceRates { base: rates, long_prompts },
            batch: Some(plain.into()),
            flex: None,
            priority: Some(Rates { audio_output: Some(rate(9)), ..plain }.into()),
            request_fee: Some(Usd::from_picodollars(-8)),
            web_search_fee: Some(Usd::from_picodollars(i64::MAX)),
            as_of: "2026-12-01".to_owned(),
        }),
    }
}

fn settle_all(shelf: &impl Shelf, requests: &[Settlement]) {
    for request in requests {
        shelf.books().settle(request, None).unwrap().wait().unwrap();
    }
    shelf.catch_up();
}

fn adds_up_like_the_tally(shelf: &impl Shelf) {
    let requests = requests(400);
    settle_all(shelf, &requests);
    let begin = requests[0].arrived_unix_ms;
    // Whole hours, parts of hours, days, nothing, everything.
    let ranges = [
        TimeRange::ALL,
        TimeRange { from_unix_ms: begin, until_unix_ms: begin + 24 * HOUR_MS },
        TimeRange { from_unix_ms: begin + 5 * HOUR_MS, until_unix_ms: begin + 6 * HOUR_MS },
        TimeRange { from_unix_ms: begin + 1_234_567, until_unix_ms: begin + 23_456_789 },
        TimeRange { from_unix_ms: begin + 100_000, until_unix_ms: begin + 900_000 },
        TimeRange { from_unix_ms: i64::MIN, until_unix_ms: begin },
        TimeRange { from_unix_ms: begin + 9_000_000, until_unix_ms: begin },
    ];
    for range in ranges {
        for by in GroupBy::ALL {
            let mut tally = Tally::new(range, by);
            requests.iter().for_each(|request| tally.add(request));
            let found = block_on(shelf.reader().usage(range, by)).unwrap();
            assert_eq!(found, tally.into_rows(), "{range:?} {by:?}");
        }
    }
    let total = block_on(shelf.reader().total(TimeRange::ALL)).unwrap();
    assert_eq!(total.requests, 400);
    for by in GroupBy::ALL {
        let rows = block_on(shelf.reader().usage(TimeRange::ALL, by)).unwrap();
        let mut sum = crate::Usage::default();
        rows.iter().for_each(|row| sum.merge(&row.usage));
        assert_eq!(sum, total, "the rows of {by:?} add up to the whole");
    }
}

fn settles_each_request_once(shelf: &impl Shelf) {
    let request = request(8);
    for _ in 0..3 {
        let again = Settlement { status: 500, ..request.clone() };
        shelf.books().settle(&request, None).unwrap().wait().unwrap();
        shelf.books().settle(&again, None).unwrap().wait().unwrap();
    }
    shelf.catch_up();
    let page = block_on(shelf.reader().requests(RequestFilter::default(), None, 10)).unwrap();
    assert_eq!(page.requests, [request]);
    assert_eq!(block_on(shelf.reader().total(TimeRange::ALL)).unwrap().requests, 1);
}

fn lists_pages(shelf: &impl Shelf) {
    let requests = requests(300);
    settle_all(shelf, &requests);
    let begin = requests[0].arrived_unix_ms;
    let all = RequestFilter::default();
    let filters = [
        all.clone(),
        RequestFilter { request_id: Some(requests[77].request_id), ..all.clone() },
        RequestFilter { request_id: Some(1), ..all.clone() },
        RequestFilter { task: Some("intent".parse().unwrap()), ..all.clone() },
        RequestFilter { task: Some("unheard-of".parse().unwrap()), ..all.clone() },
        RequestFilter { outcome: Some(RequestOutcome::Cancelled), ..all.clone() },
        RequestFilter { caller: Some(CallerFilter::NoKey), ..all.clone() },
        RequestFilter { caller: Some(CallerFilter::Key("SHOP_KEY".to_owned())), ..all.clone() },
        RequestFilter { model: Some("large".to_owned()), ..all.clone() },
        RequestFilter { tier: Some(Tier::Mid), ..all.clone() },
        RequestFilter { tier: Some(Tier::Local), model: Some("large".to_owned()), ..all.clone() },
        RequestFilter {
            range: Some(TimeRange { from_unix_ms: begin + 9_000_000, until_unix_ms: begin + 90_000_000 }),
            ..all.clone()
        },
        RequestFilter {
            range: Some(TimeRange { from_unix_ms: begin, until_unix_ms: begin + 150_000_000 }),
            task: Some("reply".parse().unwrap()),
            outcome: Some(RequestOutcome::Answered),
            caller: Some(CallerFilter::Key("SHOP_KEY".to_owned())),
            model: Some("medium".to_owned()),
            tier: Some(Tier::Mid),
            ..all
        },
    ];
    for filter in filters {
        let expected: Vec<_> =
            requests.iter().rev().filter(|request| filter.passes(request)).cloned().collect();
        let mut found = Vec::new();
        let mut after: Option<Cursor> = None;
        loop {
            let page = block_on(shelf.reader().requests(filter.clone(), after, 7)).unwrap();
            assert!(page.requests.len() <= 7, "{filter:?}");
            assert!(
                page.next.is_none() || page.requests.len() == 7,
                "only the last page is short: {filter:?}"
            );
            found.extend(page.requests);
            match page.next {
                Some(next) => after = Some(next.to_string().parse().unwrap()),
                None => break,
            }
        }
        assert_eq!(found, expected, "{filter:?}");
    }
}

fn keeps_templates_and_examples(shelf: &impl Shelf) {
    let template = |number: u64, text: &str| TemplateRecord {
        template: Template(number),
        system_preview: text.to_owned(),
        prefix: String::new(),
        suffix: String::new(),
        first_seen_ms: 1_000 - i64::try_from(number).unwrap(),
    };
    for record in [template(1, "one"), template(2, "two"), template(1, "another")] {
        shelf.books().record_template(&record).unwrap().wait().unwrap();
    }
    let task: bantam_types::TaskName = "intent".parse().unwrap();
    let example = |number: u32| ExampleRecord {
        request_id: request(number).request_id,
        task: if number.is_multiple_of(10) { "reply".parse().unwrap() } else { task.clone() },
        text: format!("text {number}"),
        answer: "yes".to_owned(),
        model: "large".to_owned(),
        recorded_ms: 5_000 - i64::from(number / 2),
    };
    for number in 1..=600 {
        shelf.books().settle(&request(number), Some(&example(number))).unwrap().wait().unwrap();
    }
    shelf.catch_up();
    let templates = block_on(shelf.reader().templates(TimeRange::ALL)).unwrap();
    let mut names: Vec<_> = templates.iter().map(|found| found.record.system_preview.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["one", "two"], "the first record of a template stays");
    assert_eq!(templates[0].usage.requests, 50, "the busier one is first: {templates:?}");
    let first = block_on(shelf.reader().template_records()).unwrap();
    assert_eq!(first[0], template(2, "two"), "first seen, first told");

    let mut expected: Vec<_> = (1..=600).map(example).filter(|example| example.task == task).collect();
    expected.sort_by_key(|example| (example.recorded_ms, example.request_id));
    let mut examples = shelf.reader().examples(task);
    let mut found = Vec::new();
    while let Some(example) = block_on(examples.next()).unwrap() {
        found.push(example);
    }
    assert_eq!(found, expected);
    assert_eq!(block_on(shelf.reader().usage(TimeRange::ALL, GroupBy::None)).unwrap()[0].key, GroupKey::All);
}
