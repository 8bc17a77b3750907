//! What is measured: the cases, their figures and the targets.

/// What the gateway is while a case runs. Each has a process of its own, so that its peak memory is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No task, no student: every request goes to the upstream.
    PassThrough,
    /// Two tasks with certified students: no request goes to the upstream.
    Local,
}

impl Stage {
    /// Returns its name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::PassThrough => "pass-through",
            Self::Local => "local",
        }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A prompt of so many bytes for the upstream's model.
    Prompt { bytes: usize },
    /// The same as a stream.
    Stream { bytes: usize },
    /// Texts of a task whose student is certified and sure of them.
    Task(&'static str),
}

/// One case: a load and what is read from it.
#[derive(Debug, PartialEq)]
pub(crate) struct Case {
    /// Its name in reports and flags.
    pub(crate) name: &'static str,
    pub(crate) stage: Stage,
    /// How many connections ask at a time, each as soon as it has its answer.
    pub(crate) connections: usize,
    pub(crate) ask: Ask,
    pub(crate) figures: &'static [Figure],
}

/// Something that is read from a case's rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) quantity: Quantity,
    pub(crate) target: Option<Target>,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// The median time to the whole answer, or to a stream's first chunk.
    P50,
    /// The 99th percentile of it.
    P99,
    /// Answers a second.
    Rate,
    /// Seconds of processor for 1,000 answers, the ledger's own work included.
    Cpu,
}

/// What is promised of a figure. Of times the promise is about what the gateway adds, where there is
/// something to add to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    /// Returns whether `value` keeps the promise.
    pub(crate) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

/// The largest peak memory of a gateway that passes through, in MB.
pub(crate) const MEMORY_TARGET: Target = Target::AtMost(35.0);

const fn figure(quantity: Quantity) -> Figure {
    Figure { quantity, target: None }
}

const fn promise(quantity: Quantity, target: Target) -> Figure {
    Figure { quantity, target: Some(target) }
}

const PROMPT: Ask = Ask::Prompt { bytes: 200 };
const LATENCY: &[Figure] = &[figure(Quantity::P50), figure(Quantity::P99)];
const LOCAL: &[Figure] = &[promise(Quantity::Rate, Target::AtLeast(8000.0)), figure(Quantity::Cpu)];

/// Every case, in the order of running.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "c1",
        stage: Stage::PassThrough,
        connections: 1,
        ask: PROMPT,
        figures: &[promise(Quantity::P50, Target::AtMost(0.2)), figure(Quantity::P99)],
    },
    Case {
        name: "c64",
        stage: Stage::PassThrough,
        connections: 64,
        ask: PROMPT,
        figures: &[
            promise(Quantity::Rate, Target::AtLeast(10_000.0)),
            promise(Quantity::Cpu, Target::AtMost(0.10)),
        ],
    },
    Case {
        name: "sse16",
        stage: Stage::PassThrough,
        connections: 16,
        ask: Ask::Stream { bytes: 200 },
        figures: &[promise(Quantity::P50, Target::AtMost(0.6)), figure(Quantity::P99), figure(Quantity::Cpu)],
    },
    Case {
        name: "big16",
        stage: Stage::PassThrough,
        connections: 16,
        ask: Ask::Prompt { bytes: 10 * 1024 },
        figures: &[figure(Quantity::Rate), figure(Quantity::Cpu)],
    },
    Case { name: "local1", stage: Stage::Local, connections: 1, ask: Ask::Task("narrow"), figures: LATENCY },
    Case { name: "local64", stage: Stage::Local, connections: 64, ask: Ask::Task("narrow"), figures: LOCAL },
    Case { name: "wide1", stage: Stage::Local, connections: 1, ask: Ask::Task("wide"), figures: LATENCY },
    Case { name: "wide64", stage: Stage::Local, connections: 64, ask: Ask::Task("wide"), figures: LOCAL },
];

/// Returns the case of this name, or says which there are.
pub(crate) fn find(name: &str) -> Result<&'static Case, String> {
    CASES.iter().find(|case| case.name == name).ok_or_else(|| {
        let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        format!("there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_holds_at_its_limit_and_never_for_no_number() {
        let check = |target: Target, value: f64, expected: bool| {
            assert_eq!(target.is_met(value), expected, "{target:?} {value}");
        };
        check(Target::AtMost(0.2), 0.2, true);
        check(Target::AtMost(0.2), 0.21, false);
        check(Target::AtLeast(8000.0), 8000.0, true);
        check(Target::AtLeast(8000.0), 7999.0, false);
        check(Target::AtMost(0.2), f64::NAN, false);
        check(Target::AtLeast(8000.0), f64::NAN, false);
    }
}
