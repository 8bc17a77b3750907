//! The plan of a request and why, without calling anybody.

use std::sync::Arc;

use bantam_backend::{Answer, Ask};
use bantam_privacy::Scanned;
use bantam_route::{Gate, RungKind, StudentFacts, judge_student};
use bantam_types::Verdict;
use bantam_wire::{ApiError, Endpoint};
use bytes::Bytes;

use crate::Gateway;
use crate::deployment::{Deployment, Rung};
use crate::identify::{Hints, Target, identify};
use crate::ladder::plan_request;

/// What would happen to a request, in lines for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// One fact a line, in the order of the stages.
    pub lines: Vec<String>,
}

impl Gateway {
    /// Explains one chat request: its task, label and plan, and what the student says. Students run, since
    /// they are on this machine; no upstream is called and nothing is settled.
    ///
    /// # Errors
    /// Those that the request itself would get before planning.
    pub async fn explain(&self, body: Bytes, hints: Hints) -> Result<Explanation, ApiError> {
        let deployment = self.deployment();
        let scanned = Scanned::decode(Endpoint::Chat, body, &deployment.decode_limits, &deployment.scanner)?;
        let identified = identify(&deployment, self.miner(), scanned.request(), &hints)?;
        let scanned = match identified.task() {
            Some(task) => scanned.at_least(task.minimum_label),
            None => scanned,
        };
        let mut lines = vec![match &identified.target {
            Target::Task(task) => format!("task      {} ({})", task.name, task.kind),
            Target::Auto => "task      none: the ladder of `auto`".to_owned(),
            Target::Model(model) => format!("task      none: the caller names the model {}", model.name),
        }];
        lines.push(format!("label     {}: {}", scanned.label(), scanned.reason()));
        let planned = plan_request(&deployment, &scanned, &identified);
        for (index, rung) in planned.ladder.iter().enumerate() {
            let skipped = planned.plan.skipped.iter().find(|skip| skip.rung == index);
            let fate = match skipped {
                Some(skip) => format!("skipped: {}", skip.reason),
                None => describe(&deployment, &scanned, identified.payload_start, rung).await,
            };
            lines.push(format!(
                "rung {}    {} ({}, {}): {fate}",
                index + 1,
                rung.name,
                rung.tier,
                price(rung)
            ));
            if skipped.is_none() && rung.kind == RungKind::Student {
                let evidence = evidence(&deployment, &scanned, identified.payload_start, rung).await;
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
            format!("${} in, ${} out a million tokens", dollars(price.input), dollars(price.output))
        }
        None => "unpriced".to_owned(),
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

async fn evidence(
    deployment: &Deployment,
    scanned: &Scanned,
    payload_start: usize,
    rung: &Arc<Rung>,
) -> Vec<String> {
    let Some(cleared) = deployment.policy.clear(scanned, rung.tier) else { return Vec::new() };
    let lines = rung.backend.evidence(cleared, asked(payload_start)).await;
    lines.iter().map(|line| shown(line)).collect()
}

const fn asked(payload_start: usize) -> Ask {
    Ask { system: None, stream: false, payload_start, deadline: None }
}

async fn describe(
    deployment: &Deployment,
    scanned: &Scanned,
    payload_start: usize,
    rung: &Arc<Rung>,
) -> String {
    if rung.kind != RungKind::Student {
        return "asked when no rung before it answers".to_owned();
    }
    let gate = rung.gate.unwrap_or(Gate::Closed);
    let basis = match gate {
        Gate::Certified { threshold } => format!("certified threshold {threshold:.4}"),
        Gate::Uncertified { threshold } => {
            format!("uncertified threshold {threshold:.4}, allowed by the configuration")
        }
        Gate::Closed => "no certificate holds".to_owned(),
    };
    let Some(cleared) = deployment.policy.clear(scanned, rung.tier) else {
        return "not cleared".to_owned();
    };
    let Ok(Answer::Student(answer)) = rung.backend.answer(cleared, asked(payload_start)).await else {
        return "it does not answer".to_owned();
    };
    let facts = StudentFacts {
        probability: answer.probability,
        out_of_scope: answer.out_of_scope,
        allowed: answer.is_valid,
    };
    let verdict = match judge_student(facts, gate) {
        Verdict::Accept => "accept".to_owned(),
        Verdict::Escalate(reason) => format!("escalate, {reason}"),
    };
    format!("says `{}` with probability {:.4}; {basis}: {verdict}", shown(&answer.text), answer.probability)
}
