//! `[models.NAME]`: what callers and ladders may name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bantam_types::{Price, Tier};

use crate::context::Context;
use crate::local::{KeepAlive, Local, keep_alive};
use crate::log::{Log, Problem};
use crate::nearest::suggestion;
use crate::origin::Found;
use crate::section::Section;
use crate::toml_text::{self, TomlText};
use crate::upstream::{Dialect, EngineKind, Upstream, Upstreams};
use crate::value::Named;
use crate::{MistakeKind, price, task, value};

/// All tiers' names, cheapest first.
const TIERS: &[&str] = &["local", "mid", "frontier"];

/// How a model may be told to think.
const THINKING: &[&str] = &["none", "budget", "adaptive"];

/// Where a model runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// On an upstream.
    Upstream {
        /// The upstream's name; always one of the configuration.
        upstream: String,
        /// What the upstream calls the model.
        name: String,
        /// What Anthropic's API has to be told of it; nothing for other dialects.
        messages: Option<MessagesTraits>,
    },
    /// In this process.
    File {
        /// A GGUF file, or a folder with `config.json`, safetensors and `tokenizer.json`.
        path: PathBuf,
        /// Tokens whose keys and values are kept in memory; `None` for as many as the requests need and memory has.
        kv_tokens: Option<usize>,
        /// A PEFT folder or a GGUF file that changes the model's weights for this name alone.
        adapter: Option<PathBuf>,
        /// How long it stays in memory after its last request.
        keep_alive: KeepAlive,
        /// Whether it is loaded at the start.
        preload: bool,
    },
    /// In this process, from the store of models.
    Stored {
        /// What the store calls it.
        name: String,
        /// Tokens whose keys and values are kept in memory; `None` for as many as the requests need and memory has.
        kv_tokens: Option<usize>,
        /// A PEFT folder or a GGUF file that changes the model's weights for this name alone.
        adapter: Option<PathBuf>,
        /// How long it stays in memory after its last request.
        keep_alive: KeepAlive,
        /// Whether it is loaded at the start.
        preload: bool,
    },
}

/// What Anthropic's API has to be told of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagesTraits {
    /// The most tokens of an answer whose caller sets no limit.
    pub output_tokens: u32,
    /// How it is told to think.
    pub thinking: Thinking,
}

/// How a model is told to think before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// Not at all.
    None,
    /// By a number of tokens.
    Budget,
    /// By a word for the effort.
    Adaptive,
}

impl Thinking {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Budget => "budget",
            Self::Adaptive => "adaptive",
        }
    }
}

impl Named for Thinking {
    fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Budget, Self::Adaptive].into_iter().find(|thinking| thinking.as_str() == name)
    }
}

impl TomlText for Thinking {
    fn toml_text(&self) -> String {
        toml_text::string(self.as_str())
    }
}

impl ModelSource {
    /// Returns whether the model runs elsewhere.
    pub fn is_upstream(&self) -> bool {
        matches!(self, Self::Upstream { .. })
    }
}

/// One model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Where it runs.
    pub source: ModelSource,
    /// What it costs and where its bytes go.
    pub tier: Tier,
    /// How many tokens it can hold, prompt and answer together, when that is known.
    pub context_tokens: Option<u64>,
    /// What it charges; `None` means unpriced, which is not free.
    pub price: Option<Price>,
}

/// What was read of `[models]`.
#[derive(Debug, Default)]
pub(crate) struct Models {
    /// Those that are whole.
    pub(crate) good: BTreeMap<String, Model>,
    /// All names, also of those with mistakes.
    pub(crate) declared: BTreeSet<String>,
}

impl Models {
    /// Checks that a model of this name is declared.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), Problem> {
        if self.declared.contains(name) {
            return Ok(());
        }
        let mut problem = Problem::new(format!("names {}, which is not a model", value::quote(name)));
        problem.hint = suggestion(name, self.declared.iter().map(String::as_str))
            .or_else(|| Some(format!("describe it in [models.{}]", toml_text::key(name))));
        Err(problem)
    }
}

