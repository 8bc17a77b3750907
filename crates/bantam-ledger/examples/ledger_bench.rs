//! Measures what a settlement costs: the caller's time, the whole process's CPU, and the wait for the
//! disk.
//!
//! `cargo run --release -p bantam-ledger --example ledger_bench [settlements]`
//!
//! `taskset -c 0 … ledger_bench felt` measures how much the ledger is felt by a caller who sends one request after the
//! other to a server on the same core.

use std::error::Error;
use std::io::{Write, stdout};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_books::block_on;
use bantam_books::{Books, BooksReader, GroupBy, SettleError, TimeRange};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions};
use bantam_types::{
    AttemptOutcome, AttemptRecord, Label, Price, Rates, RequestOutcome, Settlement, Template, Tier,
    TokenUsage, Usd, UsdPerMillion,
};

type AnyError = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), AnyError> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("felt") {
        return [false, true, false, true].into_iter().try_for_each(|settles| felt(settles, 5));
    }
    let count = argument.map_or(Ok(300_000), |count| count.parse())?;
    paced(10_000, 5)?;
    for (name, id) in [("ids that begin with the time", ordered as fn(u64) -> u128), ("random ids", random)] {
        as_fast_as_possible(name, count, id)?;
    }
    for waiters in [1, 16] {
        power_loss(waiters, 2)?;
    }
    Ok(())
}

fn as_fast_as_possible(name: &str, count: u64, id: fn(u64) -> u128) -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ledger.sqlite");
    let mut options = LedgerOptions::new(Acknowledge::ProcessCrash);
    options.backlog_bytes_max = 1 << 40;
    let ledger = Ledger::open(&path, options)?;
    let settlements: Vec<_> = (0..count).map(|number| settlement(number, id(number))).collect();
    let (started, cpu) = (Instant::now(), cpu_time()?);
    for settlement in &settlements {
        let _ticket = ledger.settle(settlement, None)?;
    }
    let settled = started.elapsed();
    let behind = ledger.pressure().backlog_bytes;
    ledger.close()?;
    let (folded, cpu) = (started.elapsed(), cpu_time()? - cpu);
    let reader = bantam_ledger::LedgerReader::open(&path)?;
    let asked = Instant::now();
    let rows = block_on(reader.usage(TimeRange::ALL, GroupBy::Model))?;
    writeln!(
        stdout(),
        "{name}: {count} settlements at once: caller {} each, CPU {} each in all (fold included), \
         {:.0}/s folded, backlog at the end {} KiB, {} bytes a row; usage by model {} ms ({} rows)",
        each(settled, count),
        each(cpu, count),
        as_f64(count) / folded.as_secs_f64(),
        behind >> 10,
        size(&path)? / count,
        asked.elapsed().as_millis(),
        rows.len(),
    )?;
    Ok(())
}

fn paced(per_second: u64, seconds: u64) -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let ledger =
        Ledger::open(&folder.path().join("ledger.sqlite"), LedgerOptions::new(Acknowledge::ProcessCrash))?;
    let (started, cpu, count) = (Instant::now(), cpu_time()?, per_second * seconds);
    let mut times = Vec::new();
    for number in 0..count {
        let due = Duration::from_nanos(number * 1_000_000_000 / per_second);
        while let Some(left) = due.checked_sub(started.elapsed()) {
            std::thread::sleep(left.max(Duration::from_millis(1)));
        }
        let settlement = settlement(number, ordered(number));
        let asked = Instant::now();
        let _ticket = ledger.settle(&settlement, None)?;
        times.push(asked.elapsed());
    }
    ledger.close()?;
    let cpu = cpu_time()? - cpu;
    writeln!(
        stdout(),
        "{per_second}/s for {seconds} s: caller {}, CPU {} each in all, {}",
        percentiles(times),
        each(cpu, count),
        memory_peak()?
    )?;
    Ok(())
}

/// Sends one request after the other to a thread that works for 60 µs, settles and answers.
fn felt(settles: bool, seconds: u64) -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let ledger =
        Ledger::open(&folder.path().join("ledger.sqlite"), LedgerOptions::new(Acknowledge::ProcessCrash))?;
    let (ask, asked) = std::sync::mpsc::channel::<u64>();
    let (answer, answered) = std::sync::mpsc::channel::<()>();
    let server = std::thread::spawn(move || -> Result<(), AnyError> {
        for number in asked {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_micros(60) {}
            if settles {
                let _ticket = ledger.settle(&settlement(number, ordered(number)), None)?;
            }
            answer.send(())?;
        }
        Ok(())
    });
    let (until, mut times) = (Instant::now() + Duration::from_secs(seconds), Vec::new());
    for number in 0.. {
        let begun = Instant::now();
        if begun >= until {
            break;
        }
        ask.send(number)?;
        answered.recv()?;
        times.push(begun.elapsed());
    }
    drop(ask);
    server.join().map_err(|_| "a thread panicked")??;
    let name = if settles { "with a ledger" } else { "without a ledger" };
    writeln!(stdout(), "one request after the other, {name}: {}", percentiles(times))?;
    Ok(())
}

