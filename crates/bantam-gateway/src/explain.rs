//! The plan of a request and the reasons, without calling any upstream.

use std::sync::Arc;

use bantam_backend::{Answer, CallsBefore};
use bantam_route::{Gate, RungKind};
use bantam_wire::{ApiError, openai};
use bytes::Bytes;

use crate::Gateway;
use crate::answer::{Judgement, facts_of, judge};
use crate::deployment::{Deployment, Rung, Task};
use crate::identify::{Hints, Target};
use crate::prepare::{Prepared, ask, prepare};

/// What would happen to a request, in lines for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// One fact a line, in the order of the stages.
    pub lines: Vec<String>,
}

impl Gateway {
    /// Explains one chat request: its task, label and plan, and what the student says. Students run, since they are on
    /// this machine; no upstream is called and nothing is settled.
    ///
    /// # Errors
    /// Those that the request itself would get before planning.
    pub async fn explain(&self, body: Bytes, hints: Hints) -> Result<Explanation, ApiError> {
        let deployment = self.deployment();
        let prepared = prepare(&deployment, self.miner(), (openai::CHAT, body), &hints, |_| {})?;
        let mut lines = vec![match &prepared.identified.target {
            Target::Task(task) => format!("task      {} ({})", task.name, task.kind),
            Target::Auto => "task      none: the ladder of `auto`".to_owned(),
            Target::Model(model) => format!("task      none: the caller names the model {}", model.name),
        }];
        let scanned = &prepared.scanned;
        lines.push(format!("label     {}: {}", scanned.label(), scanned.reason()));
        for (index, rung) in prepared.planned.ladder.iter().enumerate() {
            let skipped = prepared.planned.plan.skipped.iter().find(|skip| skip.rung == index);
            let fate = match skipped {
                Some(skip) => format!("skipped: {}", skip.reason),
                None if rung.kind != RungKind::Student => "asked when no rung before it answers".to_owned(),
                None => fate(&deployment, &prepared, rung).await,
            };
            let (number, price) = (index + 1, price(rung));
            lines.push(format!("rung {number}    {} ({}, {price}): {fate}", rung.name, rung.tier));
            if skipped.is_none() && rung.kind == RungKind::Student {
                let evidence = evidence(&deployment, &prepared, rung).await;
                lines.extend(evidence.into_iter().map(|line| format!("          {line}")));
            }
        }
        Ok(Explanation { lines })
    }
}

fn price(rung: &Rung) -> String {
    match &rung.price {
        _ if rung.kind == RungKind::Student => "free".to_owned(),
        Some(price) => {
            let dollars = |price: bantam_types::UsdPerMillion| price.cost(1_000_000);
            format!(
                "${} in, ${} out a million tokens",
                dollars(price.standard.base.input),
                dollars(price.standard.base.output)
            )
        }
        None => "unpriced: the configuration states no price".to_owned(),
    }
}

/// Returns the beginning of a text, on one line.
fn shown(text: &str) -> String {
    const CHARS: usize = 200;
    let mut shown: String =
        text.chars().take(CHARS).map(|char| if char == '\n' { ' ' } else { char }).collect();
    if text.chars().nth(CHARS).is_some() {
        shown.push('…');
    }
    shown
}

async fn evidence(deployment: &Deployment, prepared: &Prepared, rung: &Arc<Rung>) -> Vec<String> {
    let Prepared { scanned, identified, .. } = prepared;
    let Some(cleared) = deployment.policy.clear(scanned, rung.tier) else { return Vec::new() };
    let lines = rung.backend.evidence(cleared, ask(scanned, identified, CallsBefore::default())).await;
    lines.iter().map(|line| shown(line)).collect()
}

/// Asks a student and says what would become of its answer.
async fn fate(deployment: &Deployment, prepared: &Prepared, rung: &Arc<Rung>) -> String {
    let Prepared { scanned, identified, .. } = prepared;
    let Some(cleared) = deployment.policy.clear(scanned, rung.tier) else {
        return "not cleared".to_owned();
    };
    let answer = match rung.backend.answer(cleared, ask(scanned, identified, CallsBefore::default())).await {
        Ok(answer) => answer,
        Err(error) => return format!("gives no answer: {error}"),
    };
    let said = match &answer {
        Answer::Student(student) => {
            format!("says `{}` with probability {:.4}", shown(&student.text), student.probability)
        }
        Answer::Whole(_) | Answer::Stream(_) => "answers as a model".to_owned(),
    };
    let basis = match rung.gate.unwrap_or(Gate::Closed) {
        Gate::Certified { threshold } => format!("certified threshold {threshold:.4}"),
        Gate::Uncertified { threshold } => {
            format!("uncertified threshold {threshold:.4}, allowed by the configuration")
        }
        Gate::Closed => "no certificate holds".to_owned(),
    };
    let task = identified.task().map(|task| &**task);
    let usage = facts_of(&answer, scanned.request().estimated_prompt_tokens()).usage;
    let verdict = match judge(task, rung.gate, answer, usage) {
        Judgement::Accept(_) => format!("accept{}", audits(task)),
        Judgement::Escalate(reason) => format!("escalate, {reason}"),
    };
    format!("{said}; {basis}: {verdict}")
}

/// Says how many accepted answers are checked against a higher rung, where any are.
fn audits(task: Option<&Task>) -> String {
    match task.map(|task| task.audit_share).filter(|share| *share > 0.0) {
        Some(share) => format!(", {} % of such answers checked against a higher rung", share * 100.0),
        None => String::new(),
    }
}
