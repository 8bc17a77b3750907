//! The demo's table, for people and for machines, and how to try what it leaves running.

use bantam_books::Usage;
use bantam_scenario::{ReplayFigures, Workload};
use bantam_teach::TrainReport;
use bantam_types::Tier;
use serde_json::{Value, json};

use super::classification::{BASELINE_STEP, DemoFigures};
use super::further::FurtherFigures;
use super::gateway::DemoGateway;
use crate::output;
use crate::settings::Globals;

/// Prints what was measured.
pub(super) fn print(workload: &Workload, figures: &DemoFigures, globals: &Globals) {
    if globals.json {
        output::line(to_json(workload, figures).to_string());
    } else {
        to_lines(workload, figures).iter().for_each(output::line);
    }
}

/// The concurrency that the headline is about: the middle one.
fn headline(measured: &[ReplayFigures]) -> ReplayFigures {
    measured.get(measured.len() / 2).cloned().unwrap_or_default()
}

/// All replays of one side as one measurement of accuracy.
fn pooled(measured: &[ReplayFigures]) -> ReplayFigures {
    measured.iter().fold(ReplayFigures::default(), |sum, next| ReplayFigures {
        requests: sum.requests + next.requests,
        refused: sum.refused + next.refused,
        graded: sum.graded + next.graded,
        correct: sum.correct + next.correct,
        ..sum
    })
}

fn cost_per_1000(usage: &Usage) -> f64 {
    1000.0 * usage.spend.as_dollars() / usage.requests.max(1) as f64
}

fn to_lines(workload: &Workload, figures: &DemoFigures) -> Vec<String> {
    let (before, after) = (headline(&figures.baseline), headline(&figures.bantam));
    let mut rows = vec![
        ["", "simulated frontier alone", "through Bantam", "change"].map(str::to_owned).to_vec(),
        row(
            "p50 latency",
            milliseconds(before.p50_ms),
            milliseconds(after.p50_ms),
            percent_less(before.p50_ms, after.p50_ms),
        ),
        row(
            "p95 latency",
            milliseconds(before.p95_ms),
            milliseconds(after.p95_ms),
            percent_less(before.p95_ms, after.p95_ms),
        ),
    ];
    let (cost_before, cost_after) =
        (cost_per_1000(&figures.baseline_usage), cost_per_1000(&figures.bantam_usage));
    rows.push(row(
        "cost per 1,000 requests",
        format!("${cost_before:.4}"),
        format!("${cost_after:.4}"),
        percent_less(cost_before, cost_after),
    ));
    for (before, after) in figures.baseline.iter().zip(&figures.bantam) {
        rows.push(row(
            &format!("requests a second, {} at a time", before.concurrency),
            format!("{:.0}", before.requests_per_second),
            format!("{:.0}", after.requests_per_second),
            format!("×{:.1}", after.requests_per_second / before.requests_per_second.max(1e-9)),
        ));
    }
    rows.push(row(
        "accuracy (95 % interval)",
        accuracy(&pooled(&figures.baseline)),
        accuracy(&pooled(&figures.bantam)),
        String::new(),
    ));
    rows.push(row(
        "sensitive requests that left",
        figures.sensitive_before.to_string(),
        figures.sensitive_sent.to_string(),
        String::new(),
    ));
    let mut lines = vec![
        String::new(),
        format!(
            "{}: {} requests through Bantam, 32 at a time unless said otherwise",
            workload.title,
            pooled(&figures.bantam).requests
        ),
        String::new(),
    ];
    lines.extend(output::table(&rows));
    lines.push(String::new());
    lines.extend(tasks(&figures.further));
    lines.extend(details(workload, figures));
    lines
}

