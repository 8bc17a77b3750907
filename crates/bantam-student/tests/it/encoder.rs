//! The encoder student on a tiny random base, and on a real one if it is available.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_student::encoder::{EncoderProgress, train};
use bantam_student::{
    BasePrecision, Bases, EncoderConfig, EncoderStudent, Example, Features, LoadBaseErrorKind,
    LoadStudentErrorKind, Scratch, Student, StudentDescription,
};
use proptest::prelude::*;

use crate::rows::{rows, rows_with_out_of_scope};
use crate::tiny_base;

/// A folder with a base, on which students are trained.
struct BaseFolder {
    folder: tempfile::TempDir,
    bases: Bases,
}

impl BaseFolder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        tiny_base::write(&folder.path().join("base"), 7);
        Self { folder, bases: Bases::new(2) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, rows: &[Example], features: Features, precision: BasePrecision) -> EncoderStudent {
        let base = self.bases.open(&self.path("base"), precision).unwrap();
        let config = EncoderConfig::recommended(features);
        train(rows, &base, "base".into(), &config, &mut |_| {}).unwrap().0
    }

    fn saved(&self) -> PathBuf {
        let path = self.path("a.student");
        self.train(&rows(), Features::Joined, BasePrecision::Int8).save(&path).unwrap();
        path
    }
}

#[test]
fn learns_the_rows_with_and_without_ngrams() {
    let fixture = BaseFolder::new();
    for features in [Features::Dense, Features::Joined] {
        for precision in [BasePrecision::Int8, BasePrecision::F32] {
            let student = fixture.train(&rows(), features, precision);
            let mut scratch = Scratch::default();
            let rows = rows();
            let right = rows.iter().filter(|row| student.predict(&row.text, &mut scratch).label == row.label);
            assert_eq!(right.count(), rows.len(), "{features:?} {precision:?}");
            let description = student.describe();
            assert_eq!(description.base.name, "tiny-random");
            assert_eq!((description.base.tokens_max, description.base.width), (20, 32));
            assert_eq!(description.report.features == 0, features == Features::Dense);
            assert!(description.report.held_out_accuracy > 0.8, "{:?}", description.report);
        }
    }
}

#[test]
fn reports_out_of_scope_texts_like_the_linear_student() {
    let fixture = BaseFolder::new();
    let student = fixture.train(&rows_with_out_of_scope(), Features::Joined, BasePrecision::Int8);
    assert!(student.has_scope_label());
    let mut scratch = Scratch::default();
    assert!(student.predict("tell me about the rain", &mut scratch).out_of_scope);
    assert!(!student.predict("please block my card", &mut scratch).out_of_scope);
    let student = Student::Encoder(fixture.train(&rows(), Features::Joined, BasePrecision::Int8));
    let nothing = student.predict("  ", &mut scratch);
    assert!(nothing.out_of_scope && student.is_foreign(&nothing));
}

#[test]
fn equal_rows_and_settings_give_equal_bytes_at_any_thread_count() {
    let fixture = BaseFolder::new();
    let first = fixture.train(&rows(), Features::Joined, BasePrecision::Int8);
    let other = BaseFolder { folder: fixture.folder, bases: Bases::new(1) };
    assert!(other.train(&rows(), Features::Joined, BasePrecision::Int8).to_bytes() == first.to_bytes());
    assert_ne!(other.train(&rows(), Features::Joined, BasePrecision::F32).hash(), first.hash());
    tiny_base::write(&other.path("base"), 8);
    assert_ne!(other.train(&rows(), Features::Joined, BasePrecision::Int8).hash(), first.hash());
}