/// Reads `[models]`, and warns of upstreams that no model uses.
pub(crate) fn read(
    root: &mut Section<'_>,
    upstreams: &Upstreams,
    local: &Local,
    context: &Context<'_>,
) -> Models {
    let mut models = Models::default();
    let mut used = BTreeSet::new();
    for (name, section) in root.named_tables("models") {
        if let Err(problem) = check_name(&name) {
            section.log().problem(MistakeKind::BadValue, &section.own_spot(), problem);
        }
        let model = if section.has("file") || section.has("store") {
            read_file(section, local, context)
        } else {
            read_one(&name, section, upstreams, &mut used)
        };
        if let Some(model) = model {
            models.good.insert(name.clone(), model);
        }
        models.declared.insert(name);
    }
    for name in upstreams.declared.iter().filter(|name| !used.contains(*name)) {
        let message = format!("no model uses the upstream {}", value::quote(name));
        let hint = format!("add a model with upstream = {}", toml_text::string(name));
        root.log().plain_warning(
            MistakeKind::Unreachable,
            crate::origin::Place::Default,
            message,
            Some(hint),
        );
    }
    models
}

fn check_name(name: &str) -> Result<(), Problem> {
    if name.is_empty() || name.len() > 128 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Problem::new("has a name that callers cannot say")
            .hint("use 1 to 128 visible ASCII characters; give the upstream's own name in `name`"));
    }
    match name {
        "auto" => {
            Err(Problem::new("takes the name that stands for `routing.ladder`").hint("rename the model"))
        }
        "student" => {
            Err(Problem::new("takes the word that ladders use for a task's student").hint("rename the model"))
        }
        _ if name.starts_with("task/") => {
            Err(Problem::new("begins with `task/`, which calls a task").hint("rename the model"))
        }
        _ => Ok(()),
    }
}

fn read_one(
    key: &str,
    mut section: Section<'_>,
    upstreams: &Upstreams,
    used: &mut BTreeSet<String>,
) -> Option<Model> {
    let upstream = section.required("upstream", value::text);
    let name = section.or("name", key.to_owned(), value::filled_text(256));
    let known = upstream.as_ref().and_then(|upstream| upstreams.good.get(&upstream.value));
    let is_here = known.is_some_and(|upstream| upstream.kind.is_some() && upstream.host_is_loopback);
    let is_passed_on = known.is_some_and(passes_on_clouds) && is_cloud_name(&name.value);
    let tier = match is_here && !is_passed_on {
        // An engine on this machine sends nothing away, but for what Ollama passes on.
        true => Some(section.or("tier", Tier::Local, value::word(TIERS))),
        false => section.required("tier", value::word(TIERS)),
    };
    let context_tokens = section.optional("context_tokens", value::whole(1..=100_000_000_u64));
    let messages = known
        .is_some_and(|upstream| upstream.dialect == Dialect::Anthropic)
        .then(|| read_messages(&mut section));
    let is_priced = section.has("price");
    let dialect = known.map(|upstream| upstream.dialect);
    let price = section.optional_table("price").and_then(|section| price::read(section, dialect));
    let log = section.log();
    if let Some(tier) = tier.as_ref().filter(|tier| is_passed_on && tier.value == Tier::Local) {
        let text =
            "is `local`, which sees every label, but is one of Ollama's cloud models, which run elsewhere";
        log.problem(MistakeKind::Conflict, &tier.spot, Problem::new(text).hint("choose another tier"));
    }
    if let Some(upstream) = &upstream {
        check_upstream(upstream, tier.as_ref(), upstreams, log);
        used.insert(upstream.value.clone());
    }
    if let Some(tier) = tier.as_ref().filter(|tier| tier.value != Tier::Local && !is_priced) {
        let problem = Problem::new(format!("is on the {} tier and has no price", tier.value));
        let problem = Problem {
            message: format!("{}: what it costs is not counted", problem.message),
            ..problem
        }
        .hint(
            "add price = { input = .., output = .., as_of = \"YYYY-MM-DD\" }, in dollars per million tokens",
        );
        log.warn(MistakeKind::Missing, &section.own_spot(), problem);
    }
    section.finish();
    if is_priced && price.is_none() {
        return None;
    }
    let source = ModelSource::Upstream { upstream: upstream?.value, name: name.value, messages };
    Some(Model {
        source,
        tier: tier?.value,
        context_tokens: context_tokens.map(|tokens| tokens.value),
        price,
    })
}

