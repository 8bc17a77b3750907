use bantam_books::{ExampleRecord, TemplateRecord};
use bantam_types::{
    AnswerUsage, AttemptOutcome, AttemptRecord, CountState, EscalationReason, FaultKind, Label,
    LongPromptRates, Price, RateLimit, RateLimits, Rates, RequestOutcome, ServiceRates, ServiceTier,
    Settlement, Template, Tier, TokenUsage, Unpriced, Usd, UsdPerMillion,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::entry::Entry;

/// Returns a settlement with a discarded and an accepted attempt, different for each number.
pub(crate) fn settlement(number: u128) -> Settlement {
    let rates = Rates {
        input: UsdPerMillion::from_micros(150_000),
        cached_input: UsdPerMillion::from_micros(75_000),
        output: UsdPerMillion::from_micros(600_000),
        ..Rates::default()
    };
    let price = Price::flat(rates, "2026-11-01");
    let usage = TokenUsage::new(300, 20, 12);
    let draft = AttemptRecord {
        backend: "student".into(),
        model: "intent-linear".into(),
        tier: Tier::Local,
        usage: None,
        started_us: 50,
        first_byte_us: None,
        last_byte_us: 80,
        price: None,
        cost: Some(Usd::ZERO),
        confidence: Some(0.25),
        outcome: AttemptOutcome::Discarded(EscalationReason::LowConfidence),
        retries: 0,
        fault: None,
        upstream_status: None,
        unpriced: None,
        upstream_request_id: None,
        rate_limits: None,
    };
    let answer = AttemptRecord {
        backend: "upstream".into(),
        model: "small".into(),
        tier: Tier::Mid,
        usage: Some(usage.into()),
        cost: price.cost(usage).ok(),
        price: Some(price.into()),
        first_byte_us: Some(1000),
        confidence: None,
        outcome: AttemptOutcome::Accepted,
        started_us: 50,
        last_byte_us: 80,
        retries: 0,
        fault: None,
        upstream_status: None,
        unpriced: None,
        upstream_request_id: None,
        rate_limits: None,
    };
    Settlement {
        request_id: number,
        arrived_unix_ms: 1_790_000_000_000,
        task: "intent".parse().ok(),
        template: Some(Template(u64::MAX - 1)),
        caller: Some("DESK_KEY".into()),
        endpoint: Some("/v1/chat/completions".into()),
        dialect: Some("openai".into()),
        requested_model: format!("model {number}"),
        label: Label::Internal,
        outcome: RequestOutcome::Answered,
        status: 200,
        streamed: true,
        duration_us: 400_000,
        baseline_cost: Some(Usd::from_picodollars(900_000_000)),
        attempts: vec![draft, answer],
    }
}

pub(crate) fn example(number: u128) -> ExampleRecord {
    ExampleRecord {
        request_id: number,
        task: "intent".parse().unwrap(),
        text: format!("what is {number}?"),
        answer: "a number".to_owned(),
        model: "teacher".to_owned(),
        recorded_ms: 1_790_000_000_000,
    }
}

pub(crate) fn template(number: u64) -> TemplateRecord {
    TemplateRecord {
        template: Template(number),
        system_preview: "You sort".to_owned(),
        prefix: "Sort this: ".to_owned(),
        suffix: String::new(),
        first_seen_ms: -1,
    }
}

pub(crate) fn encode(entry: &Entry) -> Vec<u8> {
    match entry {
        Entry::Settlement { settlement, example } => encode_settlement(settlement, example.as_ref()),
        Entry::Template(record) => encode_template(record),
    }
    .unwrap()
}

/// Returns what a body holds, read as the first of all.
fn decoded(body: &[u8]) -> Result<Entry, DecodeError> {
    decode(body, &mut Known::default())
}

fn check(entry: &Entry) {
    let record = encode(entry);
    let Frame::Whole(body) = split(&record).unwrap() else { panic!("not whole") };
    assert_eq!(body.len() + 12, record.len());
    assert_eq!(&decoded(body).unwrap(), entry);
}

fn any_usd() -> impl Strategy<Value = Usd> {
    any::<i64>().prop_map(Usd::from_picodollars)
}

fn any_rates() -> impl Strategy<Value = Rates> {
    (any::<[u64; 3]>(), any::<[Option<u64>; 4]>()).prop_map(|(often, seldom)| {
        let [input, cached_input, output] = often.map(UsdPerMillion::from_micros);
        let [cache_write, cache_write_long, audio_input, audio_output] =
            seldom.map(|micros| micros.map(UsdPerMillion::from_micros));
        Rates { input, cached_input, cache_write, cache_write_long, audio_input, output, audio_output }
    })
}

fn any_service() -> impl Strategy<Value = ServiceRates> {
    let long = (any::<u64>(), any_rates()).prop_map(|(above, rates)| LongPromptRates { above, rates });
    (any_rates(), vec(long, 0..3)).prop_map(|(base, long_prompts)| ServiceRates { base, long_prompts })
}

fn any_price() -> impl Strategy<Value = std::sync::Arc<Price>> {
    let services = option::of([any_service(), any_service(), any_service()]);
    let fees = [option::of(any_usd()), option::of(any_usd())];
    (any_service(), services, fees, "\\PC{0,12}").prop_map(|(standard, services, fees, as_of)| {
        let [batch, flex, priority] = services.map_or([None, None, None], |services| services.map(Some));
        let [request_fee, web_search_fee] = fees;
        Price { standard, batch, flex, priority, request_fee, web_search_fee, as_of }.into()
    })
}

fn any_usage() -> impl Strategy<Value = AnswerUsage> {
    let states =
        [CountState::Complete, CountState::Partial, CountState::Contradictory, CountState::Unmodelled];
    let tier = option::of(select(ServiceTier::ALL.to_vec()));
    (any::<[u64; 5]>(), any::<[u64; 3]>(), any::<[bool; 5]>(), tier, select(states.to_vec())).prop_map(
        |(tokens, others, is_zero, service_tier, counts)| {
            let [input, cached_input, cache_write, cache_write_long, output] = tokens;
            let [audio_input, audio_output, web_searches] = others;
            let seldom = [cache_write, cache_write_long, audio_input, audio_output, web_searches];
            let seldom: Vec<u64> =
                seldom.into_iter().zip(is_zero).map(|(count, zero)| if zero { 0 } else { count }).collect();
            AnswerUsage {
                tokens: TokenUsage {
                    input,
                    cached_input,
                    cache_write: seldom[0],
                    cache_write_long: seldom[1],
                    output,
                },
                audio_input: seldom[2],
                audio_output: seldom[3],
                web_searches: seldom[4],
                service_tier,
                counts,
            }
        },
    )
}

fn any_limits() -> impl Strategy<Value = RateLimits> {
    any::<[[Option<u64>; 3]; 2]>().prop_map(|limits| {
        let [requests, tokens] =
            limits.map(|[limit, remaining, resets_in_ms]| RateLimit { limit, remaining, resets_in_ms });
        RateLimits { requests, tokens }
    })
}

fn any_outcome() -> impl Strategy<Value = AttemptOutcome> {
    let reason = || select(EscalationReason::ALL.to_vec());
    prop_oneof![
        Just(AttemptOutcome::Accepted),
        Just(AttemptOutcome::Cancelled),
        reason().prop_map(AttemptOutcome::Discarded),
        reason().prop_map(AttemptOutcome::Failed),
    ]
}

fn any_attempt() -> impl Strategy<Value = AttemptRecord> {
    let texts = ("\\PC{0,20}", "\\PC{0,20}");
    let numbers = (any::<[u64; 2]>(), option::of(any::<u64>()), any::<u32>());
    let usage = option::of(any_usage());
    let told =
        (option::of(select(Unpriced::ALL.to_vec())), option::of("\\PC{0,20}"), option::of(any_limits()));
    let confidence = option::of(prop::num::f32::NORMAL | prop::num::f32::ZERO | prop::num::f32::INFINITE);
    (
        texts,
        numbers,
        usage,
        option::of(any_price()),
        option::of(any_usd()),
        confidence,
        any_outcome(),
        select(Tier::ALL.to_vec()),
        told,
    )
        .prop_map(|(texts, numbers, usage, price, cost, confidence, outcome, tier, told)| {
            AttemptRecord {
                backend: texts.0.into(),
                model: texts.1.into(),
                tier,
                usage,
                started_us: numbers.0[0],
                first_byte_us: numbers.1,
                last_byte_us: numbers.0[1],
                price,
                cost,
                confidence,
                outcome,
                retries: numbers.2,
                // Failures bring their kind, in turn, and often a status.
                fault: usage.is_none().then(|| FaultKind::ALL[numbers.0[0] as usize % FaultKind::ALL.len()]),
                upstream_status: (numbers.0[1] % 3 == 0).then_some(429),
                unpriced: told.0,
                upstream_request_id: told.1.map(Into::into),
                rate_limits: told.2,
            }
        })
}

fn any_settlement() -> impl Strategy<Value = Settlement> {
    let outcomes = [
        RequestOutcome::Answered,
        RequestOutcome::Refused,
        RequestOutcome::Failed,
        RequestOutcome::Cancelled,
    ];
    let who = (option::of("[a-z0-9][a-z0-9._-]{0,63}"), option::of(any::<u64>()), "\\PC{0,40}");
    let names = option::of("\\PC{0,20}");
    let where_from = (names.clone(), names.clone(), names);
    let how = (select(Label::ALL.to_vec()), select(outcomes.to_vec()), any::<u16>(), any::<bool>());
    (
        any::<u128>(),
        any::<i64>(),
        who,
        where_from,
        how,
        any::<u64>(),
        option::of(any_usd()),
        vec(any_attempt(), 0..4),
    )
        .prop_map(
            |(request_id, arrived_unix_ms, who, names, how, duration_us, baseline_cost, attempts)| {
                Settlement {
                    request_id,
                    arrived_unix_ms,
                    task: who.0.map(|task| task.parse().unwrap()),
                    template: who.1.map(Template),
                    caller: names.0.map(Into::into),
                    endpoint: names.1.map(Into::into),
                    dialect: names.2.map(Into::into),
                    requested_model: who.2,
                    label: how.0,
                    outcome: how.1,
                    status: how.2,
                    streamed: how.3,
                    duration_us,
                    baseline_cost,
                    attempts,
                }
            },
        )
}

proptest! {
    #[test]
    fn every_settlement_reads_back_as_it_was(settlement in any_settlement(), with_example: bool, text in "\\PC{0,99}") {
        let example = with_example.then(|| ExampleRecord { text, ..example(settlement.request_id) });
        check(&Entry::Settlement { settlement, example });
    }

    #[test]
    fn what_few_attempts_have_reads_back_and_nothing_takes_no_bytes(attempt in any_attempt(), at: prop::sample::Index, byte: u8) {
        let extra = Extra::of(&attempt);
        match extra.encode() {
            None => prop_assert_eq!(extra, Extra::default()),
            Some(mut bytes) => {
                prop_assert_eq!(Extra::decode(&bytes), Ok(extra));
                let at = at.index(bytes.len());
                prop_assert!(Extra::decode(&bytes[..at]).is_err());
                bytes[at] = byte;
                let _ = Extra::decode(&bytes);
            }
        }
    }

    #[test]
    fn what_was_read_before_changes_nothing(settlements in vec(any_settlement(), 1..30), places in vec(any::<prop::sample::Index>(), 60)) {
        let mut known = Known::default();
        for at in places {
            let entry = Entry::Settlement { settlement: at.get(&settlements).clone(), example: None };
            let record = encode(&entry);
            prop_assert_eq!(decode(&record[12..], &mut known), Ok(entry));
        }
    }

    #[test]
    fn every_template_reads_back_as_it_was(number: u64, texts in any::<[String; 3]>(), first_seen_ms: i64) {
        let [system_preview, prefix, suffix] = texts;
        check(&Entry::Template(TemplateRecord {
            template: Template(number), system_preview, prefix, suffix, first_seen_ms,
        }));
    }

    #[test]
    fn bytes_that_nobody_wrote_are_an_error_and_never_a_panic(kind in 0_u8..4, version in 0_u8..5, bytes in vec(any::<u8>(), 0..300)) {
        let _ = split(&bytes);
        let _ = decoded(&bytes);
        let _ = decoded(&[&[kind, version], &bytes[..]].concat());
    }

    #[test]
    fn a_body_cut_or_changed_anywhere_is_an_error_or_another_value(settlement in any_settlement(), at: prop::sample::Index, byte: u8) {
        let mut record = encode(&Entry::Settlement { settlement, example: None });
        let body = &mut record[12..];
        let at = at.index(body.len());
        prop_assert!(decoded(&body[..at]).is_err());
        body[at] = byte;
        let _ = decoded(body);
    }
}

#[test]
fn a_record_of_a_newer_version_is_refused_by_name() {
    let record = encode(&Entry::Template(template(1)));
    let mut body = record[12..].to_vec();
    body[1] = TEMPLATE_VERSION + 1;
    assert_eq!(
        decoded(&body),
        Err(DecodeError::Unknown { kind: KIND_TEMPLATE, version: TEMPLATE_VERSION + 1 })
    );
    body[0] = 9;
    assert_eq!(decoded(&body), Err(DecodeError::Unknown { kind: 9, version: TEMPLATE_VERSION + 1 }));
}

#[test]
fn a_record_that_is_too_long_is_refused_when_it_is_written() {
    let text = "x".repeat(17 << 20);
    let length = text.len();
    let bytes = encode_settlement(&settlement(1), Some(&ExampleRecord { text, ..example(1) })).unwrap_err();
    assert!(bytes > length);
}

/// What version 2 wrote of the settlement that [`settlement`] makes.
const VERSION_2: &[u8] = include_bytes!("../../tests/fixtures/version-2.record");

#[test]
fn a_record_of_version_2_reads_as_it_was() {
    let Frame::Whole(body) = split(VERSION_2).unwrap() else { panic!("not whole") };
    assert_eq!(body[1], 2);
    let expected = Entry::Settlement { settlement: settlement(0x0102), example: Some(example(0x0102)) };
    assert_eq!(decoded(body).unwrap(), expected);
}

/// Returns the attempt with every field that providers charge by, and what its upstream told beside its answer.
pub(crate) fn charged_for_everything(attempt: AttemptRecord) -> AttemptRecord {
    let rate = |micros| UsdPerMillion::from_micros(micros);
    let rates = Rates {
        input: rate(1),
        cached_input: rate(2),
        cache_write: Some(rate(3)),
        cache_write_long: Some(rate(4)),
        audio_input: Some(rate(5)),
        output: rate(6),
        audio_output: Some(rate(7)),
    };
    let long_prompts = vec![LongPromptRates { above: 200_000, rates }];
    let price = Price {
        standard: ServiceRates { base: rates, long_prompts },
        batch: Some(rates.into()),
        flex: Some(rates.into()),
        priority: Some(rates.into()),
        request_fee: Some(Usd::from_picodollars(8)),
        web_search_fee: Some(Usd::from_picodollars(9)),
        as_of: "2026-12-01".to_owned(),
    };
    let usage = AnswerUsage {
        tokens: TokenUsage { input: 10, cached_input: 1, cache_write: 2, cache_write_long: 3, output: 20 },
        audio_input: 4,
        audio_output: 5,
        web_searches: 6,
        service_tier: Some(ServiceTier::Priority),
        counts: CountState::Partial,
    };
    let limit = RateLimit { limit: Some(11), remaining: Some(12), resets_in_ms: Some(13) };
    AttemptRecord {
        usage: Some(usage),
        price: Some(price.into()),
        cost: None,
        unpriced: Some(Unpriced::CountedInPart),
        upstream_request_id: Some("req_1".into()),
        rate_limits: Some(RateLimits { requests: limit, tokens: limit }),
        ..attempt
    }
}

/// The bytes of the versions that are written now, so that a change of a layout without a change of its version is seen.
#[test]
fn a_version_is_written_as_it_always_was() {
    let record =
        encode(&Entry::Settlement { settlement: settlement(0x0102), example: Some(example(0x0102)) });
    assert_eq!((record.len(), crc32fast::hash(&record)), GOLDEN_SETTLEMENT);
    let mut charged = settlement(0x0102);
    charged.attempts[1] = charged_for_everything(charged.attempts[1].clone());
    let record = encode(&Entry::Settlement { settlement: charged, example: None });
    assert_eq!((record.len(), crc32fast::hash(&record)), GOLDEN_CHARGED);
    let record = encode(&Entry::Template(template(3)));
    assert_eq!((record.len(), crc32fast::hash(&record)), GOLDEN_TEMPLATE);
}

const GOLDEN_SETTLEMENT: (usize, u32) = (262, 3_848_063_056);
const GOLDEN_CHARGED: (usize, u32) = (280, 2_803_255_438);
const GOLDEN_TEMPLATE: (usize, u32) = (45, 1_653_079_237);
