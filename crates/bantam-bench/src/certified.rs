//! Tasks with certified students, created with the gateway's own command line.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::gateway::Bantam;
use crate::note;
use crate::rows::{Language, Random, RowShape};

/// The certified error rate among local answers.
const ERROR_MAX: &str = "0.02";
/// The most distinct texts that are sent; more than would fit any cache of answers.
const TEXTS_MAX: usize = 512;

/// One task and the number of its rows.
struct TaskSpec {
    name: &'static str,
    shape: RowShape,
    training_rows: usize,
    certification_rows: usize,
}

/// A support desk, and a task with as many labels as CLINC150 and long texts.
const TASKS: [TaskSpec; 2] = [
    TaskSpec {
        name: "narrow",
        shape: RowShape { labels: 24, words: 12 },
        training_rows: 24 * 60,
        certification_rows: 1200,
    },
    TaskSpec {
        name: "wide",
        shape: RowShape { labels: 150, words: 20 },
        training_rows: 150 * 40,
        certification_rows: 1500,
    },
];

/// Certified tasks, and texts that their students answer alone.
pub(crate) struct Tasks {
    /// The tables of `bantam.toml`.
    pub(crate) config: String,
    texts: Vec<(&'static str, Vec<String>)>,
}

impl Tasks {
    /// Trains and certifies the students of all tasks in `folder`.
    pub(crate) fn certify(bantam: &Bantam, folder: &Path) -> Result<Self, String> {
        let tables = TASKS.iter().map(|task| {
            let student = task.path(folder, "student");
            format!("[tasks.{}]\nkind = \"classify\"\nstudent = {student:?}\n\n", task.name)
        });
        let mut tasks = Self { config: tables.collect(), texts: Vec::new() };
        let config = folder.join("tasks.toml");
        write(&config, &tasks.config)?;
        note("training and certifying two students for the local cases");
        // The configuration names every student, so all must exist before the first is certified.
        for task in &TASKS {
            task.train(bantam, folder, &config)?;
        }
        for task in &TASKS {
            tasks.texts.push((task.name, task.certify(bantam, folder, &config)?));
        }
        Ok(tasks)
    }

    /// Returns the request bodies for a task.
    pub(crate) fn bodies(&self, task: &str) -> Vec<String> {
        let texts = self.texts.iter().find(|(known, _)| *known == task).map_or(&[][..], |(_, texts)| texts);
        let body = |text: &String| {
            let messages = [json!({"role": "user", "content": text})];
            json!({"model": format!("task/{task}"), "messages": messages}).to_string()
        };
        texts.iter().map(body).collect()
    }
}

impl TaskSpec {
    /// Generates the task's rows and trains its student.
    fn train(&self, bantam: &Bantam, folder: &Path, config: &Path) -> Result<(), String> {
        let mut random = Random::new(self.shape.labels as u64);
        let language = Language::new(self.shape, &mut random);
        let path = |kind: &str| self.path(folder, kind);
        let mut rows = |kind: &str, count: usize| write(&path(kind), &language.rows(count, &mut random));
        rows("learn.jsonl", self.training_rows)?;
        rows("certify.jsonl", self.certification_rows)?;
        rows("ask.jsonl", TEXTS_MAX)?;
        let train = ["student", "train", "--kind", "linear", "--quiet"];
        bantam.run(config, &train, &[("--data", &path("learn.jsonl")), ("--out", &path("student"))])?;
        Ok(())
    }

    /// Certifies the student and returns texts that it answers alone.
    fn certify(&self, bantam: &Bantam, folder: &Path, config: &Path) -> Result<Vec<String>, String> {
        let path = |kind: &str| self.path(folder, kind);
        let certify = ["certify", self.name, "--error", ERROR_MAX, "--json"];
        let certificate = bantam.run(config, &certify, &[("--data", &path("certify.jsonl"))])?;
        let certificate: Value = serde_json::from_str(&certificate)
            .map_err(|error| format!("`bantam certify` did not print JSON: {error}"))?;
        let threshold = certificate["threshold"].as_f64().ok_or("the certificate has no threshold")?;
        let texts_path = path("ask.jsonl");
        let predict = [("--student", path("student")), ("--input", texts_path.clone())];
        let predict = predict.each_ref().map(|(flag, file)| (*flag, file.as_path()));
        let predicted = bantam.run(config, &["student", "predict"], &predict)?;
        let texts =
            std::fs::read_to_string(&texts_path).map_err(|error| format!("cannot read rows: {error}"))?;
        let texts = accepted_texts(&texts, &predicted, threshold);
        if texts.len() < TEXTS_MAX / 4 {
            return Err(format!("the student of {} accepts only {} texts", self.name, texts.len()));
        }
        Ok(texts)
    }

    fn path(&self, folder: &Path, kind: &str) -> PathBuf {
        folder.join(format!("{}.{kind}", self.name))
    }
}

/// Returns the texts whose predictions (one per line) a certificate with this threshold accepts.
fn accepted_texts(rows: &str, predicted: &str, threshold: f64) -> Vec<String> {
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
    let pairs = rows.lines().map(parse).zip(predicted.lines().map(parse));
    let accepted = pairs.filter(|(_, prediction)| {
        let probability = prediction["probability"].as_f64();
        // Strictly above, because both numbers were rounded when printed.
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
    fn keeps_only_texts_that_are_certain_to_be_accepted() {
        let rows = "{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":\"c\"}\n{\"text\":\"d\"}\n";
        let predicted = "{\"probability\":0.9,\"out_of_scope\":false}\n\
            {\"probability\":0.8,\"out_of_scope\":false}\n{\"probability\":0.95,\"out_of_scope\":true}\n";
        assert_eq!(accepted_texts(rows, predicted, 0.8), ["a"]);
        assert_eq!(accepted_texts(rows, "", 0.0), [""; 0]);
    }
}
