//! Tuned taggers.

use bantam_student::{
    BasePrecision, Features, LoadStudentErrorKind, Scratch, SlotExample, SlotSpan, Student,
    StudentDescription, TaggerStudent,
};
use bantam_train::{Control, TuneConfig, TuneError, tune_tagger};

use crate::place::{Place, small, stop_after};

/// Transfers and orders, whose values are known by the words before them.
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

fn tuned(place: &Place, config: &TuneConfig) -> TaggerStudent {
    place.lesson(config, None, |lesson| tune_tagger(&rows(), lesson, &mut |_| Control::Continue)).unwrap()
}

#[test]
fn finds_values_where_they_stand_and_serves_it_from_its_file() {
    for precision in [BasePrecision::Int8, BasePrecision::F32] {
        let place = Place::new(2);
        let student = tuned(&place, &TuneConfig { precision, ..config() });
        assert!(student.score(&rows()).f1() > 0.95, "{:?}", student.score(&rows()));
        assert!(student.describe().report.held_out_f1 > 0.8, "{:?}", student.describe().report);
        let text = "could you send me the new lamp today";
        let mut scratch = Scratch::default();
        let fields = student.extract(text, "", &mut scratch);
        let [field] = &fields[..] else { unreachable!("{fields:?}") };
        assert_eq!((field.name, field.value, field.start, field.end), ("thing", "new lamp", 22, 30));
        assert!(field.confidence > 0.5 && field.confidence <= 1.0);
        assert!(student.extract("", "", &mut scratch).is_empty());

        let path = place.path("a.tagger");
        let hash = student.save(&path).unwrap();
        let loaded = TaggerStudent::load(&path, None, &place.bases).unwrap();
        assert_eq!((loaded.hash(), loaded.slots()), (hash, student.slots()));
        assert_eq!(loaded.extract(text, "", &mut Scratch::default()), fields);
        let (description, shown) = Student::read_description(&path).unwrap();
        assert!(matches!(description, StudentDescription::Tagger(found) if found == *student.describe()));
        assert_eq!(shown, hash);
        let error = Student::load(&path, None, &place.bases).unwrap_err();
        assert!(matches!(error.kind, LoadStudentErrorKind::OtherKind { .. }));
    }
}

#[test]
fn what_words_say_stands_beside_the_encoder_where_it_helps() {
    let place = Place::new(2);
    let joined = tuned(&place, &config());
    let report = &joined.describe().report;
    assert!(report.words_factor.is_some_and(|factor| factor > 0.02), "{report:?}");
    let mut alone = config();
    alone.student.features = Features::Dense;
    let dense = tuned(&place, &alone);
    assert_eq!(dense.describe().report.words_factor, None);
    assert!(joined.score(&rows()).f1() >= dense.score(&rows()).f1());
    let mut scratch = Scratch::default();
    // The encoder has no token for these words.
    let known = joined.read("could you send me the new lamp today", "", &mut scratch).confidence;
    let strange = joined.read("zqx vvb 12:30 qqq", "", &mut scratch).confidence;
    assert!(strange < known, "{strange} {known}");
}

#[test]
fn a_text_beyond_the_bases_tokens_is_read_to_its_end() {
    let place = Place::new(2);
    let config = TuneConfig { tokens_max: 16, ..config() };
    let student = tuned(&place, &config);
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
fn a_training_that_is_stopped_and_taken_up_again_gives_the_same_student() {
    let whole = tuned(&Place::new(1), &config()).hash();
    for steps in [3, 100, 190] {
        let place = Place::new(2);
        let stopped = place
            .lesson(&config(), Some(true), |lesson| tune_tagger(&rows(), lesson, &mut stop_after(steps)));
        assert!(matches!(stopped, Err(TuneError::Stopped { .. })), "{steps}");
        let student = place
            .lesson(&config(), Some(true), |lesson| tune_tagger(&rows(), lesson, &mut |_| Control::Continue))
            .unwrap();
        assert_eq!(student.hash(), whole, "{steps}");
    }
}

#[test]
fn too_few_rows_are_refused() {
    let place = Place::new(1);
    let few = &rows()[..5];
    let error = place
        .lesson(&config(), None, |lesson| tune_tagger(few, lesson, &mut |_| Control::Continue))
        .unwrap_err();
    assert!(matches!(error, TuneError::TooFewRows { rows: 5, .. }) && !error.hint().is_empty());
}

#[test]
fn every_truncation_and_many_flipped_bytes_of_a_file_are_refused() {
    let place = Place::new(1);
    let run = bantam_train::RunConfig { epochs: 2, ..config().run };
    let path = place.path("a.tagger");
    tuned(&place, &TuneConfig { run, ..config() }).save(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        TaggerStudent::load(&path, None, &place.bases)
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
