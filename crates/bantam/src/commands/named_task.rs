//! A configured task by its name, and its recorded answers.

use std::path::Path;

use bantam_books::BooksReader;
use bantam_config::{Config, Task};
use bantam_student::Example;
use bantam_teach::Purpose;
use bantam_types::TaskName;

use crate::books::open_reader;
use crate::failure::{Failure, Outcome};

/// Returns a configured task by name.
pub(crate) fn find_task<'c>(config: &'c Config, name: &str) -> Result<(&'c TaskName, &'c Task), Failure> {
    config.tasks.iter().find(|(known, _)| known.as_str() == name).ok_or_else(|| {
        let names = config.tasks.keys().map(TaskName::as_str);
        let nearest = names.max_by(|left, right| {
            strsim::jaro_winkler(name, left).total_cmp(&strsim::jaro_winkler(name, right))
        });
        let failure = Failure::new(Outcome::Usage, format!("there is no task `{name}` in the configuration"));
        match nearest {
            Some(nearest) => failure.hint(format!("the nearest is `{nearest}`; bantam task list shows all")),
            None => failure.hint("the configuration names no task; see bantam config example"),
        }
    })
}

/// Returns those of a task's recorded answers that serve a purpose. Not for threads that run futures.
pub(crate) fn recorded(ledger: &Path, task: &TaskName, purpose: Purpose) -> Result<Vec<Example>, Failure> {
    let reader = open_reader(ledger)?;
    super::runtime(1)?.block_on(recorded_in(&*reader, task, purpose))
}

/// Returns those of a task's recorded answers that serve a purpose.
pub(crate) async fn recorded_in(
    reader: &dyn BooksReader,
    task: &TaskName,
    purpose: Purpose,
) -> Result<Vec<Example>, Failure> {
    let unreadable = |error| Failure::from_error("cannot read the recorded answers", &error);
    let (mut recorded, mut answers) = (reader.examples(task.clone()), Vec::new());
    while let Some(answer) = recorded.next().await.map_err(unreadable)? {
        if purpose.takes(&answer.text) {
            answers.push(Example { text: answer.text, label: answer.answer });
        }
    }
    Ok(answers)
}
