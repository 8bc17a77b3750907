use bantam_student::{Bases, LinearStudent, LoadStudentErrorKind, Scratch, Student};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::rows::student;

const HASH: std::ops::Range<usize> = 24..56;

/// Recomputes the hash, as an attacker would.
pub(crate) fn reseal(bytes: &mut [u8]) {
    let mut hasher = Sha256::new();
    hasher.update(&bytes[..HASH.start]);
    hasher.update(&bytes[HASH.end..]);
    let digest = hasher.finalize();
    bytes[HASH].copy_from_slice(&digest);
}

/// Checks that a student that loads also predicts valid numbers.
fn check_load(bytes: &[u8]) -> Result<(), LoadStudentErrorKind> {
    let student = LinearStudent::from_bytes(bytes)?;
    let mut scratch = Scratch::default();
    for text in ["", "please block my card", "zzz"] {
        let answer = student.predict(text, &mut scratch);
        assert!(answer.probability.is_finite() && answer.margin.is_finite(), "{answer:?}");
        assert!(student.labels().iter().any(|label| label == answer.label));
    }
    Ok(())
}

#[test]
fn rejects_every_truncation() {
    let good = student().to_bytes();
    for length in 0..good.len() {
        let error = check_load(&good[..length]).expect_err("truncated");
        if length >= 1 {
            assert!(matches!(error, LoadStudentErrorKind::Truncated { .. }), "{length}: {error}");
        }
    }
}

#[test]
fn rejects_every_flipped_byte() {
    let good = student().to_bytes();
    let mut bytes = good.clone();
    for at in 0..good.len() {
        bytes[at] ^= 1 << (at % 8);
        assert!(check_load(&bytes).is_err(), "byte {at}");
        bytes[at] = good[at];
    }
    check_load(&good).unwrap();
}

#[test]
fn reports_what_is_wrong_with_a_crafted_file() {
    let good = student().to_bytes();
    let description = u32::from_le_bytes(good[56..60].try_into().unwrap()) as usize;
    let numbers = 60 + description;
    let check = |at: usize, value: [u8; 4], message: &str| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value);
        reseal(&mut bytes);
        let error = check_load(&bytes).expect_err(message);
        assert_eq!(error.to_string(), message);
        assert!(!error.hint().is_empty());
    };
    let huge = u32::MAX.to_le_bytes();
    check(12, 7u32.to_le_bytes(), "the file holds a student of unknown kind 7");
    check(56, huge, "inconsistent size: description");
    check(60, *b"nope", "cannot parse the description");
    check(numbers, huge, "inconsistent size: n-grams");
    check(numbers + 4, huge, "inconsistent size: n-grams");
    check(numbers + 4, 3_999_999u32.to_le_bytes(), "inconsistent size: arrays and remaining bytes");
    check(numbers + 8, huge, "inconsistent size: labels");
    check(numbers + 12, 3u32.to_le_bytes(), "inconsistent size: out-of-scope label");
    check(numbers + 16, f32::NAN.to_le_bytes(), "number out of range: temperature");
    check(numbers + 16, 0f32.to_le_bytes(), "number out of range: temperature");
    check(numbers + 32, f32::INFINITY.to_le_bytes(), "number out of range: bias");
    let keys = numbers + 32 + 3 * 4;
    let mut bytes = good.clone();
    let words = u32::from_le_bytes(good[numbers..numbers + 4].try_into().unwrap()) as usize;
    bytes.copy_within(keys + words * 8..keys + words * 8 + 8, keys + words * 8 + 8);
    reseal(&mut bytes);
    let error = check_load(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "number out of range: n-gram fingerprints that repeat or cluster");
}

#[test]
fn a_failure_to_load_names_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "not a student").unwrap();
    let error = Student::load(&path, None, &Bases::new(1)).unwrap_err();
    assert_eq!(error.to_string(), format!("load the student {}", path.display()));
    assert!(matches!(error.kind, LoadStudentErrorKind::NotStudent));
    assert!(matches!(
        Student::load(folder.path(), None, &Bases::new(1)).unwrap_err().kind,
        LoadStudentErrorKind::Read(_)
    ));
}

proptest! {
    #[test]
    fn crafted_files_do_not_panic(
        at in 0usize..100_000,
        value in any::<[u8; 4]>(),
        cut in 0usize..400_000,
        numbers_only in any::<bool>(),
    ) {
        thread_local!(static GOOD: Vec<u8> = student().to_bytes());
        let mut bytes = GOOD.with(Clone::clone);
        let description = u32::from_le_bytes([bytes[56], bytes[57], bytes[58], bytes[59]]) as usize;
        let first = if numbers_only { 60 + description } else { 8 };
        let span = bytes.len() - first - 4;
        let at = first + at % if numbers_only { span.min(64) } else { span };
        bytes[at..at + 4].copy_from_slice(&value);
        bytes.truncate(cut.max(HASH.end));
        let length = (bytes.len() - HASH.end) as u64;
        bytes[16..24].copy_from_slice(&length.to_le_bytes());
        reseal(&mut bytes);
        let _ = check_load(&bytes);
    }

    #[test]
    fn random_bytes_do_not_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), sealed in any::<bool>()) {
        if sealed && bytes.len() >= HASH.end {
            bytes[..16].copy_from_slice(b"BANTAMST\x01\0\0\0\x01\0\0\0");
            let length = (bytes.len() - HASH.end) as u64;
            bytes[16..24].copy_from_slice(&length.to_le_bytes());
            reseal(&mut bytes);
        }
        prop_assert!(check_load(&bytes).is_err());
    }
}
