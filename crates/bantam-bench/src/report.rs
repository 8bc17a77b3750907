//! The report: an aligned table, or JSON with every round.

use serde_json::{Value, json};

use crate::case::{Case, Figure, MEMORY_TARGET, Quantity, Setup, Target};
use crate::machine::Machine;
use crate::measure::Measured;
use crate::statistics::{median, spread};

/// How many cores other processes may use before they distort the figures.
const OTHERS_CORES_MAX: f64 = 0.1;

/// A case's measurements, one per round and side.
pub(crate) struct Rounds {
    case: &'static Case,
    pub(crate) direct: Vec<Measured>,
    pub(crate) gateway: Vec<Measured>,
}

impl Rounds {
    pub(crate) const fn new(case: &'static Case) -> Self {
        Self { case, direct: Vec::new(), gateway: Vec::new() }
    }
}

/// One line of the table.
struct Row {
    case: String,
    figure: &'static str,
    decimals: usize,
    direct: Vec<f64>,
    gateway: Vec<f64>,
    /// How the gateway compares with the direct measurement, if there is one.
    compared: Option<Comparison>,
    target: Option<Target>,
}

enum Comparison {
    /// The difference per round.
    Added(Vec<f64>),
    /// The quotient per round.
    Ratio(Vec<f64>),
}

impl Row {
    /// Returns the values that the target applies to.
    fn targeted(&self) -> &[f64] {
        match &self.compared {
            Some(Comparison::Added(added)) => added,
            _ => &self.gateway,
        }
    }

    fn is_met(&self) -> Option<bool> {
        self.target.map(|target| target.is_met(median(self.targeted())))
    }
}

/// All results of a run.
#[derive(Default)]
pub(crate) struct Report {
    heading: Vec<String>,
    rows: Vec<Row>,
    facts: Vec<String>,
    problems: Vec<String>,
}

impl Report {
    pub(crate) fn new(machine: &Machine, rounds: u32, seconds: f64) -> Self {
        let heading = vec![
            format!("bantam {}, {} × {}", machine.commit, machine.cores.len(), machine.processor),
            format!("{}; medians of {rounds} rounds of {seconds} s per case and side", machine.pinning),
        ];
        Self { heading, ..Self::default() }
    }

    /// Returns whether every check passed. Targets are not checks.
    pub(crate) const fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    pub(crate) fn fact(&mut self, fact: String) {
        self.facts.push(fact);
    }

    /// Adds how many cores other processes used on average while a setup was measured.
    pub(crate) fn add_others(&mut self, setup: Setup, cores: f64) {
        let setup = setup.name();
        let remark = if cores > OTHERS_CORES_MAX { ": the machine was busy, measure again" } else { "" };
        self.facts.push(format!("{setup}: other processes used {cores:.2} cores{remark}"));
    }

    /// Adds a case.
    pub(crate) fn add(&mut self, rounds: Rounds) {
        let rows = rounds.case.figures.iter().map(|figure| row(&rounds, *figure));
        self.rows.extend(rows);
    }

    /// Adds the peak memory of a setup's gateway.
    pub(crate) fn add_memory(&mut self, setup: Setup, megabytes: f64) {
        self.rows.push(Row {
            case: setup.name().to_owned(),
            figure: "peak memory, MB",
            decimals: 1,
            direct: Vec::new(),
            gateway: vec![megabytes],
            compared: None,
            // The target is for a gateway without students, as in the comparison with other gateways.
            target: (setup == Setup::PassThrough).then_some(MEMORY_TARGET),
        });
    }

    /// Returns the report as text.
    pub(crate) fn to_text(&self) -> String {
        let mut table = vec![
            ["case", "figure", "direct", "gateway", "added/ratio", "spread", "target"].map(str::to_owned),
        ];
        table.extend(self.rows.iter().map(cells));
        let mut lines = self.heading.clone();
        lines.push(String::new());
        lines.extend(aligned(&table));
        lines.push(String::new());
        lines.extend(self.facts.iter().cloned());
        lines.extend(self.problems.iter().map(|problem| format!("problem: {problem}")));
        lines.push(if self.is_sound() { "every check passed" } else { "checks failed" }.to_owned());
        lines.join("\n")
    }

    /// Returns the report as JSON.
    pub(crate) fn to_json(&self) -> String {
        let rows: Vec<Value> = self.rows.iter().map(row_json).collect();
        json!({
            "heading": self.heading, "figures": rows, "facts": self.facts, "problems": self.problems,
            "sound": self.is_sound(),
        })
        .to_string()
    }
}

