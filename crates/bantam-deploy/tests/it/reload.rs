use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bantam_config::Env;

use crate::desk::{Desk, MODELS, Seen, Serving};
use crate::tiny_model;

const TASKS: &str = "
[models.desk]
file = 'tiny.gguf'
kv_tokens = 256
[tasks.ticket]
kind = 'extract'
student_model = 'desk'
schema = 'ticket.schema.json'
[tasks.query]
kind = 'generate'
student_model = 'desk'
grammar = 'query.lark'
[tasks.intent]
kind = 'classify'
student = 'intent.student'
";

fn desk() -> Desk {
    let desk = Desk::new(&format!("{MODELS}{TASKS}"));
    tiny_model::write(&desk.path(""));
    desk.write("ticket.schema.json", r#"{"type": "object", "properties": {"a": {"type": "boolean"}}}"#);
    desk.write("query.lark", "start: \"yes\" | \"no\"\n");
    desk.train("intent.student", ["refund", "praise"]);
    desk
}

#[test]
fn every_file_that_a_deployment_is_made_of_is_watched() {
    let desk = desk();
    let mut serving = desk.serve();
    let files = [
        "bantam.toml",
        "tiny.gguf",
        "ticket.schema.json",
        "query.lark",
        "intent.student",
        "intent.certificate.json",
        "ticket.certificate.json",
    ];
    for file in files {
        assert!(serving.watches(&desk.path(file)), "{file}");
    }
    assert_eq!(serving.look(), Some(Seen::Unchanged));
    desk.write("query.lark", "start: \"yes\" | \"no\" | \"perhaps\"\n");
    assert_eq!(serving.settle(), Seen::Loaded);
    desk.write("ticket.schema.json", "{");
    let Seen::Refused(reason) = serving.settle() else { panic!("half a schema is refused") };
    assert!(reason.contains("cannot use the student of `ticket`: cannot use the schema"), "{reason}");
    assert_eq!(serving.settle(), Seen::Unchanged);
    desk.write("ticket.schema.json", r#"{"type": "object", "properties": {"b": {"type": "boolean"}}}"#);
    assert_eq!(serving.settle(), Seen::Loaded);
    let before = std::fs::read(desk.path("tiny.gguf")).unwrap();
    desk.write("tiny.gguf", "no model");
    assert!(matches!(serving.settle(), Seen::Refused(_)));
    desk.write("tiny.gguf", before);
    assert_eq!(serving.settle(), Seen::Loaded);
}

#[test]
fn a_change_is_taken_over_once_it_reads_the_same_twice() {
    let desk = Desk::new(MODELS);
    let mut serving = desk.serve();
    let with = |name: &str| format!("{MODELS}[models.{name}]\nupstream = 'u'\ntier = 'local'\n");
    desk.write("bantam.toml", with("one"));
    assert_eq!(serving.look(), None);
    desk.write("bantam.toml", with("two"));
    assert_eq!(serving.look(), None, "it changed since the last look");
    assert_eq!(serving.look(), Some(Seen::Loaded));
    assert!(serving.deployment.models.contains_key("two") && !serving.deployment.models.contains_key("one"));
    assert_eq!(serving.look(), Some(Seen::Unchanged));
}

/// Changes the configuration at the moment that it is being read.
struct Meddler {
    path: std::path::PathBuf,
    text: String,
    is_armed: AtomicBool,
}

impl Env for Meddler {
    fn get(&self, name: &str) -> Option<String> {
        if name == "BANTAM_SERVER_BIND" && self.is_armed.swap(false, Ordering::Relaxed) {
            std::fs::write(&self.path, &self.text).unwrap();
        }
        None
    }
}

#[test]
fn a_change_that_is_made_while_a_change_is_read_is_not_missed() {
    let desk = Desk::new(MODELS);
    let with = |name: &str| format!("{MODELS}[models.{name}]\nupstream = 'u'\ntier = 'local'\n");
    let meddler = Arc::new(Meddler {
        path: desk.path("bantam.toml"),
        text: with("two"),
        is_armed: AtomicBool::new(false),
    });
    let mut serving = Serving::start(desk.source_with(Arc::clone(&meddler) as Arc<_>));
    desk.write("bantam.toml", with("one"));
    meddler.is_armed.store(true, Ordering::Relaxed);
    assert_eq!((serving.look(), serving.look()), (None, None), "what was read is not whole");
    assert_eq!(serving.settle(), Seen::Loaded);
    assert!(serving.deployment.models.contains_key("two"));
    // The same at the very start.
    let desk = Desk::new(MODELS);
    let meddler = Meddler { path: desk.path("bantam.toml"), text: with("two"), is_armed: true.into() };
    let mut serving = Serving::start(desk.source_with(Arc::new(meddler)));
    assert!(!serving.deployment.models.contains_key("two"));
    assert_eq!(serving.settle(), Seen::Loaded);
    assert!(serving.deployment.models.contains_key("two"));
}

#[test]
fn a_refused_change_is_tried_again_when_what_it_missed_appears() {
    let desk = Desk::new(MODELS);
    let mut serving = desk.serve();
    desk.write(
        "bantam.toml",
        format!("{MODELS}[tasks.intent]\nkind = 'classify'\nstudent = 'intent.student'\n"),
    );
    let Seen::Refused(reason) = serving.settle() else { panic!("the student is not there") };
    assert!(reason.contains("names a file that is not there"), "{reason}");
    assert_eq!(serving.settle(), Seen::Unchanged);
    // Half a student is none.
    desk.train("whole.student", ["refund", "praise"]);
    let student = std::fs::read(desk.path("whole.student")).unwrap();
    desk.write("intent.student", &student[..student.len() / 2]);
    let Seen::Refused(reason) = serving.settle() else { panic!("half a student is none") };
    assert!(reason.contains("cannot use the student of `intent`"), "{reason}");
    desk.write("intent.student", &student);
    assert_eq!(serving.settle(), Seen::Loaded);
    assert_eq!(serving.deployment.tasks.len(), 1);
}

#[test]
fn a_model_that_the_store_lacks_is_tried_again_when_it_comes() {
    let config = format!("{MODELS}[store]\npath = 'models'\n");
    let desk = Desk::new(&config);
    tiny_model::write(&desk.path(""));
    let mut serving = desk.serve();
    desk.write("bantam.toml", format!("{config}[models.desk]\nstore = 'tiny'\nkv_tokens = 256\n"));
    let Seen::Refused(reason) = serving.settle() else { panic!("the store is empty") };
    assert!(reason.contains("cannot use the model `desk`: there is no model `tiny`"), "{reason}");
    let store = bantam_store::Store::open(desk.path("models"));
    store.import(&desk.path("tiny.gguf"), &"tiny".parse().unwrap(), false, &mut |_| ()).unwrap();
    assert_eq!(serving.settle(), Seen::Loaded);
    assert!(serving.deployment.models.contains_key("desk"));
}
