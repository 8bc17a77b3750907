//! Malformed safetensors files with their errors.

use bantam_weights::{Dtype, Format, WeightFile};

use crate::support::{refused, safetensors_bytes, small_safetensors};

#[track_caller]
fn check(header: &str, data: usize, message: &str) {
    check_bytes(&safetensors_bytes(header, data), message);
}

#[track_caller]
fn check_bytes(bytes: &[u8], message: &str) {
    let (shown, _) = refused(bytes);
    let shown = shown.strip_prefix("invalid safetensors file: ").unwrap_or(&shown);
    assert!(shown.starts_with(message), "{shown}");
}

fn tensor(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
}

#[test]
fn a_small_file_is_read_completely() {
    let file = WeightFile::from_bytes(small_safetensors()).unwrap();
    assert_eq!(file.format(), Format::Safetensors);
    assert_eq!(file.metadata().text("format"), Some("pt"));
    let names: Vec<&str> = file.tensors().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b"]);
    let b = file.tensor("b").unwrap();
    assert_eq!((b.dtype(), b.shape(), b.bytes()), (Dtype::I64, &[][..], &[7u8; 8][..]));
    assert_eq!(b.to_f32().unwrap_err().to_string(), "tensors of type I64 cannot be converted to f32");
    let empty = format!(r#"{{"e":{}}}"#, tensor("F32", "[0,7]", "[0,0]"));
    assert!(WeightFile::from_bytes(safetensors_bytes(&empty, 0)).unwrap().tensor("e").unwrap().is_empty());
}

#[test]
fn headers_longer_than_the_file_or_the_limit_are_refused() {
    let with_length = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
    assert!(WeightFile::from_bytes(with_length(2)).is_ok());
    check_bytes(&with_length(3), "the header is 3 bytes long, but only 2 bytes are left");
    check_bytes(&with_length(100_000_001), "the header is 100000001 bytes long; the limit is 100000000");
    check_bytes(
        &with_length(u64::MAX),
        "the header is 18446744073709551615 bytes long; the limit is 100000000",
    );
    // A length whose first bytes look like a pickle is still a length.
    check_bytes(&with_length(0x0280), "the header is 640 bytes long, but only 2 bytes are left");
}

#[test]
fn headers_with_invalid_json_are_refused() {
    let good = tensor("U8", "[1]", "[0,1]");
    let whole = |inner: &str| format!("{{{inner}}}");
    check(
        &whole(&format!(r#""a":{good},"a":{good}"#)),
        1,
        "cannot read the header: the key \"a\" appears twice",
    );
    check("{\"a\":}", 0, "cannot read the header: expected value");
    check("{} x", 0, "cannot read the header: trailing characters");
    check("{\"a\":3}", 0, "cannot read the header: invalid type: integer `3`");
    check(
        "{\"a\":{\"dtype\":\"U8\"}}",
        0,
        "cannot read the header: \"a\" must have dtype, shape and data_offsets",
    );
    check(
        &whole(&format!(r#""__metadata__":{good}"#)),
        1,
        "cannot read the header: \"__metadata__\" must have strings",
    );
    check("{\"__metadata__\":{\"a\":1}}", 0, "cannot read the header: invalid type: integer `1`");
    check("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "cannot read the header: a key appears twice");
    let more = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":"x"}}"#;
    check(more, 1, "cannot read the header: a tensor must have exactly dtype, shape and data_offsets");
    check(
        &whole(&format!(r#""a":{}"#, tensor("U8", "[-1]", "[0,1]"))),
        1,
        "cannot read the header: invalid value",
    );
    check(
        &whole(&format!(r#""a":{}"#, tensor("U8", "[1.5]", "[0,1]"))),
        1,
        "cannot read the header: invalid type",
    );
    check(
        &whole(&format!(r#""a":{}"#, tensor("U8", "[1]", "[0,1,2]"))),
        1,
        "cannot read the header: data_offsets must",
    );
    check(&"{\"a\":".repeat(200_000), 0, "cannot read the header: invalid type: map");
    check("{\"a\u{0}\":{}}", 0, "cannot read the header: control character");
}

#[test]
fn invalid_tensor_descriptions_are_refused_by_name() {
    let one =
        |dtype: &str, shape: &str, offsets: &str| format!(r#"{{"a":{}}}"#, tensor(dtype, shape, offsets));
    check(&one("F8_E4M3", "[1]", "[0,1]"), 1, "tensor \"a\": its type F8_E4M3 is not supported");
    check(&one("F32", "[2]", "[0,4]"), 4, "tensor \"a\": it has 4 bytes; its type and shape need 8");
    check(&one("F32", "[1]", "[4,0]"), 4, "tensor \"a\": it has 0 bytes; its type and shape need 4");
    check(&one("U8", "[18446744073709551615,2]", "[0,1]"), 1, "tensor \"a\": its size overflows");
    check(&one("U8", &format!("[{}1]", "1,".repeat(16)), "[0,1]"), 1, "tensor \"a\": it has 17 dimensions");
    check(&one("U8", "[1]", "[1,2]"), 2, "tensor \"a\": 1 bytes before it belong to no tensor");
    check(&one("U8", "[2]", "[0,2]"), 1, "tensor \"a\": it ends at byte 2, beyond the 1 bytes of data");
    check(&one("U8", "[1]", "[0,1]"), 2, "1 bytes follow the last tensor");
    check("{}", 5, "5 bytes follow the last tensor");
    let name = "n".repeat(257);
    check(&format!(r#"{{"{name}":{}}}"#, tensor("U8", "[1]", "[0,1]")), 1, "tensor \"nnn");
    check(&format!(r#"{{"":{}}}"#, tensor("U8", "[1]", "[0,1]")), 1, "tensor \"\": the name is 0 bytes long");
    let two = |second| {
        let (a, b) = (tensor("U8", "[2]", "[0,2]"), tensor("U8", "[2]", second));
        format!(r#"{{"a":{a},"b":{b}}}"#)
    };
    assert!(WeightFile::from_bytes(safetensors_bytes(&two("[2,4]"), 4)).is_ok());
    check(&two("[1,3]"), 3, "tensor \"b\": it overlaps \"a\"");
    check(&two("[3,5]"), 5, "tensor \"b\": 1 bytes before it belong to no tensor");
}
