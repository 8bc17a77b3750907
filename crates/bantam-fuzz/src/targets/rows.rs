//! Rows of examples, one JSON object a line.

use bantam_student::{
    count_contexts, read_answers, read_examples, read_expected_objects, read_slot_examples, read_slot_texts,
    read_texts,
};

use super::artefacts::file_with;

/// Reads the bytes by every reader of rows, and words what each of them refuses.
pub(super) fn rows(bytes: &[u8]) {
    let file = file_with(bytes);
    let path = file.path();
    let refused = [
        read_examples(path).err(),
        read_texts(path).err(),
        read_answers(path).err(),
        read_slot_examples(path).err(),
        read_slot_texts(path).err(),
        read_expected_objects(path).err(),
        count_contexts(path).err(),
    ];
    refused.iter().flatten().for_each(|error| assert!(!error.to_string().is_empty()));
}