/// What became of the tasks besides the classification: a line each.
fn tasks(tasks: &[FurtherFigures]) -> Vec<String> {
    if tasks.is_empty() {
        return Vec::new();
    }
    let heading = [
        "further task",
        "right is",
        "answered here",
        "right",
        "alone",
        "p50",
        "alone",
        "cost per 1,000",
        "alone",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(tasks.iter().map(|task| {
        vec![
            task.name.to_owned(),
            task.right.to_owned(),
            format!("{:.1} %", 100.0 * task.local_share()),
            accuracy(&task.after),
            format!("{:.1} %", 100.0 * task.before.accuracy()),
            milliseconds(task.after.p50_ms),
            milliseconds(task.before.p50_ms),
            format!("${:.4}", cost_per_1000(&task.after_usage)),
            format!("${:.4}", cost_per_1000(&task.before_usage)),
        ]
    }));
    let mut lines = output::table(&rows);
    for task in tasks {
        lines.push(match task.taught.uncertified() {
            None => {
                format!("the student of `{}` learned from {} recorded answers", task.name, task.taught.rows)
            }
            Some(reason) => format!("the student of `{}` is not certified: {reason}", task.name),
        });
    }
    lines.push(String::new());
    lines
}

fn details(workload: &Workload, figures: &DemoFigures) -> Vec<String> {
    let usage = &figures.bantam_usage;
    let share = |tier| format!("{tier} {:.1} %", 100.0 * usage.answered_share(tier));
    let reasons: Vec<String> =
        usage.escalations.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let refused = pooled(&figures.bantam).refused;
    let mut lines = vec![
        format!("answered by      {}", Tier::ALL.map(share).join(", ")),
        format!(
            "escalated        {}",
            if reasons.is_empty() { "none".to_owned() } else { reasons.join(", ") }
        ),
        format!(
            "refused          {refused} sensitive requests that the student was not sure of (counted as wrong)"
        ),
    ];
    lines.push(match &figures.taught.certified {
        Ok(certificate) => format!(
            "certificate      at most {} % errors among local answers, 95 % sure, against {} ({} of {} rows accepted, {} wrong)",
            100.0 * certificate.error_max,
            certificate.truth,
            certificate.accepted,
            certificate.rows,
            certificate.errors
        ),
        Err(reason) => format!("certificate      none: {reason}"),
    });
    lines.push(format!(
        "student          {}, learned from {} recorded answers; no text of the replay was among them",
        figures.student_of, figures.taught.rows
    ));
    lines.push(String::new());
    lines.push(format!(
        "What is simulated: the frontier model ({} labels, right on {:.1} %, 600-900 ms, $1.25/$10 a million tokens)",
        workload.labels.len(),
        100.0 * figures.simulated_accuracy
    ));
    lines.push(format!(
        "and the customers. Its own row was measured on every {BASELINE_STEP}th request. The gateway, the ledger, the student and the"
    ));
    lines.push(format!(
        "certificate are the real ones, over HTTP on this machine. The demo took {:.0} s.",
        figures.seconds
    ));
    lines
}

fn row(name: &str, before: String, after: String, change: String) -> Vec<String> {
    vec![name.to_owned(), before, after, change]
}

fn milliseconds(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

fn percent_less(before: f64, after: f64) -> String {
    let change = 100.0 * (after / before.max(1e-12) - 1.0);
    // Close to everything, one decimal would round it up to all.
    if change < -99.0 { format!("{change:+.2} %") } else { format!("{change:+.1} %") }
}

fn accuracy(measured: &ReplayFigures) -> String {
    let (low, high) = measured.interval();
    format!("{:.1} % ({:.1}-{:.1})", 100.0 * measured.accuracy(), 100.0 * low, 100.0 * high)
}

fn to_json(workload: &Workload, figures: &DemoFigures) -> Value {
    let side = |measured: &[ReplayFigures], usage: &Usage| {
        let (headline, all) = (headline(measured), pooled(measured));
        let (low, high) = all.interval();
        let by_concurrency = measured.iter().map(|measured| {
            json!({
                "concurrency": measured.concurrency, "requests": measured.requests, "p50_ms": measured.p50_ms,
                "p95_ms": measured.p95_ms, "requests_per_second": measured.requests_per_second,
            })
        });
        json!({
            "p50_ms": headline.p50_ms,
            "p95_ms": headline.p95_ms,
            "cost_usd_per_1000": cost_per_1000(usage),
            "requests_per_second": headline.requests_per_second,
            "accuracy": all.accuracy(),
            "accuracy_low": low,
            "accuracy_high": high,
            "requests": all.requests,
            "refused": all.refused,
            "by_concurrency": by_concurrency.collect::<Vec<_>>(),
        })
    };
    let usage = &figures.bantam_usage;
    let tiers = Tier::ALL.map(|tier| (tier.to_string(), Value::from(usage.answered_share(tier))));
    let reasons = usage.escalations.iter().map(|(reason, count)| (reason.to_string(), Value::from(*count)));
    json!({
        "scene": workload.title,
        "simulated": "the frontier model and the applications",
        "baseline": side(&figures.baseline, &figures.baseline_usage),
        "bantam": side(&figures.bantam, usage),
        "tiers": tiers.into_iter().collect::<serde_json::Map<_, _>>(),
        "escalations": reasons.collect::<serde_json::Map<_, _>>(),
        "sensitive_sent": figures.sensitive_sent,
        "sensitive_sent_before": figures.sensitive_before,
        "simulated_frontier_accuracy": figures.simulated_accuracy,
        "student_held_out_accuracy": held_out_accuracy(figures),
        "student_rows": figures.taught.rows,
        "certificate": figures.taught.certified.as_ref().ok(),
        "tasks": figures.further.iter().map(task_json).collect::<Vec<_>>(),
        "seconds": figures.seconds,
    })
}

/// Returns the share of recorded answers that the classifying student agrees with, on those that it has not seen.
fn held_out_accuracy(figures: &DemoFigures) -> Option<f64> {
    match &figures.taught.report {
        TrainReport::Classifier(report) => Some(report.held_out_accuracy),
        _ => None,
    }
}

fn task_json(task: &FurtherFigures) -> Value {
    let side = |measured: &ReplayFigures, usage: &Usage| {
        json!({
            "requests": measured.requests, "p50_ms": measured.p50_ms, "p95_ms": measured.p95_ms,
            "accuracy": measured.accuracy(), "cost_usd_per_1000": cost_per_1000(usage),
        })
    };
    json!({
        "name": task.name,
        "right_is": task.right,
        "answered_here": task.local_share(),
        "baseline": side(&task.before, &task.before_usage),
        "bantam": side(&task.after, &task.after_usage),
        "student_rows": task.taught.rows,
        "uncertified": task.taught.uncertified(),
    })
}

/// Prints how to ask the gateway that is left running.
pub(super) fn invite(gateway: &DemoGateway, workload: &Workload, globals: &Globals) {
    if globals.json {
        return;
    }
    let base = format!("http://{}/v1", gateway.address);
    let text = workload
        .replays
        .first()
        .and_then(|turns| turns.iter().find(|turn| turn.truth.is_some() && !turn.sensitive));
    let text = text.map_or("where is my order", |turn| turn.text.as_str()).replace(['\'', '"', '\\'], " ");
    let lines = [
        String::new(),
        format!("The gateway is running on {base} until you press Ctrl-C. Try:"),
        String::new(),
        format!("  curl -s {base}/chat/completions -H 'content-type: application/json' \\"),
        format!(
            "    -d '{{\"model\": \"task/intent\", \"messages\": [{{\"role\": \"user\", \"content\": \"{text}\"}}]}}'"
        ),
        String::new(),
        "  from openai import OpenAI".to_owned(),
        format!("  client = OpenAI(base_url=\"{base}\", api_key=\"none\")"),
        format!("  messages = [{{\"role\": \"user\", \"content\": \"{text}\"}}]"),
        "  print(client.chat.completions.create(model=\"task/intent\", messages=messages))".to_owned(),
    ];
    lines.iter().for_each(output::line);
}
