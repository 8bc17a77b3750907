//! Ladders: what is asked first, and what next.

use bantam_types::Tier;

use crate::log::{Log, Problem};
use crate::model::Models;
use crate::origin::Found;
use crate::toml_text::{self, TomlText};
use crate::{MistakeKind, value};

/// The word that stands for a task's own student.
const STUDENT: &str = "student";

/// One rung of a ladder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rung {
    /// The task's own student.
    Student,
    /// A model of the configuration, by its key.
    Model(String),
}

impl Rung {
    /// Returns the rung's name as it stands in a ladder.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Student => STUDENT,
            Self::Model(name) => name,
        }
    }

    /// Returns the tier that the rung runs on; `None` when its model has a mistake.
    pub(crate) fn tier(&self, models: &Models) -> Option<Tier> {
        match self {
            Self::Student => Some(Tier::Local),
            Self::Model(name) => models.good.get(name).map(|model| model.tier),
        }
    }
}

impl TomlText for Rung {
    fn toml_text(&self) -> String {
        toml_text::string(self.as_str())
    }
}

/// Reads a rung.
pub(crate) fn rung(text: &str) -> Result<Rung, Problem> {
    let name = value::filled(text, 128)?;
    Ok(if name == STUDENT { Rung::Student } else { Rung::Model(name) })
}

/// Checks that every model is known and that tiers never go down: the cheaper rung belongs first, and a
/// request that left for a cloud has nothing to gain from coming back.
pub(crate) fn check(rungs: &[Found<Rung>], models: &Models, log: &Log<'_>) {
    let mut highest: Option<(Tier, &Rung)> = None;
    for rung in rungs {
        if let Rung::Model(name) = &rung.value
            && let Err(problem) = models.check_name(name)
        {
            log.problem(MistakeKind::Unreachable, &rung.spot, problem);
        }
        let Some(tier) = rung.value.tier(models) else { continue };
        match highest {
            Some((before, dearer)) if tier < before => {
                let (this, dearer) = (value::quote(rung.value.as_str()), value::quote(dearer.as_str()));
                let problem =
                    Problem::new(format!("goes down: {this} is {tier}, after {dearer}, which is {before}"))
                        .hint("order the rungs local, mid, frontier");
                log.problem(MistakeKind::Conflict, &rung.spot, problem);
            }
            _ => highest = Some((tier, &rung.value)),
        }
    }
}