#[test]
fn a_saved_student_finds_its_base_by_relative_path_and_predicts_as_before() {
    let fixture = BaseFolder::new();
    let student = fixture.train(&rows(), Features::Joined, BasePrecision::Int8);
    let path = fixture.path("a.student");
    let hash = student.save(&path).unwrap();
    let loaded = Student::load(&path, None, &Bases::new(1)).unwrap();
    assert_eq!((loaded.hash(), loaded.labels()), (hash, student.labels()));
    let (mut left, mut right) = (Scratch::default(), Scratch::default());
    for row in rows() {
        assert_eq!(student.predict(&row.text, &mut left), loaded.predict(&row.text, &mut right));
        assert!(loaded.has_seen(&row.text));
    }
    let (description, shown) = Student::read_description(&path).unwrap();
    assert_eq!(shown, hash);
    assert!(matches!(description, StudentDescription::Encoder(found) if found == *student.describe()));
}

#[test]
fn students_with_the_same_base_share_it_unless_the_precision_differs() {
    let fixture = BaseFolder::new();
    let of = |student: &Student| match student {
        Student::Encoder(student) => Arc::clone(student.base()),
        _ => unreachable!("not an encoder student"),
    };
    let path = fixture.saved();
    let [first, second] = [(), ()].map(|()| Student::load(&path, None, &fixture.bases).unwrap());
    assert!(Arc::ptr_eq(&of(&first), &of(&second)));
    let exact = fixture.bases.open(&fixture.path("base"), BasePrecision::F32).unwrap();
    assert!(!Arc::ptr_eq(&of(&first), &exact));
}

/// Returns why a student cannot be loaded with its base in `base`.
#[track_caller]
fn refusal(path: &Path, base: Option<&Path>) -> LoadBaseErrorKind {
    let error = Student::load(path, base, &Bases::new(1)).unwrap_err();
    assert!(!error.kind.hint().is_empty());
    let LoadStudentErrorKind::Base(error) = error.kind else { unreachable!("{error}") };
    error.kind
}

#[test]
fn rejects_a_missing_or_different_base() {
    let fixture = BaseFolder::new();
    let path = fixture.saved();
    let away = fixture.path("elsewhere");
    std::fs::rename(fixture.path("base"), &away).unwrap();
    assert!(matches!(refusal(&path, None), LoadBaseErrorKind::Missing));
    Student::load(&path, Some(&away), &Bases::new(1)).unwrap();
    tiny_base::write(&fixture.path("base"), 8);
    match refusal(&path, None) {
        LoadBaseErrorKind::Different { what: "weights", expected, found } => assert_ne!(expected, found),
        other => unreachable!("{other}"),
    }
    let tokenizer = std::fs::read_to_string(away.join("tokenizer.json")).unwrap();
    std::fs::write(away.join("tokenizer.json"), tokenizer + "\n").unwrap();
    let found = refusal(&path, Some(&away));
    assert!(matches!(found, LoadBaseErrorKind::Different { what: "tokenizer.json", .. }), "{found}");
    std::fs::remove_file(away.join("tokenizer.json")).unwrap();
    assert!(matches!(refusal(&path, Some(&away)), LoadBaseErrorKind::Read { file: "tokenizer.json", .. }));
}

#[test]
fn rejects_folders_that_are_not_a_base_with_the_reason() {
    let check = |file: &str, content: &str, expected: &str| {
        let fixture = BaseFolder::new();
        let path = fixture.path("base").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        let error = fixture.bases.open(&fixture.path("base"), BasePrecision::Int8).unwrap_err();
        let shown = format!("{}", error.kind);
        assert!(shown.contains(expected), "{shown}");
        assert!(!error.kind.hint().is_empty());
    };
    check("config.json", "{", "cannot parse config.json");
    check("config.json", "{\"model_type\": \"gpt2\"}", "load the encoder");
    check("tokenizer.json", "[]", "use tokenizer.json");
    check("model.safetensors", "not weights", "open the weights");
    check("1_Pooling/config.json", "{\"pooling_mode_max_tokens\": true}", "asks for a pooling other than");
    check("sentence_bert_config.json", "{\"max_seq_length\": 2}", "configured for texts of 2 tokens");
    check("sentence_bert_config.json", "{\"max_seq_length\": -1}", "cannot parse sentence_bert_config.json");
}

