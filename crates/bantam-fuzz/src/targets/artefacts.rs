//! Files that Bantam writes and others may hand to it: students, certificates, bundles.

use std::io::Write as _;

use bantam_eval::load_certificate;
use bantam_local::DecoderStudentFile;
use bantam_store::{Store, is_bundle};
use bantam_student::{Bases, LinearTagger, Scratch, Student};
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempDir};

/// What students are asked about: words, other scripts, and nothing.
const TEXTS: [&str; 4] = ["where is my parcel", "Zürich 7. März, 漢字 1,234.50", "", "\u{202e}\u{0}"];

/// Returns a temporary file that holds `bytes`.
#[expect(clippy::expect_used, reason = "without a temporary folder nothing can be tried")]
pub(super) fn file_with(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for a temporary file");
    file
}

#[expect(clippy::expect_used, reason = "without a temporary folder nothing can be tried")]
fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Reads the bytes as a student file with its length and hash written anew, and asks it.
pub(super) fn student(bytes: &[u8]) {
    let file = file_with(&sealed(bytes));
    let mut scratch = Scratch::default();
    match Student::load(file.path(), None, &Bases::new(1)) {
        Ok(student) => TEXTS.iter().for_each(|text| {
            let prediction = student.predict(text, &mut scratch);
            assert!((0.0..=1.0).contains(&prediction.probability));
        }),
        Err(error) => assert!(!error.kind.hint().is_empty()),
    }
    if let Ok(tagger) = LinearTagger::load(file.path()) {
        TEXTS.iter().for_each(|text| drop(tagger.read(text, "how many?", &mut scratch)));
    }
    // The outside itself, as it came.
    let _ = Student::load(file_with(bytes).path(), None, &Bases::new(1));
}

/// Writes length and hash of a student file over what is there.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    const PREFIX_BYTES: usize = 24;
    const HEADER_BYTES: usize = PREFIX_BYTES + 32;
    let mut sealed = bytes.to_vec();
    if let Some((header, body)) = sealed.split_first_chunk_mut::<HEADER_BYTES>() {
        header[16..PREFIX_BYTES].copy_from_slice(&(body.len() as u64).to_le_bytes());
        let hash = Sha256::new().chain_update(&header[..PREFIX_BYTES]).chain_update(&*body).finalize();
        header[PREFIX_BYTES..].copy_from_slice(&hash);
    }
    sealed
}

/// Reads the bytes as a certificate.
pub(super) fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = load_certificate(file_with(bytes).path()) {
        assert!((0.0..=1.0).contains(&certificate.threshold));
    }
}

/// Reads the bytes as the description of a decoder that is a student.
pub(super) fn decoder_student(bytes: &[u8]) {
    let folder = folder();
    let path = folder.path().join("student.json");
    if std::fs::write(&path, bytes).is_ok() {
        let _ = DecoderStudentFile::read(folder.path());
    }
}

/// Takes the bytes in as a bundle of models, with the checksums of its headers written anew.
pub(super) fn bundle(bytes: &[u8]) {
    let file = file_with(&with_header_sums(bytes));
    let _ = is_bundle(file.path());
    let folder = folder();
    let store = Store::open(folder.path().join("store"));
    if let Err(error) = store.import_bundle(file.path(), false, &mut |_| ()) {
        assert!(!error.to_string().is_empty());
    }
    let outside = std::fs::read_dir(folder.path()).map_or(0, Iterator::count);
    assert!(outside <= 1, "a bundle wrote beside the store");
}

/// Writes the checksum of every block that begins like a header of a tar archive.
fn with_header_sums(bytes: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 512;
    const SUM: std::ops::Range<usize> = 148..156;
    let mut summed = bytes.to_vec();
    for block in summed.chunks_exact_mut(BLOCK).filter(|block| block[257..262] == *b"ustar") {
        block[SUM].fill(b' ');
        let sum: u32 = block.iter().copied().map(u32::from).sum();
        block[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    summed
}
