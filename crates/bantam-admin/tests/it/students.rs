//! Students: trained and certified as jobs, shown and asked.

use bantam_admin::{
    CertifyTaskError, PredictRowsError, PredictedRow, TaskCertification, TaskEvidence, TrainingRows,
    certify_task, export_student, predict_rows, show_student, train_student,
};
use bantam_jobs::{EventBody, JobContext, JobError, JobRecord, JobState};
use bantam_teach::{ExportForm, ExportRequest, StudentKind, TrainErrorKind, TrainingPlan, TrainingRequest};
use bantam_types::TaskName;
use serde_json::{Value, json};

use crate::desk::Desk;

const LABELS: [&str; 2] = ["refund", "praise"];

/// Returns rows that are learnt without an error; different `from` give different texts.
fn rows(from: usize, count: usize) -> String {
    let row = |number: usize| {
        let label = LABELS[number % 2];
        format!("{}\n", json!({ "text": format!("a text about {label}, number {number}"), "label": label }))
    };
    (from..from + count).map(row).collect()
}

/// Trains a linear student as a job.
fn train(desk: &Desk, rows: &str) -> JobRecord {
    let rows = TrainingRows::File(desk.write("rows.jsonl", rows));
    let plan =
        TrainingPlan::new(TrainingRequest::new(StudentKind::Linear, desk.path("desk.student"))).unwrap();
    let job = desk.start(move |context| match train_student(&plan, rows, context) {
        Ok(report) => Ok(serde_json::to_value(report).unwrap()),
        Err(error) if error.kind() == TrainErrorKind::Stopped => Err(JobError::Cancelled),
        Err(error) => Ok(Value::from(error.to_string())),
    });
    job.wait()
}

fn notes(record: &JobRecord) -> Vec<(&'static str, String)> {
    let said = record.events.iter().filter_map(|event| match &event.event {
        EventBody::Note { text } => Some(("note", text.clone())),
        EventBody::Warning { text } => Some(("warning", text.clone())),
        _ => None,
    });
    said.collect()
}

/// Certifies the student of the task `desk` as a job.
fn certify(desk: &Desk, task: &str, evidence: &str) -> JobRecord {
    let config =
        desk.config(&format!("[tasks.desk]\nkind = 'classify'\nlabels = ['refund', 'praise']\n{task}"));
    let wanted = TaskCertification {
        error_max: 0.02,
        confidence: 0.95,
        evidence: TaskEvidence::File(desk.write("evidence.jsonl", evidence)),
        out: desk.path("desk.certificate.json"),
    };
    let work = move |context: &JobContext| {
        let name: TaskName = "desk".parse().unwrap();
        let task = &config.tasks[&name];
        match certify_task(&config, (&name, task), wanted, context) {
            Ok(report) => Ok(serde_json::to_value(report).unwrap()),
            Err(CertifyTaskError::NoStudent { .. }) => Ok(Value::from("no student")),
            Err(error) => Ok(Value::from(error.to_string())),
        }
    };
    desk.start(work).wait()
}

#[test]
fn a_student_is_trained_and_certified_with_progress_and_warnings() {
    let desk = Desk::new();
    let trained = train(&desk, &rows(0, 60));
    assert_eq!(trained.state, JobState::Done);
    let progress = trained.progress.unwrap();
    assert!(progress.done > 0 && progress.unit == "passes", "{progress:?}");
    assert_eq!(trained.result.unwrap()["rows"], 60);

    let with_student = "student = 'desk.student'\n";
    // Ten of the rows were trained on.
    let certified = certify(&desk, with_student, &rows(50, 300));
    let report = certified.result.as_ref().unwrap();
    assert_eq!((&report["certified"], &report["rows"]), (&true.into(), &290.into()), "{report}");
    assert_eq!(
        notes(&certified),
        [("warning", "10 of 300 rows are left out: the student was trained on them".into())]
    );
    let progress = certified.progress.unwrap();
    assert_eq!((progress.done, progress.total, &*progress.unit), (290, Some(290), "rows"));
    assert!(desk.path("desk.certificate.json").exists());

    let with_context = rows(1000, 300).replacen("{\"text\"", "{\"context\":\"hello\",\"text\"", 1);
    let told = notes(&certify(&desk, with_student, &with_context));
    assert_eq!(told, [("note", "1 row has a context, which this student does not read".to_owned())]);
    assert_eq!(certify(&desk, "", &rows(0, 10)).result, Some("no student".into()));
}

