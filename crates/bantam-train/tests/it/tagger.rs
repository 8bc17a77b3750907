//! Tests of tuned taggers.

use bantam_student::{
    BasePrecision, Features, LoadStudentErrorKind, Scratch, SlotExample, SlotSpan, Student,
    StudentDescription, TaggerStudent,
};
use bantam_train::{Control, TuneConfig, TuneError, tune_tagger};

use crate::base_folder::{BaseFolder, small, stop_after};

/// Returns transfers and orders, whose values are recognisable by the words before them.
fn rows() -> Vec<SlotExample> {
    let (amounts, things) = (["euros", "money", "rates", "invoice"], ["card", "lamp", "tent", "parcel"]);
    let mut rows = Vec::new();
    for amount in amounts {
        for thing in things {
            for text in [
                format!("please transfer {amount} for a {thing}"),
                format!("could you send me the new {thing} today"),
                format!("compare {amount} now"),
            ] {
                let at = |slot: &str, value: &str| {
                    let start = text.find(value)?;
                    Some(SlotSpan { slot: slot.into(), range: start..start + value.len() })
                };
                let new = format!("new {thing}");
                let mut spans: Vec<SlotSpan> =
                    [at("amount", amount), at("thing", if text.contains(&new) { &new } else { thing })]
                        .into_iter()
                        .flatten()
                        .collect();
                spans.sort_by_key(|span| span.range.start);
                rows.push(SlotExample { text, context: String::new(), spans });
            }
        }
    }
    rows
}

fn config() -> TuneConfig {
    let config = small(TuneConfig::for_taggers(BasePrecision::F32));
    let run = bantam_train::RunConfig { epochs: 30, rate: 1e-2, head_rate: 2e-2, ..config.run };
    TuneConfig { run, patience: 30, ..small(TuneConfig::for_taggers(BasePrecision::F32)) }
}

fn tuned(folder: &BaseFolder, config: &TuneConfig) -> TaggerStudent {
    folder.tune(config, None, |job| tune_tagger(&rows(), job, &mut |_| Control::Continue)).unwrap()
}

#[test]
fn a_tuned_tagger_finds_values_and_serves_the_same_answers_from_its_file() {
    for precision in [BasePrecision::Int8, BasePrecision::F32] {
        let folder = BaseFolder::new(2);
        let student = tuned(&folder, &TuneConfig { precision, ..config() });
        assert!(student.score(&rows()).f1() > 0.95, "{:?}", student.score(&rows()));
        assert!(student.describe().report.held_out_f1 > 0.8, "{:?}", student.describe().report);
        let text = "could you send me the new lamp today";
        let mut scratch = Scratch::default();
        let fields = student.extract(text, "", &mut scratch);
        let [field] = &fields[..] else { unreachable!("{fields:?}") };
        assert_eq!((field.name, field.value, field.start, field.end), ("thing", "new lamp", 22, 30));
        assert!(field.confidence > 0.5 && field.confidence <= 1.0);
        assert!(student.extract("", "", &mut scratch).is_empty());

        let path = folder.path("a.tagger");
        let hash = student.save(&path).unwrap();
        let loaded = TaggerStudent::load(&path, None, &folder.bases).unwrap();
        assert_eq!((loaded.hash(), loaded.slots()), (hash, student.slots()));
        assert_eq!(loaded.extract(text, "", &mut Scratch::default()), fields);
        let (description, shown) = Student::read_description(&path).unwrap();
        assert!(matches!(description, StudentDescription::Tagger(found) if found == *student.describe()));
        assert_eq!(shown, hash);
        let error = Student::load(&path, None, &folder.bases).unwrap_err();
        assert!(matches!(error.kind, LoadStudentErrorKind::OtherKind { .. }));
    }
}

#[test]
fn a_word_model_complements_the_encoder_where_it_helps() {
    let folder = BaseFolder::new(2);
    let joined = tuned(&folder, &config());
    let report = &joined.describe().report;
    assert!(report.words_factor.is_some_and(|factor| factor > 0.02), "{report:?}");
    let mut alone = config();
    alone.student.features = Features::Dense;
    let dense = tuned(&folder, &alone);
    assert_eq!(dense.describe().report.words_factor, None);
    assert!(joined.score(&rows()).f1() >= dense.score(&rows()).f1());
    let mut scratch = Scratch::default();
    // The encoder has no token for these words.
    let known = joined.read("could you send me the new lamp today", "", &mut scratch).confidence;
    let strange = joined.read("zqx vvb 12:30 qqq", "", &mut scratch).confidence;
    assert!(strange < known, "{strange} {known}");
}

#[test]
fn a_text_longer_than_the_token_limit_is_read_to_its_end() {
    let folder = BaseFolder::new(2);
    let config = TuneConfig { tokens_max: 16, ..config() };
    let student = tuned(&folder, &config);
    let mut scratch = Scratch::default();
    let long = format!("{}could you send me the new lamp today", "compare rates now ".repeat(12));
    let reading = student.read(&long, "", &mut scratch);
    let last = reading.fields.last().unwrap();
    assert_eq!((last.name, last.value, last.end), ("thing", "new lamp", long.len() - 6));
    assert!(reading.is_whole);
    let endless = "compare rates now ".repeat(400);
    let endless = student.read(&endless, "", &mut scratch);
    assert!(!endless.is_whole && endless.confidence == 0.0);
}

#[test]
fn a_stopped_and_resumed_training_gives_the_same_student() {
    let whole = tuned(&BaseFolder::new(1), &config()).hash();
    for steps in [3, 100, 190] {
        let folder = BaseFolder::new(2);
        let stopped =
            folder.tune(&config(), Some(true), |job| tune_tagger(&rows(), job, &mut stop_after(steps)));
        assert!(matches!(stopped, Err(TuneError::Stopped { .. })), "{steps}");
        let student = folder
            .tune(&config(), Some(true), |job| tune_tagger(&rows(), job, &mut |_| Control::Continue))
            .unwrap();
        assert_eq!(student.hash(), whole, "{steps}");
    }
}

#[test]
fn too_few_rows_are_refused() {
    let folder = BaseFolder::new(1);
    let few = &rows()[..5];
    let error =
        folder.tune(&config(), None, |job| tune_tagger(few, job, &mut |_| Control::Continue)).unwrap_err();
    assert!(matches!(error, TuneError::TooFewRows { rows: 5, .. }) && !error.hint().is_empty());
}

#[test]
fn rows_without_a_value_are_refused_as_such() {
    let folder = BaseFolder::new(1);
    let mut empty = rows();
    empty.iter_mut().for_each(|row| row.spans.clear());
    let error =
        folder.tune(&config(), None, |job| tune_tagger(&empty, job, &mut |_| Control::Continue)).unwrap_err();
    assert_eq!(error.to_string(), "no row has a value in its slots");
}

#[test]
fn truncated_and_corrupted_files_are_refused() {
    let folder = BaseFolder::new(1);
    let run = bantam_train::RunConfig { epochs: 2, ..config().run };
    let path = folder.path("a.tagger");
    tuned(&folder, &TuneConfig { run, ..config() }).save(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        TaggerStudent::load(&path, None, &folder.bases)
    };
    for length in (0..good.len()).step_by(1999) {
        assert!(load(&good[..length]).is_err(), "{length}");
    }
    for at in (0..good.len()).step_by(1499) {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        assert!(load(&bytes).is_err(), "{at}");
    }
    load(&good).unwrap();
}
