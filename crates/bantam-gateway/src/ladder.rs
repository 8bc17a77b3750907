//! Plans one request, and words the error if no rung can take it.

use std::sync::Arc;
use std::time::Duration;

use bantam_privacy::{PrivacyPolicy, Scanned};
use bantam_route::{Plan, RungFacts, SkipReason, plan};
use bantam_wire::{ApiError, CallKind, ErrorCode, Unsupported};

use crate::deployment::{Deployment, Rung};
use crate::exhausted::{SDK_PAUSE_MAX, UNAVAILABLE_S, whole_seconds};
use crate::identify::{Identified, Target};

/// A request's ladder with the plan over it.
pub(crate) struct Planned {
    pub(crate) ladder: Vec<Arc<Rung>>,
    pub(crate) plan: Plan,
    /// What each rung of the ladder cannot honour.
    refusals: Vec<Option<Unsupported>>,
}

/// Gathers the facts of every rung and plans.
pub(crate) fn plan_request(deployment: &Deployment, scanned: &Scanned, identified: &Identified) -> Planned {
    let ladder: Vec<Arc<Rung>> = match &identified.target {
        Target::Task(task) => task.ladder.clone(),
        Target::Auto => deployment.auto_ladder.clone(),
        Target::Model(model) => vec![Arc::clone(model)],
    };
    let request = scanned.request();
    let refusals: Vec<Option<Unsupported>> =
        ladder.iter().map(|rung| rung.backend.cannot_honour(request)).collect();
    let facts: Vec<RungFacts<'_>> = ladder
        .iter()
        .zip(&refusals)
        .map(|(rung, refusal)| rung_facts(rung, deployment.policy, scanned, refusal.as_ref()))
        .collect();
    let plan = plan(&facts, scanned.label(), request.estimated_prompt_tokens());
    Planned { plan, ladder, refusals }
}

fn rung_facts<'a>(
    rung: &'a Rung,
    policy: PrivacyPolicy,
    scanned: &Scanned,
    refusal: Option<&Unsupported>,
) -> RungFacts<'a> {
    let endpoint = scanned.request().endpoint;
    RungFacts {
        name: &rung.name,
        tier: rung.tier,
        kind: rung.kind,
        context_tokens: rung.context_tokens,
        counts_tokens: rung.backend.counts_tokens(),
        cannot_honour: refusal.map(|unsupported| endpoint.param(unsupported.feature)),
        may_see: policy.allows(scanned.label(), rung.tier),
        available: rung.backend.is_available(scanned.request().kind()),
    }
}

/// Returns the error for a request that no rung may take, or none can.
pub(crate) fn nobody_can(planned: &Planned, scanned: &Scanned) -> ApiError {
    let reasons = || planned.plan.skipped.iter().map(|skip| &skip.reason);
    if reasons().any(|reason| matches!(reason, SkipReason::LabelForbids { .. })) {
        return label_forbids(scanned);
    }
    let mut skipped = planned.plan.skipped.iter();
    let refused = skipped.find(|skip| matches!(skip.reason, SkipReason::CannotHonour { .. }));
    if let Some(error) = refused.and_then(|skip| cannot_honour(planned, skip.rung, scanned)) {
        return error;
    }
    let longest = reasons().filter_map(|reason| match reason {
        SkipReason::TooLong { prompt_tokens, context_tokens } => Some((*context_tokens, *prompt_tokens)),
        _ => None,
    });
    if let Some((context, prompt)) = longest.max() {
        let message = format!(
            "the prompt has about {prompt} tokens (estimated) and the longest context here is {context} tokens: shorten it"
        );
        let call = scanned.request();
        let param = call.endpoint.param(call.kind().feature());
        return ApiError::invalid(param, "context_length_exceeded", message);
    }
    let pause_s = pause_left(planned, scanned);
    let error = ApiError::new(
        ErrorCode::Unavailable,
        "upstreams_unavailable",
        "every upstream of this request failed too often recently and is not asked for a while",
    )
    .retry_after(pause_s);
    let is_too_long = Duration::from_secs(pause_s.into()) > SDK_PAUSE_MAX;
    if is_too_long { error.should_retry(false) } else { error }
}

/// Returns after how many seconds the first rung may be asked again.
fn pause_left(planned: &Planned, scanned: &Scanned) -> u32 {
    let kind = scanned.request().kind();
    let pauses = planned.ladder.iter().filter_map(|rung| rung.backend.refused_for(kind));
    pauses.min().map_or(UNAVAILABLE_S, |pause| whole_seconds(pause).max(1))
}

/// Returns the error for a request that asks for something that no rung can do, in the words of `rung`.
fn cannot_honour(planned: &Planned, rung: usize, scanned: &Scanned) -> Option<ApiError> {
    let Unsupported { feature, reason } = planned.refusals.get(rung)?.clone()?;
    let (endpoint, name) = (scanned.request().endpoint, &planned.ladder.get(rung)?.name);
    let kind = scanned.request().kind();
    if feature == kind.feature() && kind != CallKind::Chat {
        let message = format!(
            "no model of this request's ladder answers {}: name one that does, GET /v1/models lists them",
            endpoint.path()
        );
        return Some(ApiError::invalid("model", "unsupported_endpoint", message));
    }
    let param = endpoint.param(feature);
    let message = format!(
        "no model of this request's ladder can honour `{param}` ({name}: {reason}): leave it out or name another model"
    );
    Some(ApiError::invalid(param, "unsupported_parameter", message))
}

/// Returns the refusal of a request that is too sensitive for every rung that could answer it. It tells kinds, never
/// content.
pub(crate) fn label_forbids(scanned: &Scanned) -> ApiError {
    let message = format!(
        "the request is {} and may not leave this machine, and nothing here can answer it; found: {}",
        scanned.label(),
        scanned.reason()
    );
    ApiError::new(ErrorCode::PolicyConflict, "sensitive_request", message)
}