#[test]
fn a_student_that_is_stopped_says_how_far_it_came() {
    let desk = Desk::new();
    let lines: String = (0..500)
        .map(|n| format!("{}\n", json!({ "text": format!("order {n}"), "answer": format!("lamp {n}") })))
        .collect();
    let rows = TrainingRows::File(desk.write("answers.jsonl", lines));
    let request = TrainingRequest {
        size: Some(100_000),
        epochs: Some(500),
        ..TrainingRequest::new(StudentKind::Decoder, desk.path("order.student"))
    };
    let plan = TrainingPlan::new(request).unwrap();
    let mut job = desk.start(move |context| match train_student(&plan, rows, context) {
        Err(error) if error.kind() == TrainErrorKind::Stopped => Err(JobError::Cancelled),
        other => panic!("it was not stopped: {other:?}"),
    });
    while job.next(std::time::Duration::from_secs(60)).progress.is_none() {}
    job.cancel();
    let record = job.wait();
    assert_eq!(record.state, JobState::Cancelled);
    let progress = record.progress.as_ref().unwrap();
    assert!(progress.unit == "steps" && progress.item.as_ref().unwrap().contains("tokens/s"), "{progress:?}");
    let said = notes(&record);
    assert!(said.iter().any(|(_, text)| text.contains("training was stopped after step")), "{said:?}");
    assert!(!desk.path("order.student").exists());
}

#[test]
fn a_student_is_shown_and_answers_rows() {
    let desk = Desk::new();
    train(&desk, &rows(0, 60));
    let details = show_student(&desk.path("desk.student")).unwrap();
    let shown = serde_json::to_value(&details).unwrap();
    assert_eq!((&shown["seen"], shown["sha256"].as_str().unwrap().len()), (&60.into(), 64));
    assert!(shown.get("reads_context").is_none(), "a classifier reads none");
    assert!(show_student(&desk.write("other", "not a student")).is_err());

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ask = |rows: &str| {
        let mut answers = Vec::new();
        let rows = desk.write("ask.jsonl", rows);
        let mut tell = |row: PredictedRow| answers.push(serde_json::to_value(row).unwrap());
        let done = runtime.block_on(predict_rows(&desk.path("desk.student"), None, &rows, &mut tell));
        (answers, done)
    };
    let (answers, done) = ask("{\"text\": \"a text about praise\"}\n{\"text\": \"a text about refund\"}\n");
    done.unwrap();
    let labels: Vec<_> = answers.iter().map(|answer| answer["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["praise", "refund"]);
    assert!(answers[0]["probability"].as_f64() > Some(0.5) && answers[0]["out_of_scope"] == false);
    let error = ask("not json\n").1.unwrap_err();
    assert!(matches!(error, PredictRowsError::Rows(_)), "{error}");

    let request = |form| ExportRequest { form, out: desk.path("exported"), data: None };
    for form in [ExportForm::Peft, ExportForm::Gguf] {
        let error = export_student(&desk.path("desk.student"), None, &request(form)).unwrap_err();
        assert_eq!(error.to_string(), "a student of this kind can only be exported to peft");
    }
    let error = export_student(&desk.path("gone"), None, &request(ExportForm::Peft)).unwrap_err();
    assert!(error.to_string().starts_with("there is no student at "), "{error}");
}
