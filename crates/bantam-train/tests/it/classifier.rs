//! Tests of tuned classifiers.

use bantam_student::linear::TrainLinearError;
use bantam_student::{BasePrecision, EncoderStudent, Example, Scratch, Student};
use bantam_train::{
    Control, LoraConfig, Phase, RunConfig, RunError, TuneConfig, TuneError, TuneEvent, tune_classifier,
};

use crate::base_folder::{BaseFolder, rows, small, stop_after};

fn config() -> TuneConfig {
    small(TuneConfig::for_classifiers(BasePrecision::F32))
}

fn tuned(folder: &BaseFolder, config: &TuneConfig) -> EncoderStudent {
    folder.tune(config, None, |job| tune_classifier(&rows(), job, &mut |_| Control::Continue)).unwrap().0
}

fn failure(rows: &[Example], config: &TuneConfig) -> TuneError {
    let folder = BaseFolder::new(1);
    let error =
        folder.tune(config, None, |job| tune_classifier(rows, job, &mut |_| Control::Continue)).unwrap_err();
    assert!(!error.hint().is_empty());
    error
}

#[test]
fn a_tuned_student_fits_its_rows_and_serves_the_same_answers_from_its_file() {
    for precision in [BasePrecision::Int8, BasePrecision::F32] {
        let folder = BaseFolder::new(2);
        let student = tuned(&folder, &TuneConfig { precision, ..config() });
        let mut scratch = Scratch::default();
        let right =
            rows().iter().filter(|row| student.predict(&row.text, &mut scratch).label == row.label).count();
        assert!(right * 100 >= rows().len() * 97, "{right} of {}", rows().len());
        assert_eq!(student.adapter().unwrap().updates.len(), 6, "all linear layers of the base's one block");
        let path = folder.path("a.student");
        let hash = student.save(&path).unwrap();
        let loaded = Student::load(&path, None, &folder.bases).unwrap();
        assert_eq!(loaded.hash(), hash);
        let mut other = Scratch::default();
        for row in rows() {
            assert_eq!(student.predict(&row.text, &mut scratch), loaded.predict(&row.text, &mut other));
        }
    }
}

#[test]
fn equal_rows_and_settings_give_equal_bytes_with_any_number_of_threads() {
    let [first, second] = [1, 3].map(|threads| tuned(&BaseFolder::new(threads), &config()));
    assert!(first.to_bytes() == second.to_bytes());
    let other = RunConfig { seed: 8, ..config().run };
    assert_ne!(tuned(&BaseFolder::new(2), &TuneConfig { run: other, ..config() }).hash(), first.hash());
}

#[test]
fn recomputing_blocks_gives_the_same_student() {
    let recompute = LoraConfig { recompute: true, ..config().lora };
    let [kept, recomputed] =
        [config().lora, recompute].map(|lora| tuned(&BaseFolder::new(1), &TuneConfig { lora, ..config() }));
    let numbers = |student: &EncoderStudent| student.adapter().unwrap().updates.clone();
    assert!(numbers(&kept) == numbers(&recomputed));
}

#[test]
fn a_training_stopped_anywhere_and_resumed_gives_the_same_bytes() {
    let whole = tuned(&BaseFolder::new(2), &config()).to_bytes();
    for steps in [1, 10, 31, 45] {
        let folder = BaseFolder::new(2);
        let stopped =
            folder.tune(&config(), Some(true), |job| tune_classifier(&rows(), job, &mut stop_after(steps)));
        assert!(matches!(stopped, Err(TuneError::Stopped { .. })), "{steps}: {stopped:?}");
        let mut resumed = None;
        let student = folder.tune(&config(), Some(true), |job| {
            tune_classifier(&rows(), job, &mut |event| {
                if let TuneEvent::Resumed(phase, step) = event {
                    resumed = Some((phase, step));
                }
                Control::Continue
            })
        });
        assert!(resumed.is_some(), "{steps}");
        assert!(student.unwrap().0.to_bytes() == whole, "{steps}: {resumed:?}");
        assert!(!folder.path("run.checkpoint").exists(), "a finished training removes its checkpoint");
    }
}

#[test]
fn a_killed_training_loses_at_most_the_steps_since_the_last_checkpoint() {
    let folder = BaseFolder::new(2);
    // The listener sees a step before its checkpoint is written, so it reads the file of an earlier step, as a kill
    // would leave it.
    let kept = std::cell::RefCell::new(Vec::new());
    let path = folder.path("run.checkpoint");
    let whole = folder.tune(&config(), Some(true), |job| {
        tune_classifier(&rows(), job, &mut |event| {
            if let (TuneEvent::Step(Phase::Final, step), Ok(bytes)) = (event, std::fs::read(&path))
                && step.step % 5 == 0
            {
                kept.borrow_mut().push(bytes);
            }
            Control::Continue
        })
    });
    let whole = whole.unwrap().0.to_bytes();
    assert!(kept.borrow().len() >= 2);
    for bytes in kept.borrow().iter() {
        std::fs::write(&path, bytes).unwrap();
        let again = folder.tune(&config(), Some(true), |job| {
            tune_classifier(&rows(), job, &mut |event| {
                assert!(
                    !matches!(event, TuneEvent::Step(Phase::Measure, _)),
                    "the first run is not repeated"
                );
                Control::Continue
            })
        });
        assert!(again.unwrap().0.to_bytes() == whole);
    }
}

