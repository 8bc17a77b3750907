//! The benchmark's cases, their figures and targets.

/// How the gateway is set up while a case runs. Each setup runs in its own process, so that peak memory is separate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// Has no task and no student: every request goes to the upstream.
    PassThrough,
    /// Has two tasks with certified students: no request goes to the upstream.
    Local,
}

impl Setup {
    /// Returns its name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::PassThrough => "pass-through",
            Self::Local => "local",
        }
    }
}

/// The requests that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// A prompt of this length for the upstream's model.
    Prompt { bytes: usize },
    /// The same prompt, with a streamed answer.
    Stream { bytes: usize },
    /// Texts of this task that its certified student accepts.
    Task(&'static str),
}

/// One case: a load and the figures taken from it.
#[derive(Debug, PartialEq)]
pub(crate) struct Case {
    /// Its name in reports and flags.
    pub(crate) name: &'static str,
    pub(crate) setup: Setup,
    /// The number of concurrent connections; each sends its next request as soon as it has its answer.
    pub(crate) connections: usize,
    pub(crate) workload: Workload,
    pub(crate) figures: &'static [Figure],
}

/// A figure taken from a case's rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) quantity: Quantity,
    pub(crate) target: Option<Target>,
}

/// What a figure measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// The median time to the whole answer, or to a stream's first chunk.
    P50,
    /// The 99th percentile of that time.
    P99,
    /// Answers per second.
    Rate,
    /// CPU seconds per 1,000 answers, including the ledger's work.
    Cpu,
}

/// The target of a figure. Targets for times apply to what the gateway adds, if the case was also
/// measured directly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    /// Returns whether `value` meets the target.
    pub(crate) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

/// The target for the peak memory of a pass-through gateway, in MB.
pub(crate) const MEMORY_TARGET: Target = Target::AtMost(35.0);

const fn figure(quantity: Quantity) -> Figure {
    Figure { quantity, target: None }
}

const fn targeted(quantity: Quantity, target: Target) -> Figure {
    Figure { quantity, target: Some(target) }
}

const PROMPT: Workload = Workload::Prompt { bytes: 200 };
const LATENCY: &[Figure] = &[figure(Quantity::P50), figure(Quantity::P99)];
const LOCAL: &[Figure] = &[targeted(Quantity::Rate, Target::AtLeast(8000.0)), figure(Quantity::Cpu)];

/// Every case, in the order in which they run.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "c1",
        setup: Setup::PassThrough,
        connections: 1,
        workload: PROMPT,
        figures: &[targeted(Quantity::P50, Target::AtMost(0.2)), figure(Quantity::P99)],
    },
    Case {
        name: "c64",
        setup: Setup::PassThrough,
        connections: 64,
        workload: PROMPT,
        figures: &[
            targeted(Quantity::Rate, Target::AtLeast(10_000.0)),
            targeted(Quantity::Cpu, Target::AtMost(0.10)),
        ],
    },
    Case {
        name: "sse16",
        setup: Setup::PassThrough,
        connections: 16,
        workload: Workload::Stream { bytes: 200 },
        figures: &[
            targeted(Quantity::P50, Target::AtMost(0.6)),
            figure(Quantity::P99),
            figure(Quantity::Cpu),
        ],
    },
    Case {
        name: "big16",
        setup: Setup::PassThrough,
        connections: 16,
        workload: Workload::Prompt { bytes: 10 * 1024 },
        figures: &[figure(Quantity::Rate), figure(Quantity::Cpu)],
    },
    Case {
        name: "local1",
        setup: Setup::Local,
        connections: 1,
        workload: Workload::Task("narrow"),
        figures: LATENCY,
    },
    Case {
        name: "local64",
        setup: Setup::Local,
        connections: 64,
        workload: Workload::Task("narrow"),
        figures: LOCAL,
    },
    Case {
        name: "wide1",
        setup: Setup::Local,
        connections: 1,
        workload: Workload::Task("wide"),
        figures: LATENCY,
    },
    Case {
        name: "wide64",
        setup: Setup::Local,
        connections: 64,
        workload: Workload::Task("wide"),
        figures: LOCAL,
    },
];

/// Returns the case with this name, or an error that lists the names.
pub(crate) fn find(name: &str) -> Result<&'static Case, String> {
    CASES.iter().find(|case| case.name == name).ok_or_else(|| {
        let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        format!("unknown case `{name}`; the cases are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_at_its_limit_and_never_by_nan() {
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
