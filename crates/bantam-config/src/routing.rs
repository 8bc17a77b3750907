//! `[routing]`: what `auto` stands for, and what savings are measured against.

use bantam_types::Tier;

use crate::MistakeKind;
use crate::ladder::{self, Rung};
use crate::log::Problem;
use crate::model::Models;
use crate::origin::Place;
use crate::section::Section;
use crate::server::values;
use crate::value;

/// The longest name that a caller may use.
const NAME_BYTES_MAX: usize = 256;

/// What routing needs to know beyond the tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// The models that `auto` tries, smallest first; empty means that there is no `auto`.
    pub ladder: Vec<String>,
    /// Names that callers may go on using and that mean `auto`.
    pub auto_names: Vec<String>,
    /// The model that savings are measured against; `None` when no frontier model has a price.
    pub baseline: Option<String>,
}

/// Reads `[routing]`; the flag says whether its ladder was read without a mistake.
pub(crate) fn read(root: &mut Section<'_>, models: &Models) -> (Routing, bool) {
    let mut section = root.table("routing");
    let (ladder, is_whole) = read_ladder(&mut section, models);
    let auto_names = read_auto_names(&mut section, models);
    let baseline = baseline(&mut section, models);
    section.finish();
    (Routing { ladder, auto_names, baseline }, is_whole)
}

/// Reads the names that stand for `auto`: none may already mean something else.
fn read_auto_names(section: &mut Section<'_>, models: &Models) -> Vec<String> {
    let log = section.log();
    let names = section.items_or_none("auto_names", |text| value::filled(text, NAME_BYTES_MAX));
    for name in &names {
        let quoted = value::quote(&name.value);
        let meaning = if models.declared.contains(&name.value) {
            "is also the name of a model, which a caller would no longer reach"
        } else if name.value == "auto" || name.value.starts_with("task/") {
            "already has a meaning of its own"
        } else {
            continue;
        };
        let problem = Problem::new(format!("{quoted} {meaning}")).hint(
            "call the model's table something else and keep its `name`: [models.large] with name = \"gpt-5\"",
        );
        log.problem(MistakeKind::Conflict, &name.spot, problem);
    }
    values(names)
}

fn read_ladder(section: &mut Section<'_>, models: &Models) -> (Vec<String>, bool) {
    let log = section.log();
    let mistakes = log.count();
    let rungs = section.items_or_none("ladder", ladder::rung);
    ladder::check(&rungs, models, log);
    for rung in rungs.iter().filter(|rung| rung.value == Rung::Student) {
        let problem = Problem::new("names `student`, but students belong to tasks")
            .hint("remove it: a task's own student comes before this ladder by itself");
        log.problem(MistakeKind::Unreachable, &rung.spot, problem);
    }
    let name = |rung| match rung {
        Rung::Model(name) => Some(name),
        Rung::Student => None,
    };
    let names: Vec<String> = values(rungs).into_iter().filter_map(name).collect();
    (names, log.count() == mistakes)
}

fn baseline(section: &mut Section<'_>, models: &Models) -> Option<String> {
    if section.has("baseline") {
        let found = section.optional("baseline", value::text)?;
        match models.check_name(&found.value) {
            Err(problem) => section.log().problem(MistakeKind::Unreachable, &found.spot, problem),
            Ok(()) if models.good.get(&found.value).is_some_and(|model| model.price.is_none()) => {
                let text = format!(
                    "names {}, which has no price: savings cannot be told",
                    value::quote(&found.value)
                );
                let problem =
                    Problem::new(text).hint("give that model a `price`, or measure against another");
                section.log().warn(MistakeKind::Conflict, &found.spot, problem);
            }
            Ok(()) => {}
        }
        return Some(found.value);
    }
    // Asked for although absent, so that the key is known.
    let _ = section.optional("baseline", value::text);
    let dearest = dearest_frontier_model(models);
    match &dearest {
        Some(name) => section.default_is("baseline", name),
        None if models.good.values().any(|model| model.tier == Tier::Frontier) => {
            let message = "no frontier model has a price: savings cannot be told".to_owned();
            let hint = "give one a `price`, or name a priced model as `routing.baseline`".to_owned();
            section.log().plain_warning(MistakeKind::Missing, Place::Default, message, Some(hint));
        }
        None => {}
    }
    dearest
}

/// Returns the frontier model whose input and output tokens together cost most; the first of equals.
fn dearest_frontier_model(models: &Models) -> Option<String> {
    let mut dearest: Option<(u64, &String)> = None;
    for (name, model) in models.good.iter().filter(|(_, model)| model.tier == Tier::Frontier) {
        let Some(price) = &model.price else { continue };
        let rates = &price.standard.base;
        let cost = rates.input.micros().saturating_add(rates.output.micros());
        if dearest.is_none_or(|(most, _)| cost > most) {
            dearest = Some((cost, name));
        }
    }
    dearest.map(|(_, name)| name.clone())
}
