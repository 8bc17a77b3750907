//! Whether a backend honours what a call asks for: one table a backend, from which requests are refused and the
//! reference is written.
//!
//! A backend must never ignore a parameter in silence. So its table says for every [`Feature`] one of three things: the
//! answer is what was asked for, the feature has no effect on any answer by its own specification, or the request is
//! refused by the parameter's name.

mod reference;

pub use reference::{Column, parameters_markdown};

use std::borrow::Cow;

use crate::call::Call;
use crate::feature::Feature;

/// What a backend does about a feature.
#[derive(Clone, Copy, Debug)]
pub enum Support {
    /// The answer is what the call asks for. The words say how, where that is not plain; else they are empty.
    Honoured(&'static str),
    /// Honoured for the calls that pass the test, refused for others. The words say for which: "only …".
    Only(&'static str, fn(&Call) -> bool),
    /// Accepted and not used: by its specification it has no effect on the answer. The words say why.
    NoEffect(&'static str),
    /// Refused. The words say why.
    Refused(&'static str),
}

/// What several tables say in the same words.
impl Support {
    /// The feature says who asks.
    pub const IDENTIFIES_CALLER: Self = Self::NoEffect("it identifies the caller's user");
    /// The feature is about a store, and there is none.
    pub const TAGS_STORED_ANSWER: Self = Self::NoEffect("it tags a stored answer, and nothing is stored");
    /// The feature is about a cache.
    pub const CHOOSES_CACHE: Self = Self::NoEffect("it says which cache to look in, not what to answer");
    /// The feature is a parameter that is no part of the API, and the upstream lists those that it takes.
    pub const LISTED_FIELDS: Self = Self::Honoured("where the upstream lists them in `fields`");
    /// The feature asks for a store, and there is none.
    pub const STORES_ANSWER: Self =
        Self::NoEffect("it lets the provider keep the answer, and nothing is kept");
    /// The feature is about queues, and there is one.
    pub const CHOOSES_QUEUE: Self = Self::NoEffect("it chooses among a provider's queues, and there is one");
}

/// A feature that a call asks for and a backend cannot honour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Which.
    pub feature: Feature,
    /// Why, in a few words of our own; where the caller's own words matter, by their place in the body.
    pub reason: Cow<'static, str>,
}

impl Unsupported {
    /// Returns what refuses `feature` for that reason.
    pub fn new(feature: Feature, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { feature, reason: reason.into() }
    }
}

/// Returns the first feature of `call` that a backend with this table refuses.
pub fn refusal(call: &Call, support: impl Fn(Feature) -> Support) -> Option<Unsupported> {
    call.features()
        .iter()
        .find_map(|feature| Some(Unsupported::new(feature, refused(call, support(feature))?)))
}

/// The same for a backend that reads calls in their neutral form: it also refuses values that have none, such as a
/// tool of an unknown kind, unless they have no effect, and what stands inside of messages and tools that it would
/// leave out.
pub fn refusal_of_typed(call: &Call, support: impl Fn(Feature) -> Support) -> Option<Unsupported> {
    let unread = || {
        let mut unread = call.settings().unread;
        if call.has_other_tool_calls() {
            unread.insert(Feature::OtherToolCalls);
        }
        unread.iter().find_map(|feature| {
            let reason = match support(feature) {
                Support::NoEffect(_) => return None,
                Support::Honoured(_) | Support::Only(..) => "its value has a form that is not known here",
                Support::Refused(reason) => reason,
            };
            Some(Unsupported::new(feature, reason))
        })
    };
    let inner = || {
        call.settings().inner.iter().find_map(|member| {
            let reason = refused(call, support(member.feature))?;
            Some(Unsupported::new(member.feature, format!("`{}`: {reason}", member.path)))
        })
    };
    refusal(call, &support).or_else(unread).or_else(inner)
}

/// Returns why a backend refuses a feature of `call`, where it does.
fn refused(call: &Call, support: Support) -> Option<&'static str> {
    match support {
        Support::Honoured(_) | Support::NoEffect(_) => None,
        Support::Only(_, passes) if passes(call) => None,
        Support::Only(reason, _) | Support::Refused(reason) => Some(reason),
    }
}
