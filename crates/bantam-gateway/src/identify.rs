//! Which task a request belongs to, or which model it names.

use std::sync::Arc;

use bantam_types::{TaskName, Template};
use bantam_wire::{ApiError, Call, CallKind, ENDPOINTS, Envelope, ErrorCode, Role};
use parking_lot::Mutex;

use crate::deployment::{Deployment, Rung, Task};
use bantam_route::{PromptPrefixes, TemplateMiner};

/// What a caller says outside the body.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    /// The `x-bantam-task` header.
    pub task: Option<String>,
    /// The name of the key that the caller showed.
    pub caller: Option<Arc<str>>,
    /// How often the caller's library has tried the same request before, as it says itself.
    pub earlier_tries: u32,
    /// Headers that may be passed on.
    pub envelope: Envelope,
}

/// Where a request goes.
pub(crate) enum Target {
    /// To a task's ladder.
    Task(Arc<Task>),
    /// To the ladder of `auto`.
    Auto,
    /// To one model and nowhere else.
    Model(Arc<Rung>),
}

/// What this stage finds out about a request.
pub(crate) struct Identified {
    pub(crate) target: Target,
    /// The template it was recognised by.
    pub(crate) template: Option<Template>,
    /// Where the payload begins in the last user message.
    pub(crate) payload_start: usize,
}

impl Identified {
    pub(crate) fn task(&self) -> Option<&Arc<Task>> {
        match &self.target {
            Target::Task(task) => Some(task),
            Target::Auto | Target::Model(_) => None,
        }
    }
}

/// Identifies a request: the header counts first, then the model's name, then its template.
pub(crate) fn identify(
    deployment: &Deployment,
    miner: &Mutex<TemplateMiner>,
    request: &Call,
    hints: &Hints,
) -> Result<Identified, ApiError> {
    let named = match (&hints.task, request.model.strip_prefix("task/")) {
        (Some(name), _) => Some((&**name, "x-bantam-task")),
        (None, name) => name.map(|name| (name, "model")),
    };
    if let Some((name, param)) = named {
        let identified = named_task(deployment, name, param)?;
        return if request.kind() == CallKind::Chat { Ok(identified) } else { Err(not_chat(request, param)) };
    }
    let target = if deployment.is_auto(&request.model) {
        Target::Auto
    } else {
        Target::Model(Arc::clone(find_model(deployment, &request.model)?))
    };
    if request.kind() != CallKind::Chat {
        return Ok(Identified { target, template: None, payload_start: 0 });
    }
    let (template, prefix_bytes) = recognise(miner, request);
    let by_template = template.and_then(|template| deployment.templates.get(&template));
    let task = by_template.and_then(|name| deployment.tasks.get(name));
    let target = match (target, task) {
        // A model named outright is the caller's decision; the template is only told to the ledger.
        (Target::Auto, Some(task)) => Target::Task(Arc::clone(task)),
        (target, _) => target,
    };
    Ok(Identified { target, template, payload_start: prefix_bytes })
}

fn named_task(deployment: &Deployment, name: &str, param: &str) -> Result<Identified, ApiError> {
    let found = name.parse::<TaskName>().ok().and_then(|name| deployment.tasks.get(&name).cloned());
    match found {
        Some(task) => Ok(Identified { target: Target::Task(task), template: None, payload_start: 0 }),
        None => {
            let known = deployment.tasks.keys().map(TaskName::as_str);
            Err(not_found("task", name, known, param, "task_not_found"))
        }
    }
}

/// Returns the refusal of a task that was asked for at an endpoint other than chat.
fn not_chat(request: &Call, param: &str) -> ApiError {
    let asked = request.endpoint;
    let mut of_same_dialect = ENDPOINTS.iter().filter(|other| other.dialect() == asked.dialect());
    let chat =
        of_same_dialect.find(|other| other.kind() == CallKind::Chat).map_or("chat", |chat| chat.path());
    let asked = asked.path();
    let message = format!("tasks are answered at {chat}, not at {asked}: ask there, or name a model");
    ApiError::invalid(param, "task_needs_chat", message)
}

fn find_model<'d>(deployment: &'d Deployment, name: &str) -> Result<&'d Arc<Rung>, ApiError> {
    deployment.models.get(name).ok_or_else(|| {
        let tasks: Vec<String> = deployment.tasks.keys().map(|task| format!("task/{task}")).collect();
        let known = deployment.models.keys().map(|name| &**name).chain(tasks.iter().map(String::as_str));
        not_found("model", name, known.chain(["auto"]), "model", "model_not_found")
    })
}

fn not_found<'a>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
    param: &str,
    slug: &'static str,
) -> ApiError {
    let shown: String = name.chars().take(80).collect();
    let mut near: Vec<(f64, &str)> = known.map(|known| (strsim::jaro_winkler(name, known), known)).collect();
    near.sort_by(|left, right| right.0.total_cmp(&left.0));
    let names: Vec<String> = near.iter().take(3).map(|(_, name)| format!("`{name}`")).collect();
    let hint = if names.is_empty() {
        format!("no {what} is configured")
    } else {
        format!("nearest: {}", names.join(", "))
    };
    ApiError {
        param: Some(param.to_owned()),
        ..ApiError::new(ErrorCode::NotFound, slug, format!("there is no {what} `{shown}` here; {hint}"))
    }
}

/// Looks at the stable part of the system and first user message.
fn recognise(miner: &Mutex<TemplateMiner>, request: &Call) -> (Option<Template>, usize) {
    let mut system = request.messages().iter().filter(|message| message.role == Role::System);
    let system = system.next().map_or("", |message| message.text());
    let mut users = request.messages().iter().filter(|message| message.role == Role::User);
    let Some(first) = users.next() else {
        return (None, 0);
    };
    // The whole prompt is read before the lock is taken, so a long one does not hold up other callers.
    let prompt = PromptPrefixes::of(system, first.text());
    let found = miner.lock().observe(&prompt);
    match found {
        // In a longer conversation the last user message does not follow the template.
        Some(found) if users.next().is_none() => (Some(found.template), found.prefix_bytes),
        Some(found) => (Some(found.template), 0),
        None => (None, 0),
    }
}
