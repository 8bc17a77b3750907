//! Rounds: every case directly and through the gateway, checked as it goes.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::case::{Ask, Case, Stage};
use crate::certified::Tasks;
use crate::gateway::{Bantam, Gateway};
use crate::load::{self, Expected, Load, Plan};
use crate::machine::{self, Machine};
use crate::mock::Mock;
use crate::note;
use crate::report::{Report, Rounds};
use crate::statistics::percentile;

/// The gateway is at rest when it used no more processor than this in [`REST_INTERVAL`].
const REST_SECONDS: f64 = 0.011;
const REST_INTERVAL: Duration = Duration::from_millis(200);
/// Looks for rest, at most.
const REST_LOOKS_MAX: u32 = 50;

/// What a bench works with.
pub(crate) struct Bench<'b> {
    pub(crate) mock: &'b Mock,
    pub(crate) machine: &'b Machine,
    pub(crate) tasks: Option<&'b Tasks>,
    pub(crate) duration: Duration,
    pub(crate) rounds: u32,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) rate: f64,
    /// Of the gateway only.
    pub(crate) cpu_s_per_1000: Option<f64>,
}

/// The gateway of a stage, and how often it was asked.
struct Asked {
    gateway: Gateway,
    requests: u64,
}

impl Bench<'_> {
    /// Starts a gateway, measures the stage's cases in every round, stops it and checks its ledger.
    pub(crate) fn stage(
        &self,
        stage: Stage,
        cases: &[&'static Case],
        bantam: &Bantam,
        folder: &Path,
        report: &mut Report,
    ) -> Result<(), String> {
        let config = folder.join(format!("{}.toml", stage.name()));
        std::fs::write(&config, self.config(stage)).map_err(|error| format!("cannot write: {error}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
        let mut asked = Asked { gateway: bantam.serve(&config, self.machine)?, requests: 0 };
        let mut rounds: Vec<Rounds> = cases.iter().map(|case| Rounds::new(case)).collect();
        let (started, others) = (Instant::now(), others_seconds(&asked.gateway)?);
        for round in 0..self.rounds {
            for (case, rounds) in cases.iter().zip(&mut rounds) {
                note(&format!("round {} of {}: {}", round + 1, self.rounds, case.name));
                self.round(round, case, &runtime, &mut asked, rounds, report)?;
            }
        }
        let others = others_seconds(&asked.gateway)? - others;
        report.add_others(stage, others.max(0.0) / started.elapsed().as_secs_f64());
        rounds.into_iter().for_each(|rounds| report.add(rounds));
        report.add_memory(stage, machine::peak_megabytes(asked.gateway.process())?);
        for line in asked.gateway.stop()? {
            report.problem(format!("{}: the gateway said: {line}", stage.name()));
        }
        check_ledger(stage, asked.requests, &bantam.usage(&config)?, report);
        Ok(())
    }

    /// Measures one case once on either side, the sides taking turns in being first.
    fn round(
        &self,
        round: u32,
        case: &Case,
        runtime: &Runtime,
        asked: &mut Asked,
        rounds: &mut Rounds,
        report: &mut Report,
    ) -> Result<(), String> {
        let has_direct = case.stage == Stage::PassThrough;
        let direct = |rounds: &mut Rounds, report: &mut Report| {
            let plan = self.plan(case, self.mock.address);
            let load = self.warmed(&plan, runtime);
            complain(case, "direct", &load, report);
            rounds.direct.push(measured(&load, None));
        };
        if has_direct && round.is_multiple_of(2) {
            direct(rounds, report);
        }
        let plan = self.plan(case, asked.gateway.address);
        rounds.gateway.push(self.through(case, &plan, runtime, asked, report)?);
        if has_direct && !round.is_multiple_of(2) {
            direct(rounds, report);
        }
        Ok(())
    }

    /// Measures the gateway, and checks that the upstream was asked exactly as often as it should be.
    fn through(
        &self,
        case: &Case,
        plan: &Plan,
        runtime: &Runtime,
        asked: &mut Asked,
        report: &mut Report,
    ) -> Result<Measured, String> {
        let process = asked.gateway.process();
        let reached_before = self.mock.count();
        let warm_up = runtime.block_on(load::run(&self.warm_up(plan)));
        let used_before = rest(process)?;
        let load = runtime.block_on(load::run(plan));
        let used = rest(process)? - used_before;
        complain(case, "warm-up", &warm_up, report);
        complain(case, "gateway", &load, report);
        let requests = (warm_up.milliseconds.len() + load.milliseconds.len()) as u64;
        asked.requests += requests;
        let reached = self.mock.count() - reached_before;
        let expected = if case.stage == Stage::PassThrough { requests } else { 0 };
        if reached != expected {
            report.problem(format!(
                "{}: {requests} requests were answered, {reached} reached the upstream, not {expected}",
                case.name
            ));
        }
        Ok(measured(&load, Some(used)))
    }

    fn warmed(&self, plan: &Plan, runtime: &Runtime) -> Load {
        runtime.block_on(load::run(&self.warm_up(plan)));
        runtime.block_on(load::run(plan))
    }

    fn warm_up(&self, plan: &Plan) -> Plan {
        Plan { duration: (self.duration / 4).min(Duration::from_secs(1)), ..plan.clone() }
    }

    fn plan(&self, case: &Case, address: SocketAddr) -> Plan {
        let (bodies, expected) = match case.ask {
            Ask::Prompt { bytes } => (vec![prompt(bytes, false)], Expected::Upstream),
            Ask::Stream { bytes } => (vec![prompt(bytes, true)], Expected::UpstreamStream),
            Ask::Task(task) => {
                (self.tasks.map(|tasks| tasks.bodies(task)).unwrap_or_default(), Expected::Local)
            }
        };
        let requests = bodies.iter().map(|body| crate::http::post(address, body)).collect();
        Plan { address, connections: case.connections, requests, expected, duration: self.duration }
    }

    /// Returns a stage's `bantam.toml`: defaults, but for what must be said.
    fn config(&self, stage: Stage) -> String {
        let tasks = match (stage, self.tasks) {
            (Stage::Local, Some(tasks)) => tasks.config.as_str(),
            _ => "",
        };
        format!(
            "[server]\nbind = \"127.0.0.1:0\"\n\n[ledger]\npath = \"{}.sqlite\"\n\n\
             [upstreams.mock]\ndialect = \"openai\"\nbase_url = \"http://{}/v1\"\n\n\
             [models.mock]\nupstream = \"mock\"\ntier = \"frontier\"\n\
             price = {{ input = 1.25, cached_input = 0.125, output = 10.0, as_of = \"2026-11-01\" }}\n\n\
             [routing]\nladder = [\"mock\"]\nbaseline = \"mock\"\n\n{tasks}",
            stage.name(),
            self.mock.address
        )
    }
}

/// Returns a body with a prompt of so many bytes.
fn prompt(bytes: usize, is_stream: bool) -> String {
    let words = "Explain how a message travels through the gateway and back to the caller in order. ";
    let text: String = words.chars().cycle().take(bytes).collect();
    let stream = if is_stream { ",\"stream\":true" } else { "" };
    format!("{{\"model\":\"mock\",\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]{stream}}}")
}

fn measured(load: &Load, used: Option<f64>) -> Measured {
    let answers = load.milliseconds.len() as f64;
    Measured {
        p50_ms: percentile(&load.milliseconds, 0.5),
        p99_ms: percentile(&load.milliseconds, 0.99),
        rate: answers / load.seconds,
        cpu_s_per_1000: used.map(|used| used / answers * 1000.0),
    }
}

/// Waits until the gateway has done with what follows an answer, and returns the processor used so far.
fn rest(process: u32) -> Result<f64, String> {
    let mut before = machine::processor_seconds(process)?;
    for _ in 0..REST_LOOKS_MAX {
        std::thread::sleep(REST_INTERVAL);
        let now = machine::processor_seconds(process)?;
        if now - before <= REST_SECONDS {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

/// Returns the processor that everybody else has used so far.
fn others_seconds(gateway: &Gateway) -> Result<f64, String> {
    let own = machine::processor_seconds(std::process::id())?;
    Ok(machine::busy_seconds()? - own - machine::processor_seconds(gateway.process())?)
}

fn complain(case: &Case, side: &str, load: &Load, report: &mut Report) {
    if let Some(first) = load.failures.first() {
        let count = load.failures.len();
        report.problem(format!("{} ({side}): {count} connections failed: {first}", case.name));
    }
}

/// Checks that every request is in the ledger exactly once, as answered, by the tier that did.
fn check_ledger(stage: Stage, requests: u64, total: &serde_json::Value, report: &mut Report) {
    let tier = if stage == Stage::Local { "local" } else { "frontier" };
    let counts = [
        ("requests", &total["requests"], requests),
        ("answered", &total["answered"], requests),
        ("attempts", &total["attempts"], requests),
        (tier, &total["answered_by_tier"][tier], requests),
    ];
    let mut is_right = true;
    for (name, counted, expected) in counts {
        if counted.as_u64() != Some(expected) {
            is_right = false;
            report.problem(format!("{}: the ledger's {name}: {counted}, not {expected}", stage.name()));
        }
    }
    if is_right {
        report.fact(format!("{}: {requests} requests, each in the ledger exactly once", stage.name()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn prompts_have_their_length_and_are_json() {
        for bytes in [1, 200, 10 * 1024] {
            let body: serde_json::Value = serde_json::from_str(&prompt(bytes, bytes == 200)).unwrap();
            assert_eq!(body["messages"][0]["content"].as_str().unwrap().len(), bytes);
            assert_eq!(body["stream"] == true, bytes == 200);
        }
    }

    #[test]
    fn a_ledger_that_lost_or_doubled_a_request_is_a_problem() {
        let check = |total: serde_json::Value, expected: bool| {
            let mut report = Report::default();
            check_ledger(Stage::Local, 7, &total, &mut report);
            assert_eq!(report.is_sound(), expected, "{total}");
        };
        let total = |requests: u64, local: u64| {
            let by_tier = json!({"local": local, "frontier": requests - local});
            json!({"requests": requests, "answered": requests, "attempts": requests, "answered_by_tier": by_tier})
        };
        check(total(7, 7), true);
        check(total(6, 6), false);
        check(total(8, 8), false);
        check(total(7, 6), false);
        check(serde_json::Value::Null, false);
    }
}
