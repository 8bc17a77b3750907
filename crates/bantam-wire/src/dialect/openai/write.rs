//! Writing JSON by hand: answers are small, written for every request, and have a fixed shape.

use std::io::Write as _;

use crate::note::RoutingNote;

/// Appends `text` as a JSON string.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing to a vector cannot fail, and every str is representable.
    let _ = serde_json::to_writer(out, text);
}

/// Appends `text` as a JSON string, or `null`.
pub(super) fn push_nullable(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => push_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends an integer.
pub(super) fn push_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends the digits of a request's id.
pub(super) fn push_hex(out: &mut Vec<u8>, value: u128) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{value:032x}");
}

/// Appends a floating-point number; what JSON cannot say is `null`.
pub(super) fn push_float(out: &mut Vec<u8>, value: f64) {
    // `serde_json` writes the shortest digits that read back as the same number.
    let _ = serde_json::to_writer(out, &value);
}

/// Appends the `bantam` member, with the comma before it.
pub(super) fn push_note(out: &mut Vec<u8>, note: &RoutingNote) {
    let mut json = String::with_capacity(256);
    note.write_json(&mut json);
    out.extend_from_slice(b",\"bantam\":");
    out.extend_from_slice(json.as_bytes());
}

/// Appends a list.
pub(super) fn push_list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}