#[test]
fn a_training_starts_over_without_resume_or_with_other_rows() {
    let folder = BaseFolder::new(1);
    let stop = |resume| {
        folder.tune(&config(), Some(resume), |job| tune_classifier(&rows(), job, &mut stop_after(7)))
    };
    stop(false).unwrap_err();
    let first = |rows: &[Example], resume: bool| {
        let mut first = None;
        let _ = folder.tune(&config(), Some(resume), |job| {
            tune_classifier(rows, job, &mut |event| {
                if let TuneEvent::Step(_, step) = event {
                    first.get_or_insert(step.step);
                    return Control::Stop;
                }
                Control::Continue
            })
        });
        first
    };
    assert_eq!(first(&rows(), true), Some(8));
    assert_eq!(first(&rows()[1..], true), Some(1));
    stop(false).unwrap_err();
    assert_eq!(first(&rows(), false), Some(1));
}

#[test]
fn unusable_rows_and_settings_are_refused_before_training() {
    let row = |text: &str, label: &str| Example { text: text.into(), label: label.into() };
    assert!(matches!(failure(&[], &config()), TuneError::Rows(TrainLinearError::NoRows)));
    let one: Vec<Example> = (0..9).map(|number| row(&number.to_string(), "a")).collect();
    assert!(matches!(failure(&one, &config()), TuneError::Rows(TrainLinearError::OneLabel { .. })));
    let rare = [one, vec![row("x", "b")]].concat();
    assert!(matches!(failure(&rare, &config()), TuneError::Rows(TrainLinearError::LabelTooRare { .. })));
    let few = [row("a", "x"), row("b", "x"), row("c", "y"), row("d", "y")];
    assert!(matches!(failure(&few, &config()), TuneError::TooFewRows { rows: 4, least: 8 }));
    let lora = LoraConfig { rank: 0, ..config().lora };
    let wrong = failure(&rows(), &TuneConfig { lora, ..config() });
    assert!(matches!(wrong, TuneError::Run(RunError::Config { setting: "rank", .. })));
}

#[test]
fn an_excessive_learning_rate_fails_with_a_hint() {
    let run = RunConfig { rate: 1.0, head_rate: 1.0, clip: 1e30, warmup: 0.0, epochs: 40, ..config().run };
    let lora = LoraConfig { alpha: 1e4, ..config().lora };
    let folder = BaseFolder::new(1);
    let config = TuneConfig { run, lora, ..config() };
    let found = folder.tune(&config, None, |job| tune_classifier(&rows(), job, &mut |_| Control::Continue));
    // Either the loss overflows, or the served base no longer matches the trained one.
    if let Err(error) = found {
        assert!(!error.hint().is_empty(), "{error}");
    }
}

#[test]
fn the_weights_of_an_identified_base_are_not_hashed_again() {
    let folder = BaseFolder::new(1);
    let mut identity = folder.identity(BasePrecision::F32);
    // The weights have another hash, so hashing them again would be noticed.
    identity.weights_sha256 = "0".repeat(64);
    let run = RunConfig { epochs: 1, ..config().run };
    let config = TuneConfig { run, ..config() };
    let (student, _) = folder
        .tune_as(&identity, &config, None, |job| tune_classifier(&rows(), job, &mut |_| Control::Continue))
        .unwrap();
    assert_eq!(student.describe().base, identity);
}

#[test]
fn a_base_of_another_family_is_refused_by_name() {
    let folder = BaseFolder::new(1);
    let path = folder.path("base/config.json");
    let json = std::fs::read_to_string(&path).unwrap().replace("\"bert\"", "\"roberta\"");
    std::fs::write(&path, json).unwrap();
    let error = folder
        .tune(&config(), None, |job| tune_classifier(&rows(), job, &mut |_| Control::Continue))
        .unwrap_err();
    assert!(matches!(error, TuneError::Base(_)) && !error.hint().is_empty(), "{error}");
}

#[test]
fn an_unwritable_checkpoint_ends_the_training_with_a_hint() {
    let folder = BaseFolder::new(1);
    std::fs::create_dir(folder.path("run.checkpoint")).unwrap();
    let found =
        folder.tune(&config(), Some(false), |job| tune_classifier(&rows(), job, &mut |_| Control::Continue));
    let error = found.unwrap_err();
    assert!(matches!(error, TuneError::Save(_)) && error.hint().contains("`resume`"), "{error}");
}
