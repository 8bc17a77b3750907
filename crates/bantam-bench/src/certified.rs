//! Tasks with certified students, made with the gateway's own command line.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::gateway::Bantam;
use crate::note;
use crate::rows::{Language, Random, Shape};

/// The certified error among local answers.
const ERROR_MAX: &str = "0.02";
/// Different texts that are asked at most; more than fit in any cache of answers that there might be.
const TEXTS_MAX: usize = 512;

/// One task and how much its student learns from.
struct TaskShape {
    name: &'static str,
    shape: Shape,
    learned_rows: usize,
    certified_rows: usize,
}

/// A support desk, and something as wide as CLINC150 with long texts.
const TASKS: [TaskShape; 2] = [
    TaskShape {
        name: "narrow",
        shape: Shape { labels: 24, words: 12 },
        learned_rows: 24 * 60,
        certified_rows: 1200,
    },
    TaskShape {
        name: "wide",
        shape: Shape { labels: 150, words: 20 },
        learned_rows: 150 * 40,
        certified_rows: 1500,
    },
];

/// The tasks, certified, and texts that their students are sure of.
pub(crate) struct Tasks {
    /// The tables of `bantam.toml`.
    pub(crate) config: String,
    texts: Vec<(&'static str, Vec<String>)>,
}

impl Tasks {
    /// Learns and certifies every task in `folder`.
    pub(crate) fn certify(bantam: &Bantam, folder: &Path) -> Result<Self, String> {
        let tables = TASKS.iter().map(|task| {
            let student = task.path(folder, "student");
            format!("[tasks.{}]\nkind = \"classify\"\nstudent = {student:?}\n\n", task.name)
        });
        let mut tasks = Self { config: tables.collect(), texts: Vec::new() };
        let config = folder.join("tasks.toml");
        write(&config, &tasks.config)?;
        note("learning and certifying two tasks for the local cases");
        // The configuration names every student, so all are there before the first is certified.
        for task in &TASKS {
            task.learn(bantam, folder, &config)?;
        }
        for task in &TASKS {
            tasks.texts.push((task.name, task.certify(bantam, folder, &config)?));
        }
        Ok(tasks)
    }

    /// Returns the bodies that ask a task.
    pub(crate) fn bodies(&self, task: &str) -> Vec<String> {
        let texts = self.texts.iter().find(|(known, _)| *known == task).map_or(&[][..], |(_, texts)| texts);
        let body = |text: &String| {
            let messages = [json!({"role": "user", "content": text})];
            json!({"model": format!("task/{task}"), "messages": messages}).to_string()
        };
        texts.iter().map(body).collect()
    }
}

impl TaskShape {
    /// Makes up the task's rows and trains its student.
    fn learn(&self, bantam: &Bantam, folder: &Path, config: &Path) -> Result<(), String> {
        let mut random = Random(self.shape.labels as u64);
        let language = Language::new(self.shape, &mut random);
        let path = |kind: &str| self.path(folder, kind);
        let mut rows = |kind: &str, count: usize| write(&path(kind), &language.rows(count, &mut random));
        rows("learn.jsonl", self.learned_rows)?;
        rows("certify.jsonl", self.certified_rows)?;
        rows("ask.jsonl", TEXTS_MAX)?;
        let train = ["student", "train", "--kind", "linear", "--quiet"];
        bantam.run(config, &train, &[("--data", &path("learn.jsonl")), ("--out", &path("student"))])?;
        Ok(())
    }

    /// Returns texts that the student, once it is certified, answers alone.
    fn certify(&self, bantam: &Bantam, folder: &Path, config: &Path) -> Result<Vec<String>, String> {
        let path = |kind: &str| self.path(folder, kind);
        let certify = ["certify", self.name, "--error", ERROR_MAX, "--json"];
        let proved = bantam.run(config, &certify, &[("--data", &path("certify.jsonl"))])?;
        let proved: Value =
            serde_json::from_str(&proved).map_err(|error| format!("certify printed no JSON: {error}"))?;
        let threshold = proved["threshold"].as_f64().ok_or("the certificate has no threshold")?;
        let asked = path("ask.jsonl");
        let predict = [("--student", path("student")), ("--input", asked.clone())];
        let predict = predict.each_ref().map(|(flag, file)| (*flag, file.as_path()));
        let predicted = bantam.run(config, &["student", "predict"], &predict)?;
        let texts = std::fs::read_to_string(&asked).map_err(|error| format!("cannot read rows: {error}"))?;
        let texts = sure(&texts, &predicted, threshold);
        if texts.len() < TEXTS_MAX / 4 {
            return Err(format!("the student of {} is sure of {} texts only", self.name, texts.len()));
        }
        Ok(texts)
    }

    fn path(&self, folder: &Path, kind: &str) -> PathBuf {
        folder.join(format!("{}.{kind}", self.name))
    }
}

/// Returns the texts whose predictions, line by line, a certificate with this threshold accepts.
fn sure(rows: &str, predicted: &str, threshold: f64) -> Vec<String> {
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
    let pairs = rows.lines().map(parse).zip(predicted.lines().map(parse));
    let accepted = pairs.filter(|(_, prediction)| {
        let probability = prediction["probability"].as_f64();
        // Strictly above: both are printed numbers.
        probability.is_some_and(|probability| probability > threshold) && prediction["out_of_scope"] == false
    });
    accepted.filter_map(|(row, _)| row["text"].as_str().map(str::to_owned)).collect()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_that_are_surely_accepted_are_asked() {
        let rows = "{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":\"c\"}\n{\"text\":\"d\"}\n";
        let predicted = "{\"probability\":0.9,\"out_of_scope\":false}\n\
            {\"probability\":0.8,\"out_of_scope\":false}\n{\"probability\":0.95,\"out_of_scope\":true}\n";
        assert_eq!(sure(rows, predicted, 0.8), ["a"]);
        assert_eq!(sure(rows, "", 0.0), [""; 0]);
    }
}