#[test]
fn pools_the_first_token_if_the_base_says_so() {
    let fixture = BaseFolder::new();
    std::fs::create_dir(fixture.path("base/1_Pooling")).unwrap();
    std::fs::write(fixture.path("base/1_Pooling/config.json"), "{\"pooling_mode_cls_token\": true}").unwrap();
    let student = fixture.train(&rows(), Features::Dense, BasePrecision::Int8);
    let json = serde_json::to_value(student.describe()).unwrap();
    assert_eq!(json["base"]["pooling"], "cls");
}

#[test]
fn reports_the_progress_of_every_text_and_model() {
    let fixture = BaseFolder::new();
    let base = fixture.bases.open(&fixture.path("base"), BasePrecision::Int8).unwrap();
    let (mut embedded, mut models) = (0, [false; 6]);
    train(&rows(), &base, "base".into(), &EncoderConfig::recommended(Features::Dense), &mut |progress| {
        match progress {
            EncoderProgress::Embedding { done, texts } => {
                assert!(done > embedded && done <= texts);
                embedded = done;
            }
            EncoderProgress::Fitting(progress) => models[progress.model - 1] = true,
        }
    })
    .unwrap();
    assert_eq!((embedded, models), (rows().len(), [true; 6]));
}

#[test]
fn rejects_truncations_and_flipped_bytes() {
    let fixture = BaseFolder::new();
    let path = fixture.saved();
    let good = std::fs::read(&path).unwrap();
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Student::load(&path, None, &fixture.bases)
    };
    for length in (0..good.len()).step_by(997) {
        assert!(load(&good[..length]).is_err(), "{length}");
    }
    for at in (0..good.len()).step_by(499) {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        assert!(load(&bytes).is_err(), "{at}");
    }
    load(&good).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn crafted_files_do_not_panic(at in 0usize..20_000, value in any::<[u8; 4]>()) {
        thread_local!(static GOOD: (BaseFolder, Vec<u8>) = {
            let fixture = BaseFolder::new();
            let bytes = fixture.train(&rows(), Features::Joined, BasePrecision::Int8).to_bytes();
            (fixture, bytes)
        });
        GOOD.with(|(fixture, good)| {
            let mut bytes = good.clone();
            let at = 56 + at % (bytes.len() - 60);
            bytes[at..at + 4].copy_from_slice(&value);
            crate::damaged::reseal(&mut bytes);
            let path = fixture.path("crafted.student");
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(student) = Student::load(&path, None, &fixture.bases) {
                let answer = student.predict("please block my card", &mut Scratch::default());
                assert!(answer.probability.is_finite());
            }
        });
    }
}

/// Returns the folder that `BANTAM_MINILM` names, or reports that it is not set.
#[expect(clippy::disallowed_methods, reason = "a test may read the environment")]
fn minilm() -> Option<PathBuf> {
    let folder = std::env::var_os("BANTAM_MINILM").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: set BANTAM_MINILM to the folder of all-MiniLM-L6-v2 to run this test");
    }
    folder
}

#[test]
fn a_real_base_understands_words_that_were_never_seen() {
    let Some(folder) = minilm() else { return };
    let base = Bases::new(2).open(&folder, BasePrecision::Int8).unwrap();
    let config = EncoderConfig::recommended(Features::Joined);
    let (student, report) = train(&rows(), &base, folder, &config, &mut |_| {}).unwrap();
    assert!(report.held_out_accuracy > 0.95, "{report:?}");
    let mut scratch = Scratch::default();
    for (text, label) in [
        ("somebody nicked the plastic out of my wallet", "card"),
        ("how many dollars would I get for pounds", "rate"),
        ("wiring cash to my brother overseas", "transfer"),
    ] {
        assert_eq!(student.predict(text, &mut scratch).label, label, "{text}");
    }
}