/// Returns whether an upstream is Ollama, or may be, whose cloud models run elsewhere.
const fn passes_on_clouds(upstream: &Upstream) -> bool {
    matches!(upstream.kind, Some(EngineKind::Ollama | EngineKind::Auto))
}

/// Returns whether a name is one that Ollama always passes on, such as `gpt-oss:120b-cloud`. Others are asked for when
/// they are needed.
fn is_cloud_name(model: &str) -> bool {
    model.rsplit_once(':').is_some_and(|(_, tag)| tag == "cloud" || tag.ends_with("-cloud"))
}

fn read_messages(section: &mut Section<'_>) -> MessagesTraits {
    let output_tokens = section.or("output_tokens", 4_096, value::whole(1..=1_000_000_u32)).value;
    let thinking = section.or("thinking", Thinking::Budget, value::word(THINKING)).value;
    MessagesTraits { output_tokens, thinking }
}

/// Reads a model that runs in this process: local, and free.
fn read_file(mut section: Section<'_>, local: &Local, context: &Context<'_>) -> Option<Model> {
    let stored = section.optional("store", value::filled_text(256));
    let path = task::file(&mut section, "file", context);
    let kv_tokens = section.optional("kv_tokens", value::whole(64..=100_000_000_usize));
    let adapter = task::file(&mut section, "adapter", context);
    let keep_alive = section.or("keep_alive", local.keep_alive, keep_alive);
    let preload = section.or("preload", false, value::boolean);
    let context_tokens = section.optional("context_tokens", value::whole(1..=100_000_000_u64));
    let from = if stored.is_some() { "store" } else { "file" };
    for key in ["file", "upstream", "name", "tier", "price"] {
        if key != from && section.has(key) {
            let problem = Problem::new(format!("has a `{from}` and a `{key}`"))
                .hint("a model from a file runs here: it is local and free; leave the other key out");
            section.log().problem(MistakeKind::Conflict, &section.own_spot(), problem);
        }
    }
    section.finish();
    let (keep_alive, preload) = (keep_alive.value, preload.value);
    let (kv_tokens, adapter) = (kv_tokens.map(|tokens| tokens.value), adapter.map(|adapter| adapter.value));
    let source = match stored {
        Some(name) => ModelSource::Stored { name: name.value, kv_tokens, adapter, keep_alive, preload },
        None => ModelSource::File { path: path?.value, kv_tokens, adapter, keep_alive, preload },
    };
    Some(Model {
        source,
        tier: Tier::Local,
        context_tokens: context_tokens.map(|tokens| tokens.value),
        price: None,
    })
}

fn check_upstream(name: &Found<String>, tier: Option<&Found<Tier>>, upstreams: &Upstreams, log: &Log<'_>) {
    if !upstreams.declared.contains(&name.value) {
        let mut problem =
            Problem::new(format!("names {}, which is not an upstream", value::quote(&name.value)));
        problem.hint = suggestion(&name.value, upstreams.declared.iter().map(String::as_str))
            .or_else(|| Some("describe where it runs in [upstreams.NAME]".to_owned()));
        return log.problem(MistakeKind::Unreachable, &name.spot, problem);
    }
    let (Some(upstream), Some(tier)) = (upstreams.good.get(&name.value), tier) else { return };
    if tier.value == Tier::Local && upstream.is_proxied {
        let text = "is `local`, which sees every label, but its upstream is reached through a proxy";
        let problem = Problem::new(text).hint(format!(
            "set proxy = \"none\" in [upstreams.{}], or choose another tier",
            toml_text::key(&name.value)
        ));
        log.problem(MistakeKind::Conflict, &tier.spot, problem);
    }
    if tier.value == Tier::Local && !upstream.host_is_private && !upstream.trusted {
        let text = "is `local`, which sees every label, but its upstream's host is not recognisably private";
        let problem = Problem::new(text).hint(format!(
            "use an upstream on localhost or a private address, set trusted = true in [upstreams.{}] when that host \
             is yours, or choose another tier",
            toml_text::key(&name.value)
        ));
        log.problem(MistakeKind::Conflict, &tier.spot, problem);
    }
}
