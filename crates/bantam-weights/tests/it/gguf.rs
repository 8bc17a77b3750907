//! Malformed GGUF files with their errors.

use bantam_weights::{Format, Value, WeightFile};

use crate::support::{Gguf, array, refused, small_gguf, text};

#[track_caller]
fn check(file: &Gguf, message: &str) {
    check_bytes(&file.bytes(), message);
}

#[track_caller]
fn check_bytes(bytes: &[u8], message: &str) {
    let (shown, _) = refused(bytes);
    let shown = shown.strip_prefix("invalid GGUF file: ").expect("it is detected as GGUF");
    assert_eq!(shown, message);
}

#[test]
fn a_small_file_is_read_completely() {
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
    // A value of another type than requested is absent.
    assert_eq!(metadata.u32("general.architecture"), None);
    assert_eq!(metadata.texts("tiny.nested").map(Iterator::count), None);
    assert_eq!(file.tensor("a").unwrap().shape(), [2, 4]);
    assert_eq!(file.tensor("b").unwrap().bytes().len(), 34);
    assert!(file.tensor("c").is_none());
}

#[test]
fn version_2_is_read_and_unsupported_versions_are_refused() {
    let version = |version| Gguf { version, ..Gguf::new() };
    assert_eq!(WeightFile::from_bytes(version(2).bytes()).unwrap().format(), Format::Gguf { version: 2 });
    check(&version(1), "GGUF version 1 is not supported; supported are 2 and 3");
    check(&version(4), "GGUF version 4 is not supported; supported are 2 and 3");
    check(&version(3u32.swap_bytes()), "the file is big-endian");
    check_bytes(b"GGUF", "the file ends inside the version: 4 bytes needed at byte 4, 0 left");
}

#[test]
fn counts_that_exceed_the_file_are_refused_before_allocating() {
    let counts = |tensors, keys| Gguf { counts: Some((tensors, keys)), ..Gguf::new() };
    check(&counts(0, u64::MAX), &format!("the file claims {} keys but has room for at most 0", u64::MAX));
    check(&counts(1 << 60, 0), &format!("the file claims {} tensors but has room for at most 0", 1u64 << 60));
    for (element, at_most) in [(0, 0), (10, 0), (8, 0), (9, 0)] {
        let long = Gguf::new().key("k", 9, &array(element, u64::MAX, &[]));
        check(
            &long,
            &format!("the file claims {} values of an array but has room for at most {at_most}", u64::MAX),
        );
    }
    check(
        &Gguf::new().key("k", 8, &u64::MAX.to_le_bytes()),
        &format!("the file ends inside a string: {} bytes needed at byte 45, 0 left", u64::MAX),
    );
}

#[test]
fn invalid_keys_and_values_are_refused_by_name() {
    let key = |name: &str, kind, value: &[u8]| Gguf::new().key(name, kind, value);
    check(&key("", 0, &[1, 0]), "a key is empty");
    check(&key("a", 0, &[1]).key("a", 0, &[2]), "the key \"a\" appears twice");
    check(&key("a", 13, &[1]), "the key \"a\" has a value of unknown type 13");
    check(&key("a", 9, &array(99, 0, &[])), "the key \"a\" has a value of unknown type 99");
    check(&key("a", 7, &[2]), "the key \"a\" has 2 as a boolean; it must be 0 or 1");
    check(&key("a", 9, &array(7, 2, &[1, 3])), "the key \"a\" has 3 as a boolean; it must be 0 or 1");
    check(&key("a", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff]), "a string at byte 45 is not UTF-8");
    let long = "k".repeat(65_536);
    check(&key(&long, 0, &[1]), "a key is 65536 bytes long; the limit is 65535");
    let deep = |depth| (0..depth).fold(array(0, 1, &[1]), |inner, _| array(9, 1, &inner));
    assert!(WeightFile::from_bytes(key("a", 9, &deep(4)).bytes()).is_ok());
    check(&key("a", 9, &deep(5)), "the key \"a\" nests arrays more than 4 deep");
    check(&key("a", 9, &deep(100_000)), "the key \"a\" nests arrays more than 4 deep");
}

