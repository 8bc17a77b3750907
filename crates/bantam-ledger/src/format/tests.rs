use bantam_books::{ExampleRecord, TemplateRecord};
use bantam_types::{
    AttemptOutcome, AttemptRecord, EscalationReason, FaultKind, Label, Price, RequestOutcome, Settlement,
    Template, Tier, TokenUsage, Usd, UsdPerMillion,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::entry::Entry;

/// Returns a settlement with a discarded and an accepted attempt, different for each number.
pub(crate) fn settlement(number: u128) -> Settlement {
    let price = Price {
        input: UsdPerMillion::from_micros(150_000),
        cached_input: UsdPerMillion::from_micros(75_000),
        output: UsdPerMillion::from_micros(600_000),
        as_of: "2026-11-01".to_owned(),
    };
    let usage = TokenUsage { input: 300, cached_input: 20, output: 12 };
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
    };
    let answer = AttemptRecord {
        backend: "upstream".into(),
        model: "small".into(),
        tier: Tier::Mid,
        usage: Some(usage),
        cost: Some(price.cost(usage)),
        price: Some(price.into()),
        first_byte_us: Some(1000),
        confidence: None,
        outcome: AttemptOutcome::Accepted,
        started_us: 50,
        last_byte_us: 80,
        retries: 0,
        fault: None,
        upstream_status: None,
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

fn check(entry: &Entry) {
    let record = encode(entry);
    let Frame::Whole(body) = split(&record).unwrap() else { panic!("not whole") };
    assert_eq!(body.len() + 12, record.len());
    assert_eq!(&decode(body).unwrap(), entry);
}

fn any_usd() -> impl Strategy<Value = Usd> {
    any::<i64>().prop_map(Usd::from_picodollars)
}

fn any_price() -> impl Strategy<Value = std::sync::Arc<Price>> {
    (any::<[u64; 3]>(), "\\PC{0,12}").prop_map(|(micros, as_of)| {
        let [input, cached_input, output] = micros.map(UsdPerMillion::from_micros);
        Price { input, cached_input, output, as_of }.into()
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
    let usage = option::of(any::<[u64; 3]>());
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
    )
        .prop_map(|(texts, numbers, usage, price, cost, confidence, outcome, tier)| AttemptRecord {
            backend: texts.0.into(),
            model: texts.1.into(),
            tier,
            usage: usage.map(|[input, cached_input, output]| TokenUsage { input, cached_input, output }),
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
    fn every_template_reads_back_as_it_was(number: u64, texts in any::<[String; 3]>(), first_seen_ms: i64) {
        let [system_preview, prefix, suffix] = texts;
        check(&Entry::Template(TemplateRecord {
            template: Template(number), system_preview, prefix, suffix, first_seen_ms,
        }));
    }

    #[test]
    fn bytes_that_nobody_wrote_are_an_error_and_never_a_panic(kind in 0_u8..4, version in 0_u8..4, bytes in vec(any::<u8>(), 0..300)) {
        let _ = split(&bytes);
        let _ = decode(&bytes);
        let _ = decode(&[&[kind, version], &bytes[..]].concat());
    }

    #[test]
    fn a_body_cut_or_changed_anywhere_is_an_error_or_another_value(settlement in any_settlement(), at: prop::sample::Index, byte: u8) {
        let mut record = encode(&Entry::Settlement { settlement, example: None });
        let body = &mut record[12..];
        let at = at.index(body.len());
        prop_assert!(decode(&body[..at]).is_err());
        body[at] = byte;
        let _ = decode(body);
    }
}

#[test]
fn a_record_of_a_newer_version_is_refused_by_name() {
    let record = encode(&Entry::Template(template(1)));
    let mut body = record[12..].to_vec();
    body[1] = TEMPLATE_VERSION + 1;
    assert_eq!(
        decode(&body),
        Err(DecodeError::Unknown { kind: KIND_TEMPLATE, version: TEMPLATE_VERSION + 1 })
    );
    body[0] = 9;
    assert_eq!(decode(&body), Err(DecodeError::Unknown { kind: 9, version: TEMPLATE_VERSION + 1 }));
}

#[test]
fn a_record_that_is_too_long_is_refused_when_it_is_written() {
    let text = "x".repeat(17 << 20);
    let length = text.len();
    let bytes = encode_settlement(&settlement(1), Some(&ExampleRecord { text, ..example(1) })).unwrap_err();
    assert!(bytes > length);
}

/// The bytes of the versions that are written now, so that a change of a layout without a change of its version is seen.
#[test]
fn a_version_is_written_as_it_always_was() {
    let record =
        encode(&Entry::Settlement { settlement: settlement(0x0102), example: Some(example(0x0102)) });
    assert_eq!((record.len(), crc32fast::hash(&record)), GOLDEN_SETTLEMENT);
    let record = encode(&Entry::Template(template(3)));
    assert_eq!((record.len(), crc32fast::hash(&record)), GOLDEN_TEMPLATE);
}

const GOLDEN_SETTLEMENT: (usize, u32) = (256, 1_847_145_532);
const GOLDEN_TEMPLATE: (usize, u32) = (45, 1_653_079_237);
