//! What is deployed: models, tasks, policy and limits, as one value that is swapped whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bantam_backend::Backend;
use bantam_privacy::{PrivacyPolicy, Scanner};
use bantam_route::{Gate, RungKind};
use bantam_types::{Label, Price, TaskKind, TaskName, Template, Tier};
use bantam_wire::DecodeLimits;

use crate::tokens::TokenRatio;

/// Everything that deciding needs; immutable, shared by the requests that began under it.
pub struct Deployment {
    /// Finds what is sensitive.
    pub scanner: Scanner,
    /// Which tier may see which label.
    pub policy: PrivacyPolicy,
    /// How large a request may be inside.
    pub decode_limits: DecodeLimits,
    /// Models that callers may name.
    pub models: BTreeMap<Arc<str>, Arc<Rung>>,
    /// Tasks that callers may name.
    pub tasks: BTreeMap<TaskName, Arc<Task>>,
    /// Which task a known template belongs to.
    pub templates: HashMap<Template, TaskName>,
    /// The ladder of `model: "auto"`, smallest first.
    pub auto_ladder: Vec<Arc<Rung>>,
    /// Further names that mean `auto`.
    pub auto_names: BTreeSet<String>,
    /// Callers' headers that some upstream gets, in lower case.
    pub forwarded_headers: BTreeSet<String>,
    /// Whether the books keep the beginnings of discovered prompts, for the owner to read.
    pub keep_prompt_previews: bool,
    /// What the same requests would have cost: the baseline model's price.
    pub baseline: Option<Arc<Price>>,
}

impl Deployment {
    /// Returns whether `model` asks for the whole ladder.
    pub fn is_auto(&self, model: &str) -> bool {
        model == "auto" || self.auto_names.contains(model)
    }
}

/// One backend as a step of a ladder.
pub struct Rung {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The model's own name, for the ledger.
    pub model: Arc<str>,
    /// Where its bytes go.
    pub tier: Tier,
    /// What it is.
    pub kind: RungKind,
    /// The most tokens it takes.
    pub context_tokens: Option<u64>,
    /// What it charges; `None` is unpriced, which is not free.
    pub price: Option<Arc<Price>>,
    /// From which probability on its answers count; only students are gated.
    pub gate: Option<Gate>,
    /// What answers.
    pub backend: Arc<dyn Backend>,
}

/// One configured task.
pub struct Task {
    /// Its name.
    pub name: TaskName,
    /// What kind of answer it wants.
    pub kind: TaskKind,
    /// The answers a classification allows; empty for other kinds.
    pub labels: Vec<Arc<str>>,
    /// Its rungs, smallest first.
    pub ladder: Vec<Arc<Rung>>,
    /// The system message for callers who send bare text.
    pub instructions: Arc<str>,
    /// The key of the JSON object that an answer is wrapped in, if any.
    pub answer_key: Option<Arc<str>>,
    /// Whether the answers of models above are kept to learn from.
    pub record: bool,
    /// The share of accepted local answers that are checked against a higher rung.
    pub audit_share: f64,
    /// Requests are at least this sensitive.
    pub minimum_label: Label,
    /// How the token estimate compares with what upstreams counted; shared over reloads.
    pub tokens: Arc<TokenRatio>,
}

impl Task {
    /// Returns whether only one of [`Self::labels`] may be answered.
    pub fn is_classification(&self) -> bool {
        self.kind == TaskKind::Classify && !self.labels.is_empty()
    }
}
