//! Several processes over one folder. A lock belongs to an open file, so two registries of one process meet as two
//! processes would.

use std::time::Duration;

use bantam_jobs::{CancelJobError, FindJobError, JobState};
use serde_json::{Value, json};

use crate::workshop::{Say, Workshop, spec, told};

#[test]
fn a_job_whose_process_died_is_interrupted_at_the_next_start() {
    let (workshop, after) = (Workshop::new(), Workshop::new());
    let jobs = workshop.open();
    let (say, work) = told();
    let mut job = jobs.submit(spec("train"), work).unwrap();
    while job.next(Duration::from_secs(30)).state == JobState::Queued {}
    // What the folder would look like had the process died now: the record and a lock file that nobody holds.
    std::fs::create_dir_all(after.folder()).unwrap();
    for file in std::fs::read_dir(workshop.folder()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), after.folder().join(file.file_name())).unwrap();
    }
    let record = after.open().show(job.id()).unwrap();
    assert_eq!(record.state, JobState::Interrupted);
    assert!(record.ended_at.is_some() && record.result.is_none());
    assert_eq!(after.open().list().unwrap().jobs, [record]);
    say.send(Say::End(Ok(json!(1)))).unwrap();
    assert_eq!(job.wait().state, JobState::Done);
}

#[test]
fn another_process_sees_a_running_job_and_can_cancel_it() {
    let workshop = Workshop::new();
    let (here, there) = (workshop.open(), workshop.open());
    let (_say, work) = told();
    let mut job = here.submit(spec("train"), work).unwrap();
    while job.next(Duration::from_secs(30)).state == JobState::Queued {}
    assert_eq!(there.show(job.id()).unwrap().state, JobState::Running);
    assert_eq!(there.list().unwrap().jobs[0].state, JobState::Running);
    there.cancel(job.id()).unwrap();
    assert_eq!(job.wait().state, JobState::Cancelled);
    assert_eq!(there.show(job.id()).unwrap().state, JobState::Cancelled);
    assert!(matches!(there.cancel(job.id()), Err(CancelJobError::Over { .. })));
    let left: Vec<_> =
        std::fs::read_dir(workshop.folder()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, [format!("{}.json", job.id()).as_str()]);
}

#[test]
fn a_damaged_record_is_reported_and_does_not_hide_the_others() {
    let workshop = Workshop::new();
    let jobs = workshop.open();
    let job = jobs.submit(spec("pull"), |_| Ok(json!(1))).unwrap();
    job.wait();
    let good = std::fs::read_to_string(workshop.folder().join(format!("{}.json", job.id()))).unwrap();
    let later: Value = serde_json::from_str(&good).unwrap();
    let later = Value::from_iter(later.as_object().unwrap().clone().into_iter().map(|(key, value)| {
        let value = if key == "version" { json!(9) } else { value };
        (key, value)
    }));
    std::fs::write(workshop.folder().join("bcdfghjkmn.json"), &good[..good.len() / 2]).unwrap();
    std::fs::write(workshop.folder().join("bcdfghjkmp.json"), "").unwrap();
    std::fs::write(workshop.folder().join("bcdfghjkmq.json"), later.to_string()).unwrap();
    std::fs::write(workshop.folder().join("notes.txt"), "not a record").unwrap();
    let list = workshop.open().list().unwrap();
    assert_eq!(list.jobs.iter().map(|record| &record.id).collect::<Vec<_>>(), [job.id()]);
    assert_eq!(list.damaged.len(), 3, "{:?}", list.damaged);
    assert!(list.damaged[2].reason.contains("format version 9"), "{:?}", list.damaged);
    let damaged = workshop.open().show(&"bcdfghjkmn".parse().unwrap()).unwrap_err();
    assert!(matches!(damaged, FindJobError::Record { .. }), "{damaged}");
    let missing = workshop.open().show(&"zzzzzzzzzz".parse().unwrap()).unwrap_err();
    assert!(matches!(missing, FindJobError::Missing { .. }), "{missing}");
}
