//! Rounds: measures every case directly and through the gateway, and checks the results.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::case::{Case, Setup, Workload};
use crate::certified::Tasks;
use crate::gateway::{Bantam, Gateway};
use crate::load::{self, Expected, Load, LoadSpec};
use crate::machine::{self, Machine};
use crate::mock::Mock;
use crate::note;
use crate::report::{Report, Rounds};
use crate::statistics::percentile;

/// The gateway is idle if it used at most this much CPU time in [`IDLE_INTERVAL`].
const IDLE_SECONDS: f64 = 0.011;
const IDLE_INTERVAL: Duration = Duration::from_millis(200);
/// How many times at most to check whether the gateway is idle.
const IDLE_CHECKS_MAX: u32 = 50;

/// Everything that a benchmark run needs.
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
    /// Measured for the gateway only.
    pub(crate) cpu_s_per_1000: Option<f64>,
}

/// The gateway of a setup, and the number of requests it was sent.
struct TestedGateway {
    gateway: Gateway,
    requests: u64,
}

impl Bench<'_> {
    /// Starts a gateway, measures the setup's cases in every round, stops it and checks its ledger.
    pub(crate) fn measure(
        &self,
        setup: Setup,
        cases: &[&'static Case],
        bantam: &Bantam,
        folder: &Path,
        report: &mut Report,
    ) -> Result<(), String> {
        let config = folder.join(format!("{}.toml", setup.name()));
        std::fs::write(&config, self.config(setup)).map_err(|error| format!("cannot write: {error}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
        let mut tested = TestedGateway { gateway: bantam.serve(&config, self.machine)?, requests: 0 };
        let mut rounds: Vec<Rounds> = cases.iter().map(|case| Rounds::new(case)).collect();
        let (started, others) = (Instant::now(), others_seconds(&tested.gateway)?);
        for round in 0..self.rounds {
            for (case, rounds) in cases.iter().zip(&mut rounds) {
                note(&format!("round {} of {}: {}", round + 1, self.rounds, case.name));
                self.round(round, case, &runtime, &mut tested, rounds, report)?;
            }
        }
        let others = others_seconds(&tested.gateway)? - others;
        report.add_others(setup, others.max(0.0) / started.elapsed().as_secs_f64());
        rounds.into_iter().for_each(|rounds| report.add(rounds));
        report.add_memory(setup, machine::peak_megabytes(tested.gateway.process())?);
        for line in tested.gateway.stop()? {
            report.problem(format!("{}: the gateway printed: {line}", setup.name()));
        }
        check_ledger(setup, tested.requests, &bantam.usage(&config)?, report);
        Ok(())
    }

    /// Measures one case once directly and once through the gateway, alternating which comes first.
    fn round(
        &self,
        round: u32,
        case: &Case,
        runtime: &Runtime,
        tested: &mut TestedGateway,
        rounds: &mut Rounds,
        report: &mut Report,
    ) -> Result<(), String> {
        let has_direct = case.setup == Setup::PassThrough;
        let direct = |rounds: &mut Rounds, report: &mut Report| {
            let spec = self.spec(case, self.mock.address);
            let load = self.warmed(&spec, runtime);
            report_failures(case, "direct", &load, report);
            rounds.direct.push(measured(&load, None));
        };
        if has_direct && round.is_multiple_of(2) {
            direct(rounds, report);
        }
        let spec = self.spec(case, tested.gateway.address);
        rounds.gateway.push(self.through(case, &spec, runtime, tested, report)?);
        if has_direct && !round.is_multiple_of(2) {
            direct(rounds, report);
        }
        Ok(())
    }

    /// Measures the gateway, and checks that the upstream received exactly the expected number of requests.
    fn through(
        &self,
        case: &Case,
        spec: &LoadSpec,
        runtime: &Runtime,
        tested: &mut TestedGateway,
        report: &mut Report,
    ) -> Result<Measured, String> {
        let process = tested.gateway.process();
        let reached_before = self.mock.count();
        let warm_up = runtime.block_on(load::run(&self.warm_up(spec)));
        let used_before = cpu_when_idle(process)?;
        let load = runtime.block_on(load::run(spec));
        let used = cpu_when_idle(process)? - used_before;
        report_failures(case, "warm-up", &warm_up, report);
        report_failures(case, "gateway", &load, report);
        let requests = (warm_up.milliseconds.len() + load.milliseconds.len()) as u64;
        tested.requests += requests;
        let reached = self.mock.count() - reached_before;
        let expected = if case.setup == Setup::PassThrough { requests } else { 0 };
        if reached != expected {
            report.problem(format!(
                "{}: {requests} requests were answered; {reached} reached the upstream, expected {expected}",
                case.name
            ));
        }
        Ok(measured(&load, Some(used)))
    }

    fn warmed(&self, spec: &LoadSpec, runtime: &Runtime) -> Load {
        runtime.block_on(load::run(&self.warm_up(spec)));
        runtime.block_on(load::run(spec))
    }

    fn warm_up(&self, spec: &LoadSpec) -> LoadSpec {
        LoadSpec { duration: (self.duration / 4).min(Duration::from_secs(1)), ..spec.clone() }
    }

    fn spec(&self, case: &Case, address: SocketAddr) -> LoadSpec {
        let (bodies, expected) = match case.workload {
            Workload::Prompt { bytes } => (vec![prompt(bytes, false)], Expected::Upstream),
            Workload::Stream { bytes } => (vec![prompt(bytes, true)], Expected::UpstreamStream),
            Workload::Task(task) => {
                (self.tasks.map(|tasks| tasks.bodies(task)).unwrap_or_default(), Expected::Local)
            }
        };
        let requests = bodies.iter().map(|body| crate::http::post(address, body)).collect();
        LoadSpec { address, connections: case.connections, requests, expected, duration: self.duration }
    }

    /// Returns the setup's `bantam.toml`, with defaults for everything that has one.
    fn config(&self, setup: Setup) -> String {
        let tasks = match (setup, self.tasks) {
            (Setup::Local, Some(tasks)) => tasks.config.as_str(),
            _ => "",
        };
        format!(
            "[server]\nbind = \"127.0.0.1:0\"\n\n[ledger]\npath = \"{}.sqlite\"\n\n\
             [upstreams.mock]\ndialect = \"openai\"\nbase_url = \"http://{}/v1\"\n\n\
             [models.mock]\nupstream = \"mock\"\ntier = \"frontier\"\n\
             price = {{ input = 1.25, cached_input = 0.125, output = 10.0, as_of = \"2026-11-01\" }}\n\n\
             [routing]\nladder = [\"mock\"]\nbaseline = \"mock\"\n\n{tasks}",
            setup.name(),
            self.mock.address
        )
    }
}

/// Returns a request body with a prompt of this length.
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

/// Waits until the gateway has finished its work after the last answer, and returns the CPU seconds used so far.
fn cpu_when_idle(process: u32) -> Result<f64, String> {
    let mut before = machine::processor_seconds(process)?;
    for _ in 0..IDLE_CHECKS_MAX {
        std::thread::sleep(IDLE_INTERVAL);
        let now = machine::processor_seconds(process)?;
        if now - before <= IDLE_SECONDS {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

/// Returns the CPU seconds that all other processes have used so far.
fn others_seconds(gateway: &Gateway) -> Result<f64, String> {
    let own = machine::processor_seconds(std::process::id())?;
    Ok(machine::busy_seconds()? - own - machine::processor_seconds(gateway.process())?)
}

fn report_failures(case: &Case, side: &str, load: &Load, report: &mut Report) {
    if let Some(first) = load.failures.first() {
        let count = load.failures.len();
        report.problem(format!("{} ({side}): {count} connections failed: {first}", case.name));
    }
}

/// Checks that every request is in the ledger exactly once, as answered by the right tier.
fn check_ledger(setup: Setup, requests: u64, total: &serde_json::Value, report: &mut Report) {
    let tier = if setup == Setup::Local { "local" } else { "frontier" };
    let counts = [
        ("requests", &total["requests"], requests),
        ("answered", &total["answered"], requests),
        ("attempts", &total["attempts"], requests),
        (tier, &total["answered_by_tier"][tier], requests),
    ];
    let mut is_correct = true;
    for (name, counted, expected) in counts {
        if counted.as_u64() != Some(expected) {
            is_correct = false;
            report.problem(format!(
                "{}: the ledger counts {counted} {name}, expected {expected}",
                setup.name()
            ));
        }
    }
    if is_correct {
        report.fact(format!("{}: {requests} requests, each in the ledger exactly once", setup.name()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn prompts_have_the_given_length_and_are_json() {
        for bytes in [1, 200, 10 * 1024] {
            let body: serde_json::Value = serde_json::from_str(&prompt(bytes, bytes == 200)).unwrap();
            assert_eq!(body["messages"][0]["content"].as_str().unwrap().len(), bytes);
            assert_eq!(body["stream"] == true, bytes == 200);
        }
    }

    #[test]
    fn a_lost_or_doubled_request_in_the_ledger_is_a_problem() {
        let check = |total: serde_json::Value, expected: bool| {
            let mut report = Report::default();
            check_ledger(Setup::Local, 7, &total, &mut report);
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
