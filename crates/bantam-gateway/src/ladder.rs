//! The plan of one request, and the error when there is none.

use std::sync::Arc;

use bantam_privacy::{PrivacyPolicy, Scanned};
use bantam_route::{Plan, RungFacts, SkipReason, plan};
use bantam_wire::{ApiError, Endpoint, ErrorCode};

use crate::deployment::{Deployment, Rung};
use crate::identify::{Identified, Target};

/// A request's ladder with the plan over it.
pub(crate) struct Planned {
    pub(crate) ladder: Vec<Arc<Rung>>,
    pub(crate) plan: Plan,
}

/// Gathers the facts of every rung and plans.
pub(crate) fn plan_request(deployment: &Deployment, scanned: &Scanned, identified: &Identified) -> Planned {
    let ladder: Vec<Arc<Rung>> = match &identified.target {
        Target::Task(task) => task.ladder.clone(),
        Target::Auto => deployment.auto_ladder.clone(),
        Target::Model(model) => vec![Arc::clone(model)],
    };
    let request = scanned.request();
    let facts: Vec<RungFacts<'_>> =
        ladder.iter().map(|rung| rung_facts(rung, deployment.policy, scanned)).collect();
    let plan = plan(&facts, scanned.label(), request.estimated_prompt_tokens());
    Planned { plan, ladder }
}

fn rung_facts<'a>(rung: &'a Rung, policy: PrivacyPolicy, scanned: &Scanned) -> RungFacts<'a> {
    RungFacts {
        name: &rung.name,
        tier: rung.tier,
        kind: rung.kind,
        context_tokens: rung.context_tokens,
        cannot_honour: rung.backend.cannot_honour(scanned.request()),
        may_see: policy.allows(scanned.label(), rung.tier),
        available: rung.backend.is_available(),
    }
}

/// Returns the error for a request that no rung may or can take.
pub(crate) fn nobody_can(planned: &Planned, scanned: &Scanned) -> ApiError {
    let reasons = || planned.plan.skipped.iter().map(|skip| &skip.reason);
    if reasons().any(|reason| matches!(reason, SkipReason::LabelForbids { .. })) {
        return label_forbids(scanned);
    }
    let honours = reasons().find_map(|reason| match reason {
        SkipReason::CannotHonour { param } => Some(param),
        _ => None,
    });
    if let Some(param) = honours {
        let endpoint = scanned.request().endpoint;
        if param == endpoint.subject() && endpoint != Endpoint::Chat {
            let message = format!(
                "no model of this request's ladder answers {}: name one that does, GET /v1/models lists them",
                endpoint.path()
            );
            return ApiError::invalid("model", "unsupported_endpoint", message);
        }
        let message = format!(
            "no model of this request's ladder can honour `{param}`: leave it out or name another model"
        );
        return ApiError::invalid(param.clone(), "unsupported_parameter", message);
    }
    let longest = reasons().filter_map(|reason| match reason {
        SkipReason::TooLong { prompt_tokens, context_tokens } => Some((*context_tokens, *prompt_tokens)),
        _ => None,
    });
    if let Some((context, prompt)) = longest.max() {
        let message = format!(
            "the prompt has about {prompt} tokens (estimated) and the longest context here is {context} tokens: shorten it"
        );
        return ApiError::invalid("messages", "context_length_exceeded", message);
    }
    ApiError::new(
        ErrorCode::Unavailable,
        "upstreams_unavailable",
        "every upstream of this request failed too often lately and is not asked for a while",
    )
    .retry_after(30)
}

/// Returns the refusal of a request that is too sensitive for every rung that could answer it: kinds, no content.
pub(crate) fn label_forbids(scanned: &Scanned) -> ApiError {
    let message = format!(
        "the request is {} and may not leave this machine, and nothing here can answer it; found: {}",
        scanned.label(),
        scanned.reason()
    );
    ApiError::new(ErrorCode::PolicyConflict, "sensitive_request", message)
}
