//! Malformed GGUF files, each with its named error.

use bantam_weights::{Format, Value, WeightFile};

use crate::support::{Gguf, array, refused, small_gguf, text};

#[track_caller]
fn check(file: &Gguf, message: &str) {
    check_bytes(&file.bytes(), message);
}

#[track_caller]
fn check_bytes(bytes: &[u8], message: &str) {
    let (shown, _) = refused(bytes);
    let shown = shown.strip_prefix("this GGUF file is not right: ").expect("it is known as GGUF");
    assert_eq!(shown, message);
}

#[test]
fn a_small_file_has_what_was_put_into_it() {
    let file = WeightFile::from_bytes(small_gguf()).unwrap();
    assert_eq!(file.format(), Format::Gguf { version: 3 });
    let metadata = file.metadata();
    assert_eq!(metadata.text("general.architecture"), Some("tiny"));
    assert_eq!(metadata.u32("tiny.block_count"), Some(2));
    assert_eq!(metadata.bool("tiny.flag"), Some(true));
    assert_eq!(metadata.texts("tiny.words").unwrap().collect::<Vec<_>>(), ["a", "bc"]);
    let nested: Vec<Value<'_>> = metadata.array("tiny.nested").unwrap().iter().collect();
    let Value::Array(second) = nested[1] else { panic!("{nested:?}") };
    assert_eq!(second.iter().collect::<Vec<_>>(), [Value::Unsigned(1)]);
    // Another type than asked for is no value.
    assert_eq!(metadata.u32("general.architecture"), None);
    assert_eq!(metadata.texts("tiny.nested").map(Iterator::count), None);
    assert_eq!(file.tensor("a").unwrap().shape(), [2, 4]);
    assert_eq!(file.tensor("b").unwrap().bytes().len(), 34);
    assert!(file.tensor("c").is_none());
}

#[test]
fn version_2_is_read_and_others_are_named() {
    let version = |version| Gguf { version, ..Gguf::new() };
    assert_eq!(WeightFile::from_bytes(version(2).bytes()).unwrap().format(), Format::Gguf { version: 2 });
    check(&version(1), "the GGUF version is 1; 2 and 3 are read");
    check(&version(4), "the GGUF version is 4; 2 and 3 are read");
    check(&version(3u32.swap_bytes()), "the file is big-endian");
    check_bytes(b"GGUF", "the file ends inside the version: 4 bytes needed at byte 4, 0 left");
}

#[test]
fn counts_beyond_the_file_are_refused_before_anything_is_allocated() {
    let counts = |tensors, keys| Gguf { counts: Some((tensors, keys)), ..Gguf::new() };
    check(
        &counts(0, u64::MAX),
        &format!("{} keys are announced, and the file has bytes for 0 at most", u64::MAX),
    );
    check(
        &counts(1 << 60, 0),
        &format!("{} tensors are announced, and the file has bytes for 0 at most", 1u64 << 60),
    );
    for (element, at_most) in [(0, 0), (10, 0), (8, 0), (9, 0)] {
        let long = Gguf::new().key("k", 9, &array(element, u64::MAX, &[]));
        check(
            &long,
            &format!(
                "{} values of an array are announced, and the file has bytes for {at_most} at most",
                u64::MAX
            ),
        );
    }
    check(
        &Gguf::new().key("k", 8, &u64::MAX.to_le_bytes()),
        &format!("the file ends inside a text: {} bytes needed at byte 45, 0 left", u64::MAX),
    );
}

#[test]
fn keys_and_values_that_make_no_sense_are_named() {
    let key = |name: &str, kind, value: &[u8]| Gguf::new().key(name, kind, value);
    check(&key("", 0, &[1, 0]), "a key is empty");
    check(&key("a", 0, &[1]).key("a", 0, &[2]), "the key \"a\" stands twice");
    check(&key("a", 13, &[1]), "the key \"a\" has a value of unknown type 13");
    check(&key("a", 9, &array(99, 0, &[])), "the key \"a\" has a value of unknown type 99");
    check(&key("a", 7, &[2]), "the key \"a\" has 2 for true or false");
    check(&key("a", 9, &array(7, 2, &[1, 3])), "the key \"a\" has 3 for true or false");
    check(&key("a", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff]), "a text at byte 45 is not UTF-8");
    let long = "k".repeat(65_536);
    check(&key(&long, 0, &[1]), "a key has 65536 bytes; at most 65535 are read");
    let deep = |depth| (0..depth).fold(array(0, 1, &[1]), |inner, _| array(9, 1, &inner));
    assert!(WeightFile::from_bytes(key("a", 9, &deep(4)).bytes()).is_ok());
    check(&key("a", 9, &deep(5)), "the key \"a\" has arrays nested more than 4 deep");
    check(&key("a", 9, &deep(100_000)), "the key \"a\" has arrays nested more than 4 deep");
}

