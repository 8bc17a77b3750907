use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use insta::assert_snapshot;

use crate::place::{MODELS, Place, Running};
use crate::rows;

/// A gateway on a port of the system's choice.
pub(crate) struct Serving {
    process: Running,
    address: String,
    said: Arc<Mutex<String>>,
}

impl Serving {
    /// Starts it and waits until it says where it listens.
    pub(crate) fn start(place: &Place) -> Self {
        let mut command = place.command(&["serve", "--set", "server.bind=127.0.0.1:0"]);
        let mut process = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let mut said = String::new();
        let mut lines = BufReader::new(process.0.stderr.take().unwrap());
        while !said.contains("is serving on http://") {
            assert!(lines.read_line(&mut said).unwrap() > 0, "it ended: {said}");
        }
        let address = said.split("http://").nth(1).unwrap().trim().to_owned();
        let said = Arc::new(Mutex::new(said));
        let hears = Arc::clone(&said);
        // Read to the end, or the next line it says would break the pipe.
        std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                hears.lock().unwrap().push_str(&std::mem::take(&mut line));
            }
        });
        Self { process, address, said }
    }

    /// Returns all that it has said on standard error.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.process.0.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends one request and returns the whole answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        write!(socket, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(mut self) {
        self.signal("-TERM");
        assert!(self.process.0.wait().unwrap().success());
    }
}

#[test]
fn it_serves_and_ends_when_asked_to() {
    let place = Place::with_config(MODELS);
    let serving = Serving::start(&place);
    assert!(serving.ask("GET", "/healthz", "").ends_with("{\"status\":\"alive\"}"));
    assert!(serving.ask("GET", "/readyz", "").ends_with("{\"status\":\"ready\"}"));
    let refused = serving.ask("POST", "/v1/chat/completions", "{\"model\": \"smal\"}");
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    serving.stop();
}

#[test]
fn a_port_that_is_taken_is_told_with_a_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::with_config(MODELS);
    let shown = place.run(&["serve", "--set", &format!("server.bind={address}")]);
    assert_snapshot!(shown.replace(&address, "[ADDRESS]"));
}

#[test]
fn other_machines_are_not_served_without_a_key() {
    assert_snapshot!(Place::with_config(MODELS).run(&["serve", "--set", "server.bind=0.0.0.0:0"]));
}

#[test]
fn a_key_that_is_not_set_or_too_short_is_refused_before_the_port_opens() {
    let place = Place::with_config(&format!("{MODELS}\n[server]\napi_key_envs = [\"DESK_KEY\"]\n"));
    assert_snapshot!("key_not_set", place.run(&["serve"]));
    assert_snapshot!("key_too_short", place.env("DESK_KEY", "short").run(&["serve"]));
}

#[test]
fn a_damaged_student_or_certificate_is_a_named_error_at_the_start() {
    let place = Place::with_config(&format!(
        "{MODELS}\n[tasks.desk]\nkind = \"classify\"\nstudent = \"desk.student\"\n"
    ));
    place.write("desk.student", "no student at all");
    assert_snapshot!("damaged_student", place.run(&["serve"]));
    place.write("rows.jsonl", rows::lines(0, 60));
    place.good(&["student", "train", "--data", "rows.jsonl", "--out", "desk.student"]);
    place.write("desk.certificate.json", "{}");
    assert_snapshot!("damaged_certificate", place.run(&["serve"]));
}

#[test]
fn a_second_gateway_on_the_same_ledger_is_refused() {
    let place = Place::with_config(MODELS);
    let first = Serving::start(&place);
    let shown = place.run(&["serve", "--set", "server.bind=127.0.0.1:0"]);
    assert_snapshot!(shown);
    first.stop();
}
