//! `bantam task list`: configured tasks and those that the traffic suggests.

use bantam_admin::StudentStanding;
use bantam_config::Config;
use bantam_ledger::{GroupBy, GroupKey, LedgerReader, TimeRange, UsageRow};
use bantam_types::TaskName;
use serde_json::{Value, json};

use crate::cli::TaskCommand;
use crate::failure::Failure;
use crate::output;
use crate::settings::Globals;

use super::usage::{dollars, milliseconds, open_reader};

pub(crate) fn run(command: &TaskCommand, globals: &Globals) -> Result<(), Failure> {
    match command {
        TaskCommand::List => list(globals),
    }
}

/// One line of the list.
struct Listed {
    name: String,
    state: String,
    usage: Option<UsageRow>,
    /// What the prompt begins with, for discovered tasks.
    preview: String,
}

fn list(globals: &Globals) -> Result<(), Failure> {
    let config = globals.load()?;
    let reader = if config.ledger.path.exists() { Some(open_reader(&config)?) } else { None };
    let mut listed = configured(&config, reader.as_ref())?;
    listed.extend(discovered(&config, reader.as_ref())?);
    if globals.json {
        output::line(json!({"tasks": listed.iter().map(listed_json).collect::<Vec<_>>()}).to_string());
        return Ok(());
    }
    let heading = ["task", "state", "requests", "cost", "p50", "p95"];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    lines.extend(listed.iter().map(listed_cells));
    output::table(&lines).iter().for_each(output::line);
    let discovered: Vec<&Listed> = listed.iter().filter(|task| task.state == "discovered").collect();
    if !discovered.is_empty() {
        output::line("");
        discovered.iter().for_each(|task| output::line(format!("{}  {}", task.name, task.preview)));
        output::line("");
        output::line("a discovered task becomes yours by naming it in the configuration:");
        output::line("[tasks.NAME] with templates = [\"FINGERPRINT\"]");
    }
    Ok(())
}

fn configured(config: &Config, reader: Option<&LedgerReader>) -> Result<Vec<Listed>, Failure> {
    let usage = match reader {
        Some(reader) => reader.usage(TimeRange::ALL, GroupBy::Task).map_err(unreadable)?,
        None => Vec::new(),
    };
    let of =
        |name: &TaskName| usage.iter().find(|row| row.key == GroupKey::Task(Some(name.clone()))).cloned();
    let standings = bantam_admin::student_standings(config);
    let standing = |name| standings.get(name).map(StudentStanding::summary).unwrap_or_default();
    let tasks = config.tasks.iter();
    Ok(tasks
        .map(|(name, task)| Listed {
            name: name.to_string(),
            state: format!("{}, {}", task.kind, standing(name)),
            usage: of(name),
            preview: String::new(),
        })
        .collect())
}

fn discovered(config: &Config, reader: Option<&LedgerReader>) -> Result<Vec<Listed>, Failure> {
    let Some(reader) = reader else {
        return Ok(Vec::new());
    };
    let claimed = |template| config.tasks.values().any(|task| task.templates.contains(&template));
    let found = reader.templates(TimeRange::ALL).map_err(unreadable)?;
    let unclaimed = found.into_iter().filter(|found| !claimed(found.record.template));
    Ok(unclaimed
        .map(|found| {
            let record = found.record;
            let whole = format!("{} {}", record.system_preview, record.prefix);
            let words: Vec<&str> = whole.split_whitespace().collect();
            Listed {
                name: record.template.to_string(),
                state: "discovered".to_owned(),
                usage: Some(found.usage),
                preview: words.join(" ").chars().take(60).collect(),
            }
        })
        .collect())
}

fn unreadable(error: bantam_ledger::QueryError) -> Failure {
    Failure::from_error("cannot read the ledger", &error)
}

fn listed_cells(task: &Listed) -> Vec<String> {
    let mut cells = vec![task.name.clone(), task.state.clone()];
    match &task.usage {
        Some(usage) => {
            let latency = |pick: fn(&bantam_ledger::Latency) -> u64| {
                usage.latency.as_ref().map_or_else(|| "-".to_owned(), |latency| milliseconds(pick(latency)))
            };
            cells.extend([
                usage.requests.to_string(),
                dollars(usage.spend),
                latency(|latency| latency.p50_us),
                latency(|latency| latency.p95_us),
            ]);
        }
        None => cells.extend(["0", "$0.0000", "-", "-"].map(str::to_owned)),
    }
    cells
}

fn listed_json(task: &Listed) -> Value {
    let usage = task.usage.as_ref();
    json!({
        "name": task.name,
        "state": task.state,
        "requests": usage.map_or(0, |usage| usage.requests),
        "input_tokens": usage.map_or(0, |usage| usage.tokens.input),
        "output_tokens": usage.map_or(0, |usage| usage.tokens.output),
        "spend_usd": usage.map_or_else(|| "0".to_owned(), |usage| usage.spend.to_string()),
        "p50_ms": usage.and_then(|usage| usage.latency.as_ref()).map(|latency| latency.p50_us as f64 / 1000.0),
        "p95_ms": usage.and_then(|usage| usage.latency.as_ref()).map(|latency| latency.p95_us as f64 / 1000.0),
        "prompt": task.preview,
    })
}