fn power_loss(waiters: u64, seconds: u64) -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let options = LedgerOptions::new(Acknowledge::PowerLoss);
    let ledger = Arc::new(Ledger::open(&folder.path().join("ledger.sqlite"), options)?);
    let until = Instant::now() + Duration::from_secs(seconds);
    let threads: Vec<_> = (0..waiters)
        .map(|waiter| {
            let ledger = Arc::clone(&ledger);
            std::thread::spawn(move || -> Result<Vec<Duration>, AnyError> {
                let mut times = Vec::new();
                for number in 0.. {
                    let asked = Instant::now();
                    if asked >= until {
                        break;
                    }
                    match ledger.settle(&settlement(number, ordered(waiter << 40 | number)), None) {
                        Ok(ticket) => ticket.wait()?,
                        Err(SettleError::Behind { .. }) => continue,
                        Err(error) => return Err(error.into()),
                    }
                    times.push(asked.elapsed());
                }
                Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| "a thread panicked")??);
    }
    let rate = times.len() as u64 / seconds;
    writeln!(stdout(), "power loss, {waiters} waiting: {}, {rate}/s", percentiles(times))?;
    Ok(())
}

fn ordered(number: u64) -> u128 {
    u128::from(number) << 64 | u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn random(number: u64) -> u128 {
    u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64 | u128::from(number)
}

fn settlement(number: u64, request_id: u128) -> Settlement {
    let rates = Rates {
        input: UsdPerMillion::from_micros(150_000),
        cached_input: UsdPerMillion::from_micros(75_000),
        output: UsdPerMillion::from_micros(600_000),
        ..Rates::default()
    };
    let price = Price::flat(rates, "2026-11-01");
    let usage = TokenUsage::new(300 + number % 100, 0, 12);
    Settlement {
        request_id,
        arrived_unix_ms: 1_790_000_000_000 + number.cast_signed() / 10,
        task: "support-intent".parse().ok(),
        template: Some(Template(7)),
        caller: Some("DESK_KEY".into()),
        endpoint: Some("/v1/chat/completions".into()),
        dialect: Some("openai".into()),
        requested_model: "task/support-intent".to_owned(),
        label: Label::Internal,
        outcome: RequestOutcome::Answered,
        status: 200,
        streamed: false,
        duration_us: 400_000 + number % 1000,
        baseline_cost: Some(Usd::from_picodollars(900_000_000)),
        attempts: vec![AttemptRecord {
            backend: "openai".into(),
            model: "gpt-4o-mini-2024-07-18".into(),
            tier: Tier::Mid,
            usage: Some(usage.into()),
            started_us: 60,
            first_byte_us: Some(200_000),
            last_byte_us: 399_000,
            cost: price.cost(usage).ok(),
            price: Some(Arc::new(price)),
            confidence: Some(0.97),
            outcome: AttemptOutcome::Accepted,
            retries: 0,
            fault: None,
            upstream_status: None,
            unpriced: None,
            upstream_request_id: None,
            rate_limits: None,
        }],
    }
}

/// Returns the CPU time of all threads, from the kernel's own account.
fn cpu_time() -> Result<Duration, AnyError> {
    let mut total = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        total += Duration::from_nanos(text.split(' ').next().unwrap_or("0").parse()?);
    }
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap_or(0));
    // Threads that ended are only in the process's own account, which counts ticks of 10 ms.
    Ok(total.max(Duration::from_millis(ticks.sum::<u64>() * 10)))
}

/// Returns the most memory that the process ever held.
fn memory_peak() -> Result<String, AnyError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    Ok(status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned())
}

fn size(path: &Path) -> Result<u64, AnyError> {
    Ok(std::fs::metadata(path)?.len())
}

fn each(time: Duration, count: u64) -> String {
    format!("{:.2} us", time.as_secs_f64() * 1e6 / as_f64(count))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |permille: usize| times.get(times.len() * permille / 1000).copied().unwrap_or_default();
    format!("p50 {:?}, p95 {:?}, p99 {:?}, p99.9 {:?}", at(500), at(950), at(990), at(999))
}
