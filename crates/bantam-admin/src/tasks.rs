//! Tasks: those that are configured, and those that the traffic suggests.

use bantam_books::{BooksReader, GroupBy, GroupKey, ReadError, TemplateRecord, TimeRange, Usage};
use bantam_config::Config;
use bantam_types::TaskName;
use serde::Serialize;

use crate::standing::{StudentStanding, student_standings};
use crate::usage::percentile_ms;

/// How many letters of a discovered prompt are shown.
const PREVIEW_LETTERS: usize = 60;

/// All tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskList {
    /// The configured ones by name, then the discovered ones, most requests first.
    pub tasks: Vec<ListedTask>,
}

/// One task and its traffic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListedTask {
    /// Its name, or a discovered prompt's fingerprint.
    pub name: String,
    /// Its kind and what its student may do, or `discovered`.
    pub state: String,
    /// Requests.
    pub requests: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// What its priced attempts cost, an exact decimal in US dollars.
    pub spend_usd: String,
    /// Half of the answered requests took no longer, milliseconds.
    pub p50_ms: Option<f64>,
    /// 95 % of the answered requests took no longer, milliseconds.
    pub p95_ms: Option<f64>,
    /// How a discovered prompt begins, if the books keep that.
    pub prompt: String,
    /// Whether it was found in the traffic and nobody has named it yet.
    #[serde(skip)]
    pub is_discovered: bool,
    /// What its requests did and cost.
    #[serde(skip)]
    pub usage: Usage,
}

impl ListedTask {
    fn new(name: String, state: String, usage: Usage) -> Self {
        Self {
            name,
            state,
            requests: usage.requests,
            input_tokens: usage.tokens.input,
            output_tokens: usage.tokens.output,
            spend_usd: usage.spend.to_string(),
            p50_ms: percentile_ms(&usage, 50),
            p95_ms: percentile_ms(&usage, 95),
            prompt: String::new(),
            is_discovered: false,
            usage,
        }
    }
}

/// Returns all tasks with their traffic; `reader` is `None` where there are no books yet.
///
/// # Errors
/// When the books cannot be read.
pub async fn list_tasks(config: &Config, reader: Option<&dyn BooksReader>) -> Result<TaskList, ReadError> {
    let (usage, templates) = match reader {
        Some(reader) => {
            let usage = reader.usage(TimeRange::ALL, GroupBy::Task).await?;
            (usage, reader.templates(TimeRange::ALL).await?)
        }
        None => (Vec::new(), Vec::new()),
    };
    let of = |name: &TaskName| {
        let row = usage.iter().find(|row| row.key == GroupKey::Task(Some(name.clone())));
        row.map(|row| row.usage.clone()).unwrap_or_default()
    };
    let standings = student_standings(config);
    let standing = |name| standings.get(name).map(StudentStanding::summary).unwrap_or_default();
    let configured = config.tasks.iter().map(|(name, task)| {
        ListedTask::new(name.to_string(), format!("{}, {}", task.kind, standing(name)), of(name))
    });
    let is_claimed = |template| config.tasks.values().any(|task| task.templates.contains(&template));
    let unclaimed = templates.into_iter().filter(|found| !is_claimed(found.record.template));
    let discovered = unclaimed.map(|found| ListedTask {
        prompt: preview(&found.record),
        is_discovered: true,
        ..ListedTask::new(found.record.template.to_string(), "discovered".to_owned(), found.usage)
    });
    Ok(TaskList { tasks: configured.chain(discovered).collect() })
}

/// Returns how a prompt begins, on one line.
fn preview(record: &TemplateRecord) -> String {
    let whole = format!("{} {}", record.system_preview, record.prefix);
    let words: Vec<&str> = whole.split_whitespace().collect();
    words.join(" ").chars().take(PREVIEW_LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use bantam_books::conformance::requests;
    use bantam_books::{Books, MemoryBooks, block_on};
    use bantam_types::Template;
    use std::path::Path;

    use super::*;

    struct Nothing;

    impl bantam_config::Env for Nothing {
        fn get(&self, _: &str) -> Option<String> {
            None
        }
    }

    impl bantam_config::Files for Nothing {
        fn exists(&self, _: &Path) -> bool {
            false
        }
    }

    fn config(text: &str) -> Config {
        let folder = Path::new("/nowhere");
        let source = bantam_config::Source {
            name: "bantam.toml",
            text,
            folder,
            state_folder: folder,
            data_folder: folder,
            overrides: &[],
            variable_names: &[],
            purpose: bantam_config::Purpose::LookUp,
        };
        bantam_config::load(&source, &Nothing, &Nothing).unwrap()
    }

    #[test]
    fn configured_tasks_come_first_and_a_template_that_a_task_names_is_not_discovered_again() {
        let books = MemoryBooks::new();
        for request in requests(60) {
            books.settle(&request, None).unwrap().wait().unwrap();
        }
        for (number, system_preview) in [(1, ""), (6 << 60 | 1, "  Sort\n the   mail. ")] {
            let (template, system_preview) = (Template(number), system_preview.to_owned());
            let (prefix, suffix) = ("Mail: ".to_owned(), String::new());
            let record = TemplateRecord { template, system_preview, prefix, suffix, first_seen_ms: 5 };
            books.record_template(&record).unwrap().wait().unwrap();
        }
        let model = "[upstreams.u]\ndialect = 'openai'\nbase_url = 'https://x.example'\n\
             [models.m]\nupstream = 'u'\ntier = 'mid'\n[routing]\nladder = ['m']\n";
        let tasks = &format!("{model}[tasks.reply]\nkind = 'generate'\n[tasks.unused]\nkind = 'summarize'\n");
        let list = block_on(list_tasks(&config(tasks), Some(&books))).unwrap().tasks;
        let told: Vec<_> =
            list.iter().map(|task| (&*task.name, task.is_discovered, task.requests, &*task.prompt)).collect();
        assert_eq!(
            told,
            [
                ("reply", false, 30, ""),
                ("unused", false, 0, ""),
                ("0000000000000001", true, 5, "Mail:"),
                ("6000000000000001", true, 5, "Sort the mail. Mail:"),
            ]
        );
        let claimed = format!("{tasks}templates = ['6000000000000001']\n");
        let list = block_on(list_tasks(&config(&claimed), Some(&books))).unwrap().tasks;
        assert_eq!(list.len(), 3, "{list:?}");
        let list = block_on(list_tasks(&config(tasks), None)).unwrap().tasks;
        assert_eq!(list.iter().map(|task| task.requests).sum::<u64>(), 0);
    }
}
