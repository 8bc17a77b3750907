use bantam_student::linear::{TrainLinearError, train, train_with_progress};
use bantam_student::{Bases, Example, LinearConfig, LinearStudent, Scratch, Student};
use proptest::prelude::*;

use crate::rows::{rows, rows_with_out_of_scope, student};

#[test]
fn learns_to_distinguish_labels() {
    let (student, report) = train(&rows(), &LinearConfig::recommended()).unwrap();
    assert_eq!(student.labels(), ["card", "rate", "transfer"]);
    assert_eq!((report.rows, report.labels), (72, 3));
    assert!(report.converged && report.held_out_accuracy > 0.95, "{report:?}");
    let mut scratch = Scratch::default();
    for (text, label) in [
        ("Where is my CARD?", "card"),
        ("rates of today", "rate"),
        ("has the transfer been sent", "transfer"),
    ] {
        let answer = student.predict(text, &mut scratch);
        assert_eq!(answer.label, label, "{text}");
        assert!(
            !answer.out_of_scope && answer.probability > 0.6 && answer.margin > 0.3,
            "{text}: {answer:?}"
        );
        assert_ne!(answer.runner_up.label, label);
    }
}

#[test]
fn a_text_unlike_anything_known_is_out_of_scope() {
    let student = student();
    let mut scratch = Scratch::default();
    for text in ["", " \n", "zzzz", "日本語", "🦀🦀🦀"] {
        let answer = student.predict(text, &mut scratch);
        assert!(answer.out_of_scope, "{text:?}: {answer:?}");
        assert!(student.labels().iter().any(|label| label == answer.label));
    }
}

#[test]
fn the_out_of_scope_label_means_out_of_scope() {
    let rows = rows_with_out_of_scope();
    let (student, _) = train(&rows, &LinearConfig::recommended()).unwrap();
    let answer = student.predict("tell me about the rain", &mut Scratch::default());
    assert_eq!((answer.label, answer.out_of_scope), ("oos", true));
    let named = LinearConfig { out_of_scope_label: "card".to_owned(), ..LinearConfig::recommended() };
    let (student, _) = train(&rows, &named).unwrap();
    let answer = student.predict("please block my card", &mut Scratch::default());
    assert_eq!((answer.label, answer.out_of_scope), ("card", true));
}

#[test]
fn top_labels_probabilities_and_prediction_agree() {
    let student = student();
    let mut scratch = Scratch::default();
    let text = "transfer the card";
    let probabilities = student.probabilities(text, &mut scratch).to_vec();
    assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    let top = student.top(text, 2, &mut scratch);
    let answer = student.predict(text, &mut scratch);
    assert_eq!(top.len(), 2);
    assert_eq!((top[0].label, top[1].label), (answer.label, answer.runner_up.label));
    assert!((top[0].probability - answer.probability).abs() < 1e-6);
    assert!((top[0].probability - top[1].probability - answer.margin).abs() < 1e-6);
    assert!((probabilities[answer.index] - answer.probability).abs() < 1e-6);
    assert_eq!(student.top(text, 99, &mut scratch).len(), 3);
}

#[test]
fn equal_rows_and_settings_give_equal_bytes_at_any_thread_count() {
    let at = |threads| train(&rows(), &LinearConfig { threads, ..LinearConfig::recommended() }).unwrap().0;
    let one = at(1);
    for threads in [2, 5] {
        assert_eq!(at(threads).to_bytes(), one.to_bytes());
    }
    let other = train(&rows(), &LinearConfig { seed: 8, ..LinearConfig::recommended() }).unwrap().0;
    assert_ne!(other.hash(), one.hash());
}

#[test]
fn a_saved_student_loads_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("student.bin");
    std::fs::write(&path, "an older file").unwrap();
    let student = student();
    let hash = student.save(&path).unwrap();
    let loaded = LinearStudent::load(&path).unwrap();
    assert_eq!((hash, loaded.hash()), (student.hash(), student.hash()));
    assert_eq!(hash.to_hex().len(), 64);
    assert_eq!(loaded.describe(), student.describe());
    let (mut left, mut right) = (Scratch::default(), Scratch::default());
    for row in rows() {
        assert_eq!(student.predict(&row.text, &mut left), loaded.predict(&row.text, &mut right));
    }
    assert_eq!(Student::load(&path, None, &Bases::new(1)).unwrap().hash(), hash);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_failure_to_save_names_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no/such/folder/student.bin");
    let error = student().save(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("save the student {}", path.display()));
}

