use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bantam_jobs::{EventBody, FailureReason, JobError, JobFailure, JobState, Jobs};
use serde_json::json;

use crate::workshop::{Say, Workshop, spec, told};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_result_is_there_after_a_restart() {
    let workshop = Workshop::new();
    let id = {
        let jobs = workshop.open();
        let job = jobs.submit(spec("train"), |_| Ok(json!({ "accuracy": 0.97 }))).unwrap();
        assert_eq!(job.wait().state, JobState::Done);
        job.id().clone()
    };
    let record = workshop.open().show(&id).unwrap();
    assert_eq!((record.state, record.result), (JobState::Done, Some(json!({ "accuracy": 0.97 }))));
    assert_eq!((&*record.kind, record.parameters), ("train", json!({ "task": "desk" })));
    assert!(record.started_at.is_some() && record.ended_at.is_some());
}

#[test]
fn a_failure_keeps_its_reason_and_its_hint() {
    let workshop = Workshop::new();
    let failure = JobFailure {
        reason: FailureReason::Refused,
        message: "the hub refuses".to_owned(),
        hint: Some("accept the licence".to_owned()),
    };
    let expected = failure.clone();
    let job = workshop.open().submit(spec("pull"), move |_| Err(failure.into())).unwrap();
    let record = job.wait();
    assert_eq!((record.state, record.failure), (JobState::Failed, Some(expected)));
}

#[test]
fn work_that_panics_is_a_failed_job_and_the_next_one_runs() {
    let workshop = Workshop::new();
    let jobs = workshop.open();
    let job = jobs.submit(spec("train"), |_| panic!("a test panics on purpose")).unwrap();
    let record = job.wait();
    assert_eq!(record.state, JobState::Failed);
    assert!(record.failure.unwrap().message.contains("panicked"));
    assert_eq!(jobs.submit(spec("train"), |_| Ok(json!(1))).unwrap().wait().state, JobState::Done);
}

#[test]
fn whoever_watches_sees_progress_events_and_the_end() {
    let workshop = Workshop::new();
    let (say, work) = told();
    let mut job = workshop
        .open()
        .submit(spec("train"), move |context| {
            context.note("begun");
            work(context)
        })
        .unwrap();
    say.send(Say::Progress(4)).unwrap();
    let (mut notes, mut state) = (Vec::new(), JobState::Queued);
    let mut progress = None;
    while progress.is_none() {
        let update = job.next(LONG);
        notes.extend(update.events.into_iter().filter_map(|event| match event.event {
            EventBody::Note { text } => Some(text),
            _ => None,
        }));
        (progress, state) = (update.progress, update.state);
    }
    assert_eq!((progress.unwrap().done, notes, state), (4, vec!["begun".to_owned()], JobState::Running));
    say.send(Say::End(Ok(json!(null)))).unwrap();
    while !job.next(LONG).state.is_over() {}
    assert_eq!(job.record().progress.unwrap().done, 4);
}

#[test]
fn a_cancelled_job_stops_and_is_not_called_failed() {
    let workshop = Workshop::new();
    let jobs = workshop.open();
    let (_say, work) = told();
    let job = jobs.submit(spec("train"), work).unwrap();
    let (_other, waiting) = told();
    let waiting = jobs.submit(spec("train"), waiting).unwrap();
    jobs.cancel(waiting.id()).unwrap();
    jobs.cancel(job.id()).unwrap();
    assert_eq!((job.wait().state, waiting.wait().state), (JobState::Cancelled, JobState::Cancelled));
    assert_eq!(waiting.record().started_at, None);
    let again = jobs.cancel(job.id()).unwrap_err().to_string();
    assert!(again.ends_with("has ended already: cancelled"), "{again}");
}

#[test]
fn work_can_wait_for_being_cancelled() {
    let workshop = Workshop::new();
    let jobs = workshop.open();
    let job = jobs
        .submit(spec("pull"), |context| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(context.cancelled());
            Err(JobError::Cancelled)
        })
        .unwrap();
    assert!(jobs.close(LONG));
    assert_eq!(job.record().state, JobState::Cancelled);
}

#[test]
fn work_that_computes_sees_between_two_steps_that_it_is_cancelled() {
    let workshop = Workshop::new();
    let jobs = workshop.open();
    let job = jobs
        .submit(spec("train"), |context| {
            let request = context.cancel_request();
            while !request.is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(JobError::Cancelled)
        })
        .unwrap();
    jobs.cancel(job.id()).unwrap();
    assert_eq!(job.wait().state, JobState::Cancelled);
}

#[test]
fn whoever_follows_a_job_hears_its_notes_and_stops_it_at_the_first_word() {
    let workshop = Workshop::new();
    let jobs = workshop.open();
    let mut job = jobs
        .submit(spec("train"), |context| {
            context.note("begun");
            while !context.is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(JobError::Cancelled)
        })
        .unwrap();
    let heard = std::cell::RefCell::new(Vec::new());
    let mut hear = |update: bantam_jobs::JobUpdate| heard.borrow_mut().extend(update.events);
    let has_begun = || {
        let is_note = |event: &bantam_jobs::JobEvent| matches!(event.event, EventBody::Note { .. });
        u32::from(heard.borrow().iter().any(is_note))
    };
    assert_eq!(job.follow(None, &has_begun, &mut hear).state, JobState::Cancelled);
}

#[test]
fn whoever_wants_out_twice_or_waits_in_vain_is_let_go() {
    let workshop = Workshop::new();
    let jobs = workshop.open();
    let check = |patience: Option<Duration>, times: u32| {
        // Work that does not look at whether it is to stop.
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let work = move |_: &bantam_jobs::JobContext| {
            let _ = ended.recv();
            Ok(json!(1))
        };
        let mut job = jobs.submit(spec("train"), work).unwrap();
        let record = job.follow(patience, &|| times, &mut |_| {});
        assert!(!record.state.is_over(), "{record:?}");
        end.send(()).unwrap();
        job.wait();
    };
    check(None, 2);
    check(Some(Duration::from_millis(1)), 1);
}

#[test]
fn jobs_of_one_second_are_listed_newest_first() {
    let workshop = Workshop::new();
    let jobs = workshop.open();
    let mut ids: Vec<_> = (0..8)
        .map(|number| {
            std::thread::sleep(Duration::from_millis(2));
            let job = jobs.submit(spec("train"), move |_| Ok(json!(number))).unwrap();
            job.wait();
            job.id().clone()
        })
        .collect();
    ids.reverse();
    let listed: Vec<_> = jobs.list().unwrap().jobs.into_iter().map(|job| job.id).collect();
    assert_eq!(listed, ids);
}

#[test]
fn files_are_for_their_owner_alone() {
    let workshop = Workshop::new();
    std::fs::create_dir_all(workshop.folder()).unwrap();
    std::fs::set_permissions(workshop.folder(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let jobs: Jobs = workshop.open();
    let (say, work) = told();
    let job = jobs.submit(spec("train"), work).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&workshop.folder()), 0o700);
    let files: Vec<_> =
        std::fs::read_dir(workshop.folder()).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 2, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    say.send(Say::End(Ok(json!(1)))).unwrap();
    job.wait();
}
