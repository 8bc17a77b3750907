//! What a report or a list asks of a ledger, each question timed.

use std::time::Instant;

use bantam_books::{BooksReader, CallerFilter, Cursor, GroupBy, ReadError, RequestFilter, TimeRange};
use bantam_ledger::LedgerReader;
use bantam_types::{RequestOutcome, TaskName, Tier};

use super::traffic::{BEGIN_MS, DAY_MS, DAYS, RARE_CALLER, RARE_MODEL, RARE_TASK};
use super::{Answer, block_on};

const PAGE: u32 = 100;

/// Asks everything, each question once unmeasured and then in every round.
pub(super) fn ask_all(reader: &LedgerReader, rounds: u32) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    for (name, range) in ranges() {
        for by in GroupBy::ALL {
            let question = match by {
                GroupBy::None => format!("usage, {name}"),
                by => format!("usage by {}, {name}", by.as_str()),
            };
            let ask = || block_on(reader.usage(range, by)).map(|rows| rows.len());
            answers.push(time(question, rounds, ask)?);
        }
    }
    let deep = block_on(reader.requests(RequestFilter::default(), None, 1)).map_err(|error| told(&error))?;
    let middle = deep.next.map(|cursor| Cursor(cursor.0 / 2));
    let request_id = deep.requests.first().map(|request| request.request_id);
    let mut questions = pages(middle);
    questions.push(("id", RequestFilter { request_id, ..RequestFilter::default() }, None));
    for (name, filter, after) in questions {
        let ask = || block_on(reader.requests(filter.clone(), after, PAGE)).map(|page| page.requests.len());
        answers.push(time(format!("page, {name}"), rounds, ask)?);
    }
    Ok(answers)
}

fn time(question: String, rounds: u32, ask: impl Fn() -> Result<usize, ReadError>) -> Result<Answer, String> {
    let mut rows = ask().map_err(|error| told(&error))?;
    let mut milliseconds = Vec::new();
    for _ in 0..rounds {
        let asked = Instant::now();
        rows = ask().map_err(|error| told(&error))?;
        milliseconds.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Answer { question, milliseconds, rows })
}

fn told(error: &ReadError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn ranges() -> [(&'static str, TimeRange); 3] {
    // Neither end is a whole hour.
    let week = TimeRange {
        from_unix_ms: BEGIN_MS + 14 * DAY_MS + 12 * 3_600_000 + 1_800_000,
        until_unix_ms: BEGIN_MS + 21 * DAY_MS + 12 * 3_600_000 + 1_800_000,
    };
    let minutes = TimeRange { until_unix_ms: week.from_unix_ms + 600_000, ..week };
    [("all time", TimeRange::ALL), ("a week", week), ("ten minutes", minutes)]
}

type Question = (&'static str, RequestFilter, Option<Cursor>);

fn pages(middle: Option<Cursor>) -> Vec<Question> {
    let all = RequestFilter::default();
    let task = |name: &str| name.parse::<TaskName>().ok();
    let key = |name: &str| Some(CallerFilter::Key(name.to_owned()));
    let model = |name: &str| Some(name.to_owned());
    let day = |number: i64| {
        let from_unix_ms = BEGIN_MS + number * DAY_MS;
        Some(TimeRange { from_unix_ms, until_unix_ms: from_unix_ms + DAY_MS })
    };
    let rare = RequestFilter { task: task(RARE_TASK), caller: key(RARE_CALLER), ..all.clone() };
    vec![
        ("no filter", all.clone(), None),
        ("no filter, from the middle", all.clone(), middle),
        ("time: the first day", RequestFilter { range: day(0), ..all.clone() }, None),
        ("time: the last day", RequestFilter { range: day(DAYS - 1), ..all.clone() }, None),
        ("task", RequestFilter { task: task("task-3"), ..all.clone() }, None),
        ("rare task", RequestFilter { task: task(RARE_TASK), ..all.clone() }, None),
        ("caller", RequestFilter { caller: key("KEY_2"), ..all.clone() }, None),
        ("rare caller", RequestFilter { caller: key(RARE_CALLER), ..all.clone() }, None),
        ("no key", RequestFilter { caller: Some(CallerFilter::NoKey), ..all.clone() }, None),
        (
            "outcome: cancelled",
            RequestFilter { outcome: Some(RequestOutcome::Cancelled), ..all.clone() },
            None,
        ),
        ("tier: mid", RequestFilter { tier: Some(Tier::Mid), ..all.clone() }, None),
        ("model", RequestFilter { model: model("model-2"), ..all.clone() }, None),
        ("rare model", RequestFilter { model: model(RARE_MODEL), ..all.clone() }, None),
        ("rare task and rare caller", rare, None),
        (
            "rare task, cancelled, one caller",
            RequestFilter {
                task: task(RARE_TASK),
                outcome: Some(RequestOutcome::Cancelled),
                caller: key("KEY_1"),
                ..all.clone()
            },
            None,
        ),
        (
            "rare model, failed, one task",
            RequestFilter {
                model: model(RARE_MODEL),
                outcome: Some(RequestOutcome::Failed),
                task: task("task-1"),
                ..all.clone()
            },
            None,
        ),
        (
            "rare caller on the first day",
            RequestFilter { caller: key(RARE_CALLER), range: day(0), ..all.clone() },
            None,
        ),
        (
            "task, caller, outcome, model, tier, time",
            RequestFilter {
                task: task("task-2"),
                caller: key("KEY_1"),
                outcome: Some(RequestOutcome::Answered),
                model: model("model-1"),
                tier: Some(Tier::Mid),
                range: day(10),
                ..all
            },
            None,
        ),
    ]
}