#[test]
fn reports_the_progress_of_every_model() {
    let mut seen = [false; 6];
    train_with_progress(&rows(), &LinearConfig::recommended(), &mut |progress| {
        assert!(progress.models == 6 && progress.pass <= progress.passes_max);
        seen[progress.model - 1] = true;
    })
    .unwrap();
    assert_eq!(seen, [true; 6]);
}

#[test]
fn rejects_rows_that_cannot_be_trained_on() {
    let row = |text: &str, label: &str| Example { text: text.to_owned(), label: label.to_owned() };
    let check = |rows: &[Example], message: &str| {
        let error = train(rows, &LinearConfig::recommended()).expect_err(message);
        assert_eq!(error.to_string(), message);
        assert!(!error.hint().is_empty());
    };
    check(&[], "there are no rows");
    check(&[row("a", "x"), row("b", "x")], "every row has the label `x`");
    check(&[row("a", "x"), row("b", "x"), row("c", "y")], "label `y` has 1 row; at least 2 are needed");
    check(&[row("a", "x"), row("b", " ")], "row 2 has a label that is empty or longer than 256 bytes");
    let strange = [row("ab", "x"), row("cd", "x"), row("ef", "y"), row("gh", "y")];
    check(&strange, "no n-gram occurs in 2 rows: the texts have nothing in common to learn from");
    let config = LinearConfig { cost: -1.0, ..LinearConfig::recommended() };
    let expected = TrainLinearError::Config { setting: "cost", range: "above 0 and at most 1e6" };
    assert_eq!(train(&rows(), &config).unwrap_err(), expected);
}

#[test]
fn contradictory_rows_lead_to_even_probabilities() {
    let row = |label: &str| Example { text: "the same text".to_owned(), label: label.to_owned() };
    let rows: Vec<Example> = (0..20).map(|number| row(if number % 2 == 0 { "x" } else { "y" })).collect();
    let (student, _) = train(&rows, &LinearConfig::recommended()).unwrap();
    let answer = student.predict("the same text", &mut Scratch::default());
    assert!((answer.probability - 0.5).abs() < 0.05, "{answer:?}");
}

#[test]
fn only_the_beginning_of_a_very_long_text_counts() {
    let student = student();
    let mut scratch = Scratch::default();
    let long = "please block my card ".repeat(50_000);
    assert!(long.len() > 1_000_000);
    let whole = student.predict(&long, &mut scratch);
    assert_eq!(whole.label, "card");
    let head = student.predict(&long[..bantam_student::linear::TEXT_BYTES_MAX], &mut scratch);
    assert_eq!(whole, head);
}

#[test]
fn one_scratch_works_for_students_of_different_sizes() {
    let (small, large) =
        (student(), train(&rows_with_out_of_scope(), &LinearConfig::recommended()).unwrap().0);
    let mut shared = Scratch::default();
    for row in rows() {
        for student in [&small, &large] {
            let fresh = student.predict(&row.text, &mut Scratch::default());
            assert_eq!(student.predict(&row.text, &mut shared), fresh);
        }
    }
}

proptest! {
    #[test]
    fn any_text_gets_valid_probabilities(text in ".{0,200}") {
        thread_local!(static STUDENT: LinearStudent = student());
        STUDENT.with(|student| {
            let mut scratch = Scratch::default();
            let answer = student.predict(&text, &mut scratch);
            assert!(answer.probability >= 1.0 / 3.0 - 1e-4 && answer.probability <= 1.0 && answer.margin >= 0.0);
            let sum: f32 = student.probabilities(&text, &mut scratch).iter().sum();
            assert!((sum - 1.0).abs() < 1e-5);
        });
    }
}
