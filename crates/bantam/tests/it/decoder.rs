//! Decoders as students: trained, killed and taken up again, asked, served, certified, exported.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::place::{MODELS, Place, Running};
use crate::serve::Serving;
use crate::tiny_model;

const PRODUCTS: [&str; 4] = ["lamp", "tent", "mug", "desk"];
const TASK: &str = "
[tasks.order]
kind = \"extract\"
student = \"order.student\"
schema = \"schema.json\"
instructions = \"Write the product.\"
ladder = [\"student\", \"small\"]
";

/// Rows that are learnt in seconds: the product that the text names.
fn rows(first: usize, count: usize) -> String {
    let row = |number: usize| {
        let product = PRODUCTS[number * 7 % 4];
        let text = match number % 3 {
            0 => format!("please send {number} {product}s"),
            1 => format!("where is the {product} of order {number}"),
            _ => format!("{number} times the {product}"),
        };
        format!("{}\n", json!({ "text": text, "answer": { "product": product } }))
    };
    (first..first + count).map(row).collect()
}

fn place() -> Place {
    let place = Place::with_config(&format!("{MODELS}{TASK}"));
    place.write("rows.jsonl", rows(0, 240));
    place.write("other.jsonl", rows(1000, 300));
    place.write(
        "schema.json",
        json!({
            "type": "object", "properties": { "product": { "enum": PRODUCTS } },
            "required": ["product"], "additionalProperties": false,
        })
        .to_string(),
    );
    place
}

/// Trains `out` in the way of most tests, with `more` flags.
fn training<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut flags = vec!["student", "train", "--kind", "decoder", "--data", "rows.jsonl", "--out", out];
    flags.extend(["--schema", "schema.json", "--instructions", "Write the product.", "--size", "100k"]);
    if !more.contains(&"--epochs") {
        flags.extend(["--epochs", "8"]);
    }
    flags.extend(["--rate", "0.004"]);
    flags.extend(more);
    flags
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn read(place: &Place, name: &str) -> Vec<u8> {
    std::fs::read(place.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn a_decoder_learns_from_nothing_and_is_judged_as_it_is_served() {
    let place = place();
    let more = ["--json", "--log", "log.jsonl", "--curve", "curve.svg", "--tensorboard", "board"];
    let report = json_of(&place.good(&training("order.student", &more)));
    assert_eq!((report["rows"].as_u64(), report["held_out_rows"].as_u64()), (Some(216), Some(24)));
    assert!(report["exact_match"].as_f64().unwrap() > 0.9, "{report}");
    assert!(report["replayed_tokens"].as_u64().unwrap() > 100 && report["sha256"].is_string(), "{report}");

    let answers = place.good(&["student", "predict", "--student", "order.student", "--input", "other.jsonl"]);
    let answers: Vec<Value> = answers.lines().map(json_of).collect();
    let expected: Vec<Value> = rows(1000, 300).lines().map(json_of).collect();
    let right = answers.iter().zip(&expected).filter(|(found, row)| found["answer"] == row["answer"]).count();
    assert!(right > 280, "{right} of 300");
    assert!(answers.iter().all(|answer| (0.0..=1.0).contains(&answer["confidence"].as_f64().unwrap())));

    let shown = place.good(&["student", "show", "order.student"]);
    assert!(
        shown.contains("\"instructions\": \"Write the product.\"") && shown.contains("\nsha256 "),
        "{shown}"
    );
    let log = String::from_utf8(read(&place, "log.jsonl")).unwrap();
    let last = json_of(log.lines().last().unwrap());
    assert_eq!(last, json!({ "event": "end", "outcome": "done" }));
    assert_eq!(log.lines().filter(|line| line.contains("\"held_out\"")).count(), 8);
    assert!(String::from_utf8(read(&place, "curve.svg")).unwrap().contains("held out"));
    assert_eq!(std::fs::read_dir(place.path("board")).unwrap().count(), 1);
    // The checkpoint has gone, and the folder holds nothing but the student.
    assert!(!place.path("order.student.checkpoint").exists());
    assert_eq!(std::fs::read_dir(place.path("order.student")).unwrap().count(), 2);
}

#[test]
fn a_verifier_is_tried_where_answers_go_wrong_and_kept_only_if_it_wins() {
    let place = place();
    // Every third of the texts has an answer that nobody can know.
    let doubtful = |row: String| {
        let mut row = json_of(&row);
        let text = row["text"].as_str().unwrap().to_owned();
        let number: usize = text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap();
        if number % 3 == 1 {
            row["answer"]["product"] = PRODUCTS[number * 7919 / 13 % 4].into();
        }
        format!("{row}\n")
    };
    place.write("rows.jsonl", rows(0, 240).lines().map(|row| doubtful(row.to_owned())).collect::<String>());
    let report = json_of(&place.good(&training("order.student", &["--json", "--held-out", "0.4"])));
    let file = json_of(&String::from_utf8(read(&place, "order.student/student.json")).unwrap());
    let (tokens, verified) = (report["confidence_auc"].as_f64(), report["verified_auc"].as_f64());
    assert!(verified.is_some_and(|auc| (0.0..=1.0).contains(&auc)), "{report}");
    assert_eq!(file["verifier"].is_object(), verified > tokens, "{report}");
    assert!(!file["verifier"].to_string().contains("lamp"));
    let answers = place.good(&["student", "predict", "--student", "order.student", "--input", "other.jsonl"]);
    let sure = answers.lines().map(|line| json_of(line)["confidence"].as_f64().unwrap());
    assert!(sure.into_iter().all(|sure| (0.0..=1.0).contains(&sure)));
}

#[test]
fn killed_and_taken_up_again_it_comes_to_the_same_bytes() {
    let place = place();
    let flags = ["--epochs", "4", "--checkpoint-every", "5"];
    place.good(&training("whole.student", &flags));
    let flags = [&flags[..], &["--log", "log.jsonl", "--resume"]].concat();
    let steps = || match std::fs::read_to_string(place.path("log.jsonl")) {
        Ok(log) => log.lines().filter(|line| line.contains("\"event\":\"step\"")).count(),
        Err(_) => 0,
    };
    for kill_at in [12, 40] {
        let mut command = place.command(&training("killed.student", &flags));
        let mut process = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        while steps() < kill_at {
            assert!(process.0.try_wait().unwrap().is_none(), "it ended before it could be killed");
            assert!(begun.elapsed() < Duration::from_secs(60), "no step in a minute");
            std::thread::sleep(Duration::from_millis(5));
        }
        // SIGKILL: nothing of the process runs after it.
        process.0.kill().unwrap();
        process.0.wait().unwrap();
        assert!(!place.path("killed.student").exists());
        let shown = place.run(&["train", "order", "--watch", "--log", "log.jsonl"]);
        assert!(shown.contains("stopped unexpectedly") && shown.contains("--resume"), "{shown}");
    }
    place.good(&training("killed.student", &flags));
    assert!(String::from_utf8(read(&place, "log.jsonl")).unwrap().contains("\"event\":\"resumed\""));
    for file in ["model.gguf", "student.json"] {
        let [whole, killed] = ["whole", "killed"].map(|name| read(&place, &format!("{name}.student/{file}")));
        assert!(whole == killed, "{file}");
    }
}

#[test]
fn a_checkpoint_of_other_settings_is_refused() {
    let place = place();
    let mut command =
        place.command(&training("order.student", &["--epochs", "50", "--checkpoint-every", "1"]));
    let mut process = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    while !place.path("order.student.checkpoint").exists() {
        assert!(process.0.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = process.0.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(process.0.wait().unwrap().code(), Some(130), "stopped by Ctrl-C");
    let shown = place.run(&training("order.student", &["--epochs", "50", "--seed", "8", "--resume"]));
    assert!(shown.contains("other rows, settings or another base") && shown.contains("help: "), "{shown}");
}

#[test]
fn what_cannot_be_trained_is_named_with_what_to_do() {
    let place = place();
    let check = |rows: Option<&str>, more: &[&str], expected: [&str; 2]| {
        if let Some(rows) = rows {
            place.write("rows.jsonl", rows);
        }
        let shown = place.run(&training("order.student", more));
        assert!(!shown.starts_with("exit code: 0\n") && shown.contains("help: "), "{shown}");
        for expected in expected {
            assert!(shown.contains(expected), "{expected}: {shown}");
        }
        assert!(!place.path("order.student").exists());
        let left = std::fs::read_dir(place.path("")).unwrap().flatten();
        assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().ends_with(".tmp")));
    };
    let good = rows(0, 30);
    check(Some(&good), &["--tokens-max", "8"], ["line 1", "--tokens-max"]);
    check(None, &["--base", "none.gguf"], ["exit code: 3", "none.gguf"]);
    check(None, &["--tune", "none"], ["exit code: 2", "--tune"]);
    check(None, &["--log", "none/log.jsonl"], ["cannot write the log", "none/log.jsonl"]);
    check(None, &["--checkpoint", "none/x"], ["cannot write the training checkpoint", "make room"]);
    check(Some(""), &[], ["no rows", "at least 20"]);
    check(Some(&rows(0, 19)), &[], ["too few", "at least 20"]);
    check(Some(&format!("{good}{{\"text\": 5}}\n")), &[], ["line 31", "`text`"]);
    check(Some(&format!("{good}no json\n")), &[], ["line 31", "a row is one line"]);
    let pair = "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}\n";
    check(Some(&format!("{good}{pair}")), &[], ["some are preferences", "of its own"]);
    let pairs: String = (0..30).map(|number| pair.replace("\"a\"", &format!("\"a{number}\""))).collect();
    check(Some(&pairs), &[], ["exit code: 2", "--base"]);
    std::fs::create_dir(place.path("kept")).unwrap();
    place.write("kept/letter.txt", "mine");
    place.write("rows.jsonl", &good);
    let shown = place.run(&training("kept", &[]));
    assert!(
        shown.contains("does not contain a student") && place.path("kept/letter.txt").exists(),
        "{shown}"
    );
}

#[test]
fn a_loss_that_is_no_number_ends_it_with_a_hint_and_leaves_what_was_there() {
    let place = place();
    place.good(&training("base.student", &["--epochs", "1"]));
    let before = read(&place, "base.student/student.json");
    // Weights as large as f32 has them: their products are none of its numbers.
    let mut model = read(&place, "base.student/model.gguf");
    let end = model.len();
    for number in model[end - 65_536..].chunks_exact_mut(4) {
        number.copy_from_slice(&f32::MAX.to_le_bytes());
    }
    std::fs::write(place.path("huge.gguf"), model).unwrap();
    let flags = ["student", "train", "--kind", "decoder", "--data", "rows.jsonl", "--base", "huge.gguf"];
    for out in ["new.student", "base.student"] {
        let shown = place.run(&[&flags[..], &["--out", out, "--epochs", "2"]].concat());
        assert!(shown.starts_with("exit code: 1\n"), "{shown}");
        assert!(
            shown.contains("step 1 diverged: loss NaN") && shown.contains("help: check the base"),
            "{shown}"
        );
    }
    assert!(!place.path("new.student").exists());
    assert_eq!(read(&place, "base.student/student.json"), before);
}

#[test]
fn a_task_is_trained_served_and_certified_and_what_changes_it_voids_that() {
    let place = place();
    let trained = place.run(&[
        "train",
        "order",
        "--student",
        "decoder",
        "--data",
        "rows.jsonl",
        "--size",
        "100k",
        "--epochs",
        "8",
        "--rate",
        "0.004",
    ]);
    assert!(trained.contains("training a decoder for order"), "{trained}");
    assert!(trained.contains("bantam certify order --error 0.02 --data"), "{trained}");
    let watched = place.good(&["train", "order", "--watch"]);
    assert!(watched.contains("the training has ended: done") && watched.contains("tokens/s"), "{watched}");

    let seen = place.run(&["certify", "order", "--error", "0.05", "--data", "rows.jsonl"]);
    assert!(seen.starts_with("exit code: 6\n") && seen.contains("trained on all of these rows"), "{seen}");
    let certified = place.run(&["certify", "order", "--error", "0.05", "--data", "other.jsonl"]);
    assert!(
        certified.starts_with("exit code: 0\n") && certified.contains("of 300 rows accepted"),
        "{certified}"
    );

    let ask =
        json!({ "model": "task/order", "messages": [{ "role": "user", "content": "9 times the tent" }] });
    let serving = Serving::start(&place);
    let answer = serving.ask("POST", "/v1/chat/completions", &ask.to_string());
    let whole = json_of(answer.split("\r\n\r\n").nth(1).unwrap());
    assert_eq!(whole["bantam"]["tier"], "local", "{whole}");
    assert_eq!(
        json_of(whole["choices"][0]["message"]["content"].as_str().unwrap()),
        json!({"product": "tent"})
    );
    serving.stop();

    let json = String::from_utf8(read(&place, "order.student/student.json")).unwrap();
    place.write("order.student/student.json", json.replace("Write the product.", "Write a product."));
    let shown = place.run(&["route", "--explain", "9 times the tent", "--model", "task/order"]);
    assert!(shown.contains("is void for the student of order"), "{shown}");
    assert!(shown.contains("taught with other instructions"), "{shown}");
    place.write("order.student/student.json", json);
    let mut weights = read(&place, "order.student/model.gguf");
    *weights.last_mut().unwrap() ^= 1;
    place.write("order.student/model.gguf", weights);
    let shown = place.run(&["config", "check"]);
    assert!(
        shown.starts_with("exit code: 3\n") && shown.contains("has changed since it was trained"),
        "{shown}"
    );
}

#[test]
fn a_task_whose_answers_are_written_takes_a_decoder_and_no_other_student() {
    let task = "\n[tasks.reply]\nkind = \"rewrite\"\nstudent = \"reply.student\"\n";
    let place = Place::with_config(&format!("{MODELS}{task}"));
    let lines = |first: usize, key: &str| -> String {
        let row = |number: usize| {
            let product = PRODUCTS[number * 7 % 4];
            format!("{}\n", json!({ "text": format!("{product} {number}"), key: format!("A {product}.") }))
        };
        (first..first + 240).map(row).collect()
    };
    place.write("rows.jsonl", lines(0, "answer"));
    place.write("other.jsonl", lines(1000, "answer"));
    place.write("labels.jsonl", lines(0, "label"));
    place.good(&["student", "train", "--data", "labels.jsonl", "--out", "reply.student"]);
    let shown = place.run(&["config", "check"]);
    assert!(
        shown.starts_with("exit code: 1\n")
            && shown.contains("is not a decoder, and other students cannot rewrite"),
        "{shown}"
    );
    std::fs::remove_file(place.path("reply.student")).unwrap();
    let mut flags = vec!["train", "reply", "--data", "rows.jsonl", "--size", "100k", "--epochs", "8"];
    flags.extend(["--rate", "0.004"]);
    place.good(&flags);
    let shown = place.run(&["certify", "reply", "--error", "0.05", "--data", "other.jsonl"]);
    assert!(shown.starts_with("exit code: 0\n") && shown.contains("of 240 rows accepted"), "{shown}");
    let shown = place.run(&["route", "--explain", "tent 2000", "--model", "task/reply"]);
    assert!(shown.contains("A tent."), "{shown}");
}

#[test]
fn an_adapter_of_a_base_is_trained_asked_and_exported_in_every_form() {
    let place = place();
    tiny_model::write(&place.path(""));
    let flags = ["--base", "tiny.gguf", "--rank", "4", "--epochs", "1", "--base-form", "served", "--json"];
    let flags = [
        &["student", "train", "--kind", "decoder", "--data", "rows.jsonl", "--out", "a.student"],
        &flags[..],
    ];
    let flags = [&flags.concat()[..], &["--schema", "schema.json", "--instructions", "Write it."]].concat();
    let report = json_of(&place.good(&flags));
    assert!(report["replay_difference"].as_f64().unwrap() < 2e-3, "{report}");
    let answers = place.good(&["student", "predict", "--student", "a.student", "--input", "other.jsonl"]);
    assert!(answers.lines().all(|line| json_of(line)["answer"]["product"].is_string()));
    for (form, file) in
        [("peft", "adapter_model.safetensors"), ("gguf", "adapter.gguf"), ("merged", "model.gguf")]
    {
        place.good(&["train", "export", "a.student", "--to", form, "--out", form]);
        assert!(place.path(&format!("{form}/{file}")).exists(), "{form}");
    }
    assert!(read(&place, "gguf/adapter.gguf") == read(&place, "a.student/adapter.gguf"));
    // Other trainers need the base's safetensors; here a folder stands for them.
    let shown =
        place.run(&["train", "export", "a.student", "--to", "trl", "--out", "t", "--data", "rows.jsonl"]);
    assert!(shown.starts_with("exit code: 2\n") && shown.contains("safetensors"), "{shown}");
    std::fs::create_dir(place.path("folder")).unwrap();
    for (form, file, expected) in
        [("trl", "train.py", "completion_only_loss=True"), ("axolotl", "axolotl.yml", "lora_r: 4")]
    {
        let more = ["--to", form, "--out", form, "--data", "rows.jsonl", "--base", "folder"];
        place.good(&[&["train", "export", "a.student"], &more[..]].concat());
        let written = String::from_utf8(read(&place, &format!("{form}/{file}"))).unwrap();
        assert!(written.contains(expected) && written.contains("warmup_steps"), "{written}");
        let base = std::path::absolute(place.path("folder")).unwrap();
        assert!(written.contains(&json!(base).to_string()), "{written}");
        let rows = String::from_utf8(read(&place, &format!("{form}/rows.jsonl"))).unwrap();
        let first = json_of(rows.lines().next().unwrap());
        assert_eq!(first["messages"][2]["content"], "{\"product\": \"lamp\"}");
    }
    // Another base under the same name is not what was trained on.
    tiny_model::write_with(&place.path(""), &tiny_model::CONTROL[..4]);
    let shown = place.run(&["student", "predict", "--student", "a.student", "--input", "other.jsonl"]);
    assert!(shown.starts_with("exit code: 3\n") && shown.contains("has changed since"), "{shown}");
}

#[test]
fn preferences_and_conversations_are_learnt_over_a_base() {
    let place = place();
    tiny_model::write(&place.path(""));
    let pairs = (0..40).map(|number| {
        let row = json!({ "prompt": format!("say {number}"), "chosen": "yes", "rejected": "no" });
        format!("{row}\n")
    });
    place.write("pairs.jsonl", pairs.collect::<String>());
    let flags = ["--base", "tiny.gguf", "--rank", "4", "--epochs", "2", "--rate", "0.01", "--json"];
    let train = |data: &str, out: &str, more: &[&str]| {
        let begin = ["student", "train", "--kind", "decoder", "--data", data, "--out", out];
        json_of(&place.good(&[&begin, &flags[..], more].concat()))
    };
    let report = train("pairs.jsonl", "p.student", &[]);
    assert!(report["held_out_loss"].as_f64().unwrap() < 2.0_f64.ln(), "better than the base: {report}");
    assert_eq!(report["asked_rows"], 0);
    let talks = (0..40).map(|number| {
        let say = |role: &str, content: &str| json!({ "role": role, "content": content });
        let user = say("user", &format!("say {number}"));
        format!("{}\n", json!({ "messages": [say("system", "Be short."), user, say("assistant", "yes")] }))
    });
    place.write("talks.jsonl", talks.collect::<String>());
    let report = train("talks.jsonl", "t.student", &["--base-form", "nf4"]);
    assert_eq!(report["asked_rows"], 4, "{report}");
    assert!(place.good(&["student", "show", "t.student"]).contains("Be short."));
}

#[test]
fn labels_are_scored_and_a_folder_that_is_no_student_is_refused() {
    let place = place();
    let labelled = rows(0, 200).replace("\"answer\":{\"product\":", "\"label\":").replace("}}", "}");
    place.write("rows.jsonl", labelled);
    let flags =
        ["student", "train", "--kind", "decoder", "--data", "rows.jsonl", "--out", "l.student", "--json"];
    let report =
        json_of(&place.good(&[&flags[..], &["--size", "100k", "--epochs", "8", "--rate", "0.004"]].concat()));
    assert!(report["exact_match"].as_f64().unwrap() > 0.9, "{report}");
    place.write("l.student/student.json", "{}");
    let shown = place.run(&["student", "show", "l.student"]);
    assert!(shown.starts_with("exit code: 3\n") && shown.contains("train it again"), "{shown}");
}