#[test]
fn alignments_are_powers_of_two_from_eight() {
    let aligned = |alignment: u32| Gguf::new().key("general.alignment", 4, &alignment.to_le_bytes());
    for alignment in [0, 1, 4, 24, 1 << 17] {
        let message = format!("general.alignment is {alignment}; it must be a power of two from 8 to 65536");
        check(&aligned(alignment), &message);
    }
    check(&Gguf::new().key("general.alignment", 8, &text("32")), "general.alignment is no unsigned integer");
    let file = aligned(8).tensor("a", &[2], 0, 0).tensor("b", &[2], 0, 8).data(16);
    let header = file.clone().data(0).bytes().len();
    assert_eq!(header % 32, 0, "the test's own padding is enough");
    assert!(WeightFile::from_bytes(file.bytes()).is_ok());
}

#[test]
fn tensors_that_are_described_wrongly_are_named() {
    let tensor = |name: &str, dimensions: &[u64], kind, offset| {
        Gguf::new().tensor(name, dimensions, kind, offset).data(64)
    };
    check(&tensor("", &[4], 0, 0), "tensor \"\": the name has 0 bytes; it must have 1 to 256");
    check(
        &tensor(&"x".repeat(257), &[4], 0, 0),
        &format!("tensor {:?}: the name has 257 bytes; it must have 1 to 256", "x".repeat(32)),
    );
    check(&tensor("a", &[1; 5], 0, 0), "tensor \"a\": it has 5 dimensions; at most 4 are read");
    check(&tensor("a", &[4, 0], 0, 0), "tensor \"a\": dimension 1 is zero");
    check(&tensor("a", &[1 << 40, 1 << 40], 0, 0), "tensor \"a\": its size overflows");
    check(&tensor("a", &[u64::MAX], 0, 0), "tensor \"a\": its size overflows");
    check(&tensor("a", &[4], 10, 0), "tensor \"a\": its type Q2_K is not read");
    check(&tensor("a", &[4], 4, 0), "tensor \"a\": its type 4 is not read");
    check(&tensor("a", &[33], 8, 0), "tensor \"a\": rows of 33 numbers are no whole blocks of Q8_0");
    check(&tensor("a", &[16, 16], 12, 0), "tensor \"a\": rows of 16 numbers are no whole blocks of Q4_K");
    check(&tensor("a", &[4], 0, 4), "tensor \"a\": its offset 4 is no multiple of the alignment 32");
    check(
        &tensor("a", &[4], 0, u64::MAX - 31),
        "tensor \"a\": it ends at byte 18446744073709551600 of 64 bytes of data",
    );
    check(&tensor("a", &[16], 0, u64::MAX - 31), "tensor \"a\": its size overflows");
}

#[test]
fn tensors_stay_in_the_file_and_apart() {
    let two = |second: u64| Gguf::new().tensor("a", &[16], 0, 0).tensor("b", &[16], 0, second);
    assert!(WeightFile::from_bytes(two(64).data(128).bytes()).is_ok());
    check(&two(64).data(127), "tensor \"b\": it ends at byte 128 of 127 bytes of data");
    check(
        &two(1 << 50).data(128),
        &format!("tensor \"b\": it ends at byte {} of 128 bytes of data", (1u64 << 50) + 64),
    );
    check(&two(32).data(128), "tensor \"b\": it shares bytes with \"a\"");
    check(&two(0).data(128), "tensor \"b\": it shares bytes with \"a\"");
    check(&two(96).data(160), "tensor \"b\": 32 bytes before it belong to no tensor");
    check(&two(64).data(129), "1 bytes follow the last tensor");
    let twice = Gguf::new().tensor("a", &[16], 0, 0).tensor("a", &[16], 0, 64).data(128);
    check(&twice, "tensor \"a\": the name stands twice");
    let mut cut = two(64).data(0).bytes();
    while cut.last() == Some(&0) {
        cut.pop();
    }
    // The last offset's zeros are part of the header, so they are put back.
    cut.extend([0; 7]);
    assert!(refused(&cut).0.contains("before its tensors' data"), "{}", refused(&cut).0);
    check(&Gguf::new().data(32), "32 bytes follow the last tensor");
}

#[test]
fn a_part_of_a_split_model_says_so() {
    let split = |parts: u16| Gguf::new().key("split.count", 2, &parts.to_le_bytes());
    check(&split(3), "this is one of 3 parts of a split model");
    assert!(WeightFile::from_bytes(split(1).bytes()).is_ok());
    assert!(refused(&split(2).bytes()).1.hint().contains("llama-gguf-split"));
}