#[test]
fn alignments_must_be_powers_of_two_of_at_least_eight() {
    let aligned = |alignment: u32| Gguf::new().key("general.alignment", 4, &alignment.to_le_bytes());
    for alignment in [0, 1, 4, 24, 1 << 17] {
        let message = format!("general.alignment is {alignment}; it must be a power of two from 8 to 65536");
        check(&aligned(alignment), &message);
    }
    check(
        &Gguf::new().key("general.alignment", 8, &text("32")),
        "general.alignment is not an unsigned integer",
    );
    let file = aligned(8).tensor("a", &[2], 0, 0).tensor("b", &[2], 0, 8).data(16);
    let header = file.clone().data(0).bytes().len();
    assert_eq!(header % 32, 0, "the test's padding suffices");
    assert!(WeightFile::from_bytes(file.bytes()).is_ok());
}

#[test]
fn invalid_tensor_descriptions_are_refused_by_name() {
    let tensor = |name: &str, dimensions: &[u64], kind, offset| {
        Gguf::new().tensor(name, dimensions, kind, offset).data(64)
    };
    check(&tensor("", &[4], 0, 0), "tensor \"\": the name is 0 bytes long; it must be 1 to 256");
    check(
        &tensor(&"x".repeat(257), &[4], 0, 0),
        &format!("tensor {:?}: the name is 257 bytes long; it must be 1 to 256", "x".repeat(32)),
    );
    check(&tensor("a", &[1; 5], 0, 0), "tensor \"a\": it has 5 dimensions; the limit is 4");
    check(&tensor("a", &[4, 0], 0, 0), "tensor \"a\": dimension 1 is zero");
    check(&tensor("a", &[1 << 40, 1 << 40], 0, 0), "tensor \"a\": its size overflows");
    check(&tensor("a", &[u64::MAX], 0, 0), "tensor \"a\": its size overflows");
    check(&tensor("a", &[4], 10, 0), "tensor \"a\": its type Q2_K is not supported");
    check(&tensor("a", &[4], 4, 0), "tensor \"a\": its type 4 is not supported");
    check(&tensor("a", &[33], 8, 0), "tensor \"a\": rows of 33 values do not fill whole blocks of Q8_0");
    check(&tensor("a", &[16, 16], 12, 0), "tensor \"a\": rows of 16 values do not fill whole blocks of Q4_K");
    check(&tensor("a", &[4], 0, 4), "tensor \"a\": its offset 4 is not a multiple of the alignment 32");
    check(
        &tensor("a", &[4], 0, u64::MAX - 31),
        "tensor \"a\": it ends at byte 18446744073709551600, beyond the 64 bytes of data",
    );
    check(&tensor("a", &[16], 0, u64::MAX - 31), "tensor \"a\": its size overflows");
}

#[test]
fn tensors_outside_the_file_and_overlaps_and_gaps_are_refused() {
    let two = |second: u64| Gguf::new().tensor("a", &[16], 0, 0).tensor("b", &[16], 0, second);
    assert!(WeightFile::from_bytes(two(64).data(128).bytes()).is_ok());
    check(&two(64).data(127), "tensor \"b\": it ends at byte 128, beyond the 127 bytes of data");
    check(
        &two(1 << 50).data(128),
        &format!("tensor \"b\": it ends at byte {}, beyond the 128 bytes of data", (1u64 << 50) + 64),
    );
    check(&two(32).data(128), "tensor \"b\": it overlaps \"a\"");
    check(&two(0).data(128), "tensor \"b\": it overlaps \"a\"");
    check(&two(96).data(160), "tensor \"b\": 32 bytes before it belong to no tensor");
    check(&two(64).data(129), "1 bytes follow the last tensor");
    let twice = Gguf::new().tensor("a", &[16], 0, 0).tensor("a", &[16], 0, 64).data(128);
    check(&twice, "tensor \"a\": the name appears twice");
    let mut cut = two(64).data(0).bytes();
    while cut.last() == Some(&0) {
        cut.pop();
    }
    // The zeros of the last offset belong to the header, so restore them.
    cut.extend([0; 7]);
    assert!(refused(&cut).0.contains("before the tensor data"), "{}", refused(&cut).0);
    check(&Gguf::new().data(32), "32 bytes follow the last tensor");
}

#[test]
fn a_part_of_a_split_model_is_refused() {
    let split = |parts: u16| Gguf::new().key("split.count", 2, &parts.to_le_bytes());
    check(&split(3), "the file is one of 3 parts of a split model");
    assert!(WeightFile::from_bytes(split(1).bytes()).is_ok());
    assert!(refused(&split(2).bytes()).1.hint().contains("llama-gguf-split"));
}
