//! `bantam job`, and long commands as jobs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use bantam_admin::age_text;
use bantam_jobs::{
    CancelJobError, EventBody, FindJobError, JobContext, JobError, JobEvent, JobId, JobRecord, JobSpec,
    JobState, JobUpdate,
};
use serde::Serialize;

use super::models::progress::Progress;
use crate::cli::JobCommand;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupts;
use crate::output;
use crate::settings::Globals;

/// How long work may take to notice that it was cancelled, before the command ends without it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// A command that runs as a job while somebody waits.
pub(crate) struct Foreground {
    /// What kind of work it is, and what was asked for.
    pub(crate) spec: JobSpec,
    /// What is being done and to what, as in "interrupted while pulling x"; the first stands before a bar.
    pub(crate) doing: (&'static str, String),
    /// What to do after it was cancelled.
    pub(crate) after_cancel: Option<&'static str>,
    /// How long it may take to notice that it was cancelled; as long as a step takes where nothing is said.
    pub(crate) patience: Option<Duration>,
}

/// Runs work as a job, shows how far it is, and returns its result. Ctrl-C cancels it; pressed again, it ends the command.
pub(crate) fn in_foreground<T: Serialize + Send + 'static, E: Into<JobError>>(
    foreground: Foreground,
    globals: &Globals,
    work: impl FnOnce(&JobContext) -> Result<T, E> + Send + 'static,
) -> Result<T, Failure> {
    let Foreground { spec, doing: (doing, what), after_cancel, patience } = foreground;
    // The job keeps JSON; the command prints the result itself.
    let (keep, kept) = mpsc::sync_channel(1);
    let work = move |context: &JobContext| {
        let result = work(context).map_err(Into::into)?;
        // By way of text, which has the digits that are printed.
        let text = serde_json::to_string(&result);
        let json = text.and_then(|text| serde_json::from_str(&text)).map_err(|error| {
            JobError::from(Failure::from_error("cannot write the result as JSON", &error))
        })?;
        let _ = keep.send(result);
        Ok(json)
    };
    let interrupts = interrupts();
    let submitted = globals.jobs()?.submit(spec, work);
    let mut job = submitted.map_err(|error| Failure::from_error("cannot start the job", &error))?;
    let mut progress = Progress::new(globals, doing);
    let mut hear = |update: JobUpdate| {
        for JobEvent { event, .. } in update.events {
            match event {
                EventBody::Note { text } if !globals.quiet && !globals.json => progress.note(&text),
                EventBody::Warning { text } if !globals.quiet => progress.note(&format!("warning: {text}")),
                _ => {}
            }
        }
        update.progress.into_iter().for_each(|now| progress.show(now));
    };
    // Whoever is not kept waiting ends the process, and the job with it.
    let record = job.follow(patience, &|| interrupts.load(Ordering::Relaxed), &mut hear);
    progress.end();
    match (record.state, record.failure, kept.try_recv()) {
        (JobState::Done, _, Ok(result)) => Ok(result),
        (JobState::Failed, Some(failure), _) => Err(failure.into()),
        _ => {
            let failure = Failure::new(Outcome::Interrupted, format!("interrupted while {doing} {what}"));
            Err(failure.maybe_hint(after_cancel))
        }
    }
}

/// Counts how often Ctrl-C is pressed from now on.
fn interrupts() -> Arc<AtomicU32> {
    let count = Arc::new(AtomicU32::new(0));
    // Where nobody can listen, Ctrl-C ends the process at once, as it does by default.
    let Ok(runtime) = super::runtime(1) else { return count };
    let Ok(mut interrupts) = runtime.block_on(async { Interrupts::listen() }) else { return count };
    let counting = Arc::clone(&count);
    let listen = move || loop {
        runtime.block_on(interrupts.next());
        counting.fetch_add(1, Ordering::Relaxed);
    };
    let _ = std::thread::Builder::new().name("bantam-interrupt".to_owned()).spawn(listen);
    count
}

/// `bantam job`.
pub(crate) fn run(command: &JobCommand, globals: &Globals) -> Result<(), Failure> {
    let jobs = globals.jobs()?;
    match command {
        JobCommand::List => {
            let list = jobs.list().map_err(|error| Failure::from_error("cannot list the jobs", &error))?;
            if globals.json {
                return output::json(&list);
            }
            let mut rows = vec![["id", "kind", "state", "begun", "done", "of"].map(str::to_owned).to_vec()];
            rows.extend(list.jobs.iter().map(row));
            match list.jobs.is_empty() {
                true => output::line("there are no jobs"),
                false => output::table(&rows).iter().for_each(output::line),
            }
            for damaged in list.damaged.iter().filter(|_| !globals.quiet) {
                output::note(format!("warning: {} is damaged: {}", damaged.file.display(), damaged.reason));
            }
            Ok(())
        }
        JobCommand::Show { id } => {
            let record = jobs.show(&parse(id)?).map_err(|error| not_found(&error))?;
            match globals.json {
                true => return output::json(&record),
                false => output::facts(&record.facts()),
            }
            Ok(())
        }
        JobCommand::Cancel { id } => {
            let id = parse(id)?;
            let record = jobs.cancel_and_wait(&id, PATIENCE).map_err(|error| match error {
                CancelJobError::Find(error) => not_found(&error),
                error => Failure::from_error("cannot cancel the job", &error),
            })?;
            if globals.json {
                return output::json(&record);
            }
            output::line(match record.state.is_over() {
                true => format!("{id}: {}", record.state),
                false => format!("{id}: asked to stop; it stops where its work allows"),
            });
            Ok(())
        }
    }
}

fn parse(id: &str) -> Result<JobId, Failure> {
    id.parse().map_err(|error| {
        Failure::from_error(format!("cannot use `{id}`"), &error)
            .outcome(Outcome::Usage)
            .hint("bantam job list shows all")
    })
}

fn not_found(error: &FindJobError) -> Failure {
    Failure::from_error("cannot show the job", error).hint("bantam job list shows all")
}

fn row(record: &JobRecord) -> Vec<String> {
    let asked = record.parameters.as_object().into_iter().flatten();
    let asked = asked.filter_map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ");
    vec![
        record.id.to_string(),
        record.kind.clone(),
        record.state.to_string(),
        since(&record.created_at),
        record.percent().map_or_else(|| "-".to_owned(), |percent| format!("{percent} %")),
        asked,
    ]
}

/// Returns how long ago a time was.
fn since(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => age_text(SystemTime::now().duration_since(time.into()).unwrap_or_default()),
        Err(_) => time.to_owned(),
    }
}