fn row(rounds: &Rounds, Figure { quantity, target }: Figure) -> Row {
    let is_stream = matches!(rounds.case.workload, crate::case::Workload::Stream { .. });
    let (figure, decimals) = match (quantity, is_stream) {
        (Quantity::P50, false) => ("p50, ms", 3),
        (Quantity::P99, false) => ("p99, ms", 3),
        (Quantity::P50, true) => ("first chunk p50, ms", 3),
        (Quantity::P99, true) => ("first chunk p99, ms", 3),
        (Quantity::Rate, _) => ("requests/s", 0),
        (Quantity::Cpu, _) => ("CPU s per 1,000", 3),
    };
    let values = |side: &[Measured]| -> Vec<f64> {
        let value = |measured: &Measured| match quantity {
            Quantity::P50 => Some(measured.p50_ms),
            Quantity::P99 => Some(measured.p99_ms),
            Quantity::Rate => Some(measured.rate),
            Quantity::Cpu => measured.cpu_s_per_1000,
        };
        side.iter().filter_map(value).collect()
    };
    let (direct, gateway) = (values(&rounds.direct), values(&rounds.gateway));
    let pairs = gateway.iter().zip(&direct);
    let compared = match quantity {
        _ if direct.is_empty() => None,
        Quantity::Rate => Some(Comparison::Ratio(pairs.map(|(ours, mock)| ours / mock).collect())),
        _ => Some(Comparison::Added(pairs.map(|(ours, mock)| ours - mock).collect())),
    };
    Row { case: rounds.case.name.to_owned(), figure, decimals, direct, gateway, compared, target }
}

fn cells(row: &Row) -> [String; 7] {
    let decimals = row.decimals;
    let shown = |values: &[f64]| match values {
        [] => "-".to_owned(),
        values => format!("{:.decimals$}", median(values)),
    };
    let compared = match &row.compared {
        None => "-".to_owned(),
        Some(Comparison::Added(added)) => format!("{:+.decimals$}", median(added)),
        Some(Comparison::Ratio(ratio)) => format!("×{:.2}", median(ratio)),
    };
    let (low, high) = spread(row.targeted());
    let target = match (row.target, row.is_met()) {
        (Some(target), Some(is_met)) => {
            let (sign, limit) = match target {
                Target::AtMost(limit) => ('≤', limit),
                Target::AtLeast(limit) => ('≥', limit),
            };
            format!("{sign} {limit} {}", if is_met { "met" } else { "missed" })
        }
        _ => "-".to_owned(),
    };
    [
        row.case.clone(),
        row.figure.to_owned(),
        shown(&row.direct),
        shown(&row.gateway),
        compared,
        format!("{low:.decimals$} to {high:.decimals$}"),
        target,
    ]
}

fn row_json(row: &Row) -> Value {
    let (added, ratio) = match &row.compared {
        Some(Comparison::Added(added)) => (Some(added), None),
        Some(Comparison::Ratio(ratio)) => (None, Some(ratio)),
        None => (None, None),
    };
    let (at_most, at_least) = match row.target {
        Some(Target::AtMost(limit)) => (Some(limit), None),
        Some(Target::AtLeast(limit)) => (None, Some(limit)),
        None => (None, None),
    };
    json!({
        "case": row.case, "figure": row.figure,
        "direct": row.direct, "gateway": row.gateway, "added": added, "ratio": ratio,
        "median": median(row.targeted()), "at_most": at_most, "at_least": at_least, "met": row.is_met(),
    })
}

/// Pads columns to equal width: the first two and the target left-aligned, figures right-aligned.
fn aligned<const COLUMNS: usize>(table: &[[String; COLUMNS]]) -> Vec<String> {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let lengths = table.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count()));
        lengths.max().unwrap_or(0)
    });
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            let is_text = column < 2 || column + 1 == COLUMNS;
            if is_text { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    table.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::find;

    fn measured(ms: f64, rate: f64, cpu: Option<f64>) -> Measured {
        Measured { p50_ms: ms, p99_ms: ms * 2.0, rate, cpu_s_per_1000: cpu }
    }

    #[test]
    fn the_table_shows_medians_of_paired_measurements() {
        let mut report = Report::default();
        let mut c1 = Rounds::new(find("c1").unwrap());
        c1.direct = [0.1, 0.3, 0.2].map(|ms| measured(ms, 100.0, None)).to_vec();
        c1.gateway = [0.2, 0.5, 0.5].map(|ms| measured(ms, 50.0, Some(0.1))).to_vec();
        report.add(c1);
        let mut c64 = Rounds::new(find("c64").unwrap());
        c64.direct = vec![measured(0.5, 60_000.0, None)];
        c64.gateway = vec![measured(5.0, 12_000.0, Some(0.0812))];
        report.add(c64);
        report.add_memory(Setup::PassThrough, 36.04);
        report.fact("a fact".to_owned());
        let expected = "
case          figure           direct  gateway  added/ratio          spread  target
c1            p50, ms           0.200    0.500       +0.200  0.100 to 0.300  ≤ 0.2 met
c1            p99, ms           0.400    1.000       +0.400  0.200 to 0.600  -
c64           requests/s        60000    12000        ×0.20  12000 to 12000  ≥ 10000 met
c64           CPU s per 1,000       -    0.081            -  0.081 to 0.081  ≤ 0.1 met
pass-through  peak memory, MB       -     36.0            -    36.0 to 36.0  ≤ 35 missed

a fact
every check passed";
        assert_eq!(report.to_text(), expected);
    }

    #[test]
    fn a_problem_makes_a_run_unsound_and_a_missed_target_does_not() {
        let mut report = Report::default();
        report.add_memory(Setup::PassThrough, 99.0);
        assert!(report.is_sound());
        let json: Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!((&json["figures"][0]["met"], &json["sound"]), (&json!(false), &json!(true)));
        report.problem("1 request is missing".to_owned());
        assert!(!report.is_sound());
        assert!(report.to_text().ends_with("problem: 1 request is missing\nchecks failed"));
    }
}
