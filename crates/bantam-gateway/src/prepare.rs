//! What is decided about a request before anybody is asked: decode, identify, label, plan.
//!
//! Answering and explaining go through this one function, so an explanation cannot differ from what happens.

use bantam_backend::{Ask, CallsBefore};
use bantam_privacy::Scanned;
use bantam_route::TemplateMiner;
use bantam_wire::{ApiError, Endpoint};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::deployment::Deployment;
use crate::identify::{Hints, Identified, identify};
use crate::ladder::{Planned, plan_request};

/// A request that is understood and planned.
pub(crate) struct Prepared {
    pub(crate) scanned: Scanned,
    pub(crate) identified: Identified,
    pub(crate) planned: Planned,
}

/// Prepares a request that came to `endpoint`. `on_read` is told as soon as the request is read, whatever comes of it.
///
/// # Errors
/// When the body is not a valid request, or names a task or model that is not there.
pub(crate) fn prepare(
    deployment: &Deployment,
    miner: &Mutex<TemplateMiner>,
    (endpoint, body): (&'static dyn Endpoint, Bytes),
    hints: &Hints,
    on_read: impl FnOnce(&Scanned),
) -> Result<Prepared, ApiError> {
    let scanned = Scanned::decode_enveloped(
        endpoint,
        body,
        hints.envelope.clone(),
        &deployment.decode_limits,
        &deployment.scanner,
    )?;
    on_read(&scanned);
    let identified = identify(deployment, miner, scanned.request(), hints)?;
    let scanned = match identified.task() {
        Some(task) => scanned.at_least(task.minimum_label),
        None => scanned,
    };
    let planned = plan_request(deployment, &scanned, &identified);
    Ok(Prepared { scanned, identified, planned })
}

/// Returns how every rung is asked, whoever the caller is: with the task's instructions where the caller brings none, and for a label never
/// as a stream, because it is checked before it is returned.
pub(crate) fn ask(scanned: &Scanned, identified: &Identified, before: CallsBefore) -> Ask {
    let call = scanned.request();
    let task = identified.task();
    let system = task.filter(|_| !call.has_system()).map(|task| task.instructions.clone());
    let is_classification = task.is_some_and(|task| task.is_classification());
    Ask {
        system,
        stream: call.stream && !is_classification,
        payload_start: identified.payload_start,
        before,
        ..Ask::default()
    }
}
