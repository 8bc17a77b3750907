//! Decides from facts about a request and its ladder which rungs may be tried.

use bantam_types::{Label, Tier};

/// What a rung is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RungKind {
    /// The task's student.
    Student,
    /// A model behind an upstream.
    Model,
}

/// Everything that planning needs to know about one rung, for one request.
#[derive(Clone, Copy, Debug)]
pub struct RungFacts<'a> {
    /// The rung's name in the configuration.
    pub name: &'a str,
    /// Where its bytes go.
    pub tier: Tier,
    /// What it is.
    pub kind: RungKind,
    /// The most tokens it takes, prompt and answer together, if known.
    pub context_tokens: Option<u64>,
    /// Whether it counts a prompt's tokens itself, and refuses those that are too many.
    pub counts_tokens: bool,
    /// The first parameter of the request that it cannot honour.
    pub cannot_honour: Option<&'a str>,
    /// Whether the privacy policy lets this request's label reach its tier.
    pub may_see: bool,
    /// Whether it currently takes calls: false while its circuit breaker is open.
    pub available: bool,
}

/// By how much an estimate has to exceed a context until a rung that counts itself is skipped: beyond it, every token
/// would have to stand for 128 bytes.
const BEYOND_DOUBT: u64 = 32;

impl RungFacts<'_> {
    /// Returns whether a prompt of about that many tokens is kept away from it.
    fn is_too_long(&self, prompt_tokens: u64) -> bool {
        let factor = if self.counts_tokens { BEYOND_DOUBT } else { 1 };
        self.context_tokens.is_some_and(|context| prompt_tokens > context.saturating_mul(factor))
    }
}

/// Why a rung is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The request is more sensitive than the rung's tier allows.
    LabelForbids {
        /// The request's label.
        label: Label,
        /// The rung's tier.
        tier: Tier,
    },
    /// The prompt does not fit, as far as can be told without the model's tokenizer.
    TooLong {
        /// Estimated tokens of the prompt.
        prompt_tokens: u64,
        /// Tokens that the rung takes.
        context_tokens: u64,
    },
    /// It cannot honour a parameter.
    CannotHonour {
        /// The parameter.
        param: String,
    },
    /// It failed too often recently.
    Unavailable,
}

impl std::fmt::Display for SkipReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LabelForbids { label, tier } => {
                write!(f, "the request is {label}, which may not reach the {tier} tier")
            }
            Self::TooLong { prompt_tokens, context_tokens } => {
                write!(f, "about {prompt_tokens} prompt tokens do not fit its context of {context_tokens}")
            }
            Self::CannotHonour { param } => write!(f, "it cannot honour `{param}`"),
            Self::Unavailable => f.write_str("its circuit breaker is open"),
        }
    }
}

/// A skipped rung and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Index of the rung in the ladder, from 0.
    pub rung: usize,
    /// Why it is skipped.
    pub reason: SkipReason,
}

/// Which rungs are tried in which order, and why the others are skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Indices into the ladder, in the order they are tried.
    pub rungs: Vec<usize>,
    /// The other rungs, in ladder order.
    pub skipped: Vec<Skip>,
}

/// Plans one request over `ladder`, smallest rung first.
///
/// Privacy comes first: a rung that the label forbids is skipped for that reason even if it would not
/// fit anyway, so that an explanation never hides a policy.
pub fn plan(ladder: &[RungFacts<'_>], label: Label, prompt_tokens: u64) -> Plan {
    let mut plan = Plan::default();
    for (rung, facts) in ladder.iter().enumerate() {
        let reason = if !facts.may_see {
            SkipReason::LabelForbids { label, tier: facts.tier }
        } else if let Some(param) = facts.cannot_honour {
            SkipReason::CannotHonour { param: param.to_owned() }
        } else if let Some(context_tokens) = facts.context_tokens.filter(|_| facts.is_too_long(prompt_tokens))
        {
            SkipReason::TooLong { prompt_tokens, context_tokens }
        } else if !facts.available {
            SkipReason::Unavailable
        } else {
            plan.rungs.push(rung);
            continue;
        };
        plan.skipped.push(Skip { rung, reason });
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: RungFacts<'_> = RungFacts {
        name: "m",
        tier: Tier::Frontier,
        kind: RungKind::Model,
        context_tokens: Some(100),
        counts_tokens: false,
        cannot_honour: None,
        may_see: true,
        available: true,
    };

    fn check(rung: RungFacts<'_>, expected: Option<&str>) {
        let plan = plan(&[OPEN, rung], Label::Restricted, 100);
        let got = plan.skipped.first().map(|skip| skip.reason.to_string());
        assert_eq!(got.as_deref(), expected);
        assert_eq!(plan.rungs, if expected.is_some() { vec![0] } else { vec![0, 1] });
    }

    #[test]
    fn every_skipped_rung_has_a_reason_and_privacy_comes_first() {
        check(OPEN, None);
        check(
            RungFacts {
                may_see: false,
                available: false,
                cannot_honour: Some("n"),
                context_tokens: Some(1),
                ..OPEN
            },
            Some("the request is restricted, which may not reach the frontier tier"),
        );
        check(RungFacts { cannot_honour: Some("n"), ..OPEN }, Some("it cannot honour `n`"));
        check(
            RungFacts { context_tokens: Some(99), ..OPEN },
            Some("about 100 prompt tokens do not fit its context of 99"),
        );
        let counting = RungFacts { counts_tokens: true, ..OPEN };
        check(RungFacts { context_tokens: Some(99), ..counting }, None);
        check(
            RungFacts { context_tokens: Some(3), ..counting },
            Some("about 100 prompt tokens do not fit its context of 3"),
        );
        check(RungFacts { available: false, ..OPEN }, Some("its circuit breaker is open"));
        check(RungFacts { context_tokens: None, ..OPEN }, None);
    }
}
