use bantam_jobs::{JobSpec, JobState, Jobs, JobsSettings, SubmitJobError};
use serde_json::{Value, json};

use crate::workshop::{Say, Workshop, spec, told};

#[test]
fn one_runs_some_wait_and_the_next_is_refused() {
    let workshop = Workshop::new();
    let jobs = Jobs::open(JobsSettings { queued_max: 1, ..workshop.settings() }).unwrap();
    let (first_says, first) = told();
    let first = jobs.submit(spec("train"), first).unwrap();
    // Taken from the queue once it runs.
    let mut watching = first.clone();
    while watching.next(std::time::Duration::from_secs(30)).state == JobState::Queued {}
    let (second_says, second) = told();
    let second = jobs.submit(spec("train"), second).unwrap();
    assert_eq!(second.record().state, JobState::Queued);
    let refused = jobs.submit(spec("train"), |_| Ok(json!(1)));
    assert!(matches!(refused, Err(SubmitJobError::QueueFull { waiting: 1 })));
    first_says.send(Say::End(Ok(json!(1)))).unwrap();
    second_says.send(Say::End(Ok(json!(2)))).unwrap();
    assert_eq!(first.wait().result, Some(json!(1)));
    assert_eq!(second.wait().result, Some(json!(2)));
}

#[test]
fn what_would_not_fit_a_record_is_refused_or_left_out() {
    let workshop = Workshop::new();
    let jobs = workshop.open();
    let long = || Value::from("x".repeat(2 << 20));
    let spec_of = |parameters| JobSpec { kind: "train".to_owned(), parameters };
    let refused = jobs.submit(spec_of(long()), |_| Ok(json!(1)));
    assert!(matches!(refused, Err(SubmitJobError::ParametersTooLarge { .. })));
    let job = jobs.submit(spec_of(json!({})), move |_| Ok(long())).unwrap();
    let record = job.wait();
    assert_eq!((record.state, record.result), (JobState::Failed, None));
    let job = jobs
        .submit(spec_of(json!({})), |context| {
            context.detail(Value::from("x".repeat(5 << 10)));
            (0..150).for_each(|number| context.note(format!("note {number}")));
            Ok(json!(1))
        })
        .unwrap();
    let record = job.wait();
    assert_eq!(record.events.len(), 100);
    // Queued, running, the detail, 150 notes, done.
    assert_eq!(record.events_dropped, 54);
    assert!(record.events.windows(2).all(|pair| pair[0].number + 1 == pair[1].number));
}

#[test]
fn old_records_make_room_for_new_ones() {
    let workshop = Workshop::new();
    let jobs = Jobs::open(JobsSettings { kept_max: 3, ..workshop.settings() }).unwrap();
    for number in 0..6 {
        jobs.submit(spec("pull"), move |_| Ok(json!(number))).unwrap().wait();
    }
    drop(jobs);
    let jobs = Jobs::open(JobsSettings { kept_max: 3, ..workshop.settings() }).unwrap();
    assert_eq!(jobs.list().unwrap().jobs.len(), 3);
    assert_eq!(std::fs::read_dir(workshop.folder()).unwrap().count(), 3);
}
