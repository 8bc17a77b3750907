//! `bantam task list`: configured tasks and those that the traffic suggests.

use bantam_admin::{ListedTask, dollars_text, list_tasks};

use crate::books::{open_reader, unreadable};
use crate::cli::TaskCommand;
use crate::failure::Failure;
use crate::output;
use crate::settings::Globals;

use super::usage::latency_cell;

pub(crate) fn run(command: &TaskCommand, globals: &Globals) -> Result<(), Failure> {
    match command {
        TaskCommand::List => list(globals),
    }
}

fn list(globals: &Globals) -> Result<(), Failure> {
    let config = globals.load()?;
    let ledger = &config.ledger.path;
    let reader = if ledger.exists() { Some(open_reader(ledger)?) } else { None };
    let list = super::runtime(1)?.block_on(list_tasks(&config, reader.as_deref()));
    let list = list.map_err(|error| unreadable(&error))?;
    if globals.json {
        return output::json(&list);
    }
    let heading = ["task", "state", "requests", "cost", "p50", "p95"];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    lines.extend(list.tasks.iter().map(cells));
    output::table(&lines).iter().for_each(output::line);
    let discovered: Vec<&ListedTask> = list.tasks.iter().filter(|task| task.is_discovered).collect();
    if !discovered.is_empty() {
        output::line("");
        if discovered.iter().any(|task| !task.prompt.is_empty()) {
            discovered.iter().for_each(|task| output::line(format!("{}  {}", task.name, task.prompt)));
        } else {
            output::line("to see how discovered prompts begin, set keep_prompt_previews = true in [ledger]");
        }
        output::line("");
        output::line("a discovered task becomes yours by naming it in the configuration:");
        output::line("[tasks.NAME] with templates = [\"FINGERPRINT\"]");
    }
    Ok(())
}

fn cells(task: &ListedTask) -> Vec<String> {
    let (requests, spend) = (task.requests.to_string(), dollars_text(task.usage.spend));
    let latency = [50, 95].map(|percent| latency_cell(&task.usage, percent));
    [task.name.clone(), task.state.clone(), requests, spend].into_iter().chain(latency).collect()
}
