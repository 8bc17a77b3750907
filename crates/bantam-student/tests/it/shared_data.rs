use std::path::PathBuf;
use std::process::Command;

use bantam_student::{Example, LinearConfig, Scratch, linear};

/// Returns the rows of a compressed file of the shared data, or reports that it cannot be read.
#[expect(clippy::disallowed_methods, reason = "a test may read the environment")]
fn rows(name: &str) -> Option<Vec<Example>> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let path = std::env::var_os("BANTAM_SHARED_DATA").map_or_else(beside, PathBuf::from).join(name);
    let unpacked =
        Command::new("gzip").arg("-dc").arg(&path).output().ok().filter(|output| output.status.success());
    let Some(unpacked) = unpacked else {
        println!("skipped: cannot unpack {} (set BANTAM_SHARED_DATA to its folder)", path.display());
        return None;
    };
    let lines = unpacked.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let values = lines.map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap());
    let text = |value: &serde_json::Value, key: &str| value[key].as_str().unwrap().to_owned();
    Some(values.map(|value| Example { text: text(&value, "text"), label: text(&value, "label") }).collect())
}

#[test]
fn labels_most_real_requests_correctly_with_calibrated_probabilities() {
    let Some(rows) = rows("banking77/train.jsonl.gz") else { return };
    let (held_out, train): (Vec<_>, Vec<_>) = rows.into_iter().enumerate().partition(|(row, _)| row % 5 == 0);
    let train: Vec<Example> = train.into_iter().map(|(_, row)| row).collect();
    let config = LinearConfig { folds: 2, ..LinearConfig::recommended() };
    let (student, report) = linear::train(&train, &config).unwrap();
    let mut scratch = Scratch::default();
    let (mut right, mut confidence) = (0.0, 0.0);
    for (_, row) in &held_out {
        let answer = student.predict(&row.text, &mut scratch);
        right += f64::from(u8::from(answer.label == row.label));
        confidence += f64::from(answer.probability);
    }
    let (accuracy, confidence) = (right / held_out.len() as f64, confidence / held_out.len() as f64);
    assert!(accuracy > 0.89, "{accuracy} {report:?}");
    assert!((accuracy - confidence).abs() < 0.04, "{accuracy} {confidence}");
    assert!(student.to_bytes().len() < 4_000_000);
}
