//! Texts of callers: what the privacy scanner reads, and what extraction copies values from.

use bantam_extract::normalise::{amount, boolean, choice, date, whole};
use bantam_extract::{Shape, SlotValue};
use bantam_privacy::{Scanner, ScannerConfig};

/// Scans the bytes as one text, and as two that a value may be split over.
pub(super) fn scanner(bytes: &[u8]) {
    let Ok(scanner) = Scanner::new(&ScannerConfig { dictionary: Vec::new() }) else { return };
    let text = String::from_utf8_lossy(bytes);
    let mut whole = scanner.begin();
    whole.text(&text);
    let whole = whole.finish();
    let half = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (before, after) = text.split_at(half);
    let mut split = scanner.begin();
    split.key(before);
    split.value(before);
    split.value(after);
    assert!(split.finish().kinds().count() <= 64 && whole.kinds().count() <= 64);
}

/// Normalises the bytes as every kind of value, and reads them as the schema of an object.
pub(super) fn extract(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = (amount(text), whole(text), date(text), boolean(text), choice(text, &["kettle", "lamp", text]));
    let Ok(schema) = serde_json::from_str(text) else { return };
    let Ok(shape) = Shape::new(&schema, &Shape::properties(&schema)) else { return };
    let found =
        ["1,234.50", "5 May 2026", "yes", ""].map(|value| SlotValue { name: "a", value, confidence: 0.5 });
    let _ = shape.write(&found);
}
