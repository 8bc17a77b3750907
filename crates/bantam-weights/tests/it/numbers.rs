//! Every tensor type against the values of the reference.

use bantam_weights::{Dtype, Value, WeightFile, quantise};

use crate::support::golden;

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

#[test]
fn every_type_gives_the_bits_of_the_reference() {
    let file = WeightFile::from_bytes(golden("quants.gguf")).unwrap();
    let expected = floats(&golden("quants.bin"));
    let mut names: Vec<&str> = Vec::new();
    for ((name, tensor), expected) in file.tensors().zip(expected.chunks(512)) {
        assert_eq!((name, tensor.shape()), (tensor.dtype().name(), &[2, 256][..]));
        let found = tensor.to_f32().unwrap();
        let differs = found.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits() && a != b);
        assert_eq!(differs, None, "{name}");
        names.push(name);
    }
    let all = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"];
    assert_eq!(names, all);
}

#[test]
fn numbers_are_quantised_to_the_bytes_of_the_reference() {
    let file = WeightFile::from_bytes(golden("quants.gguf")).unwrap();
    let rows = floats(&golden("rows.bin"));
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::Q8_0] {
        assert_eq!(quantise(dtype, &rows).unwrap(), file.tensor(dtype.name()).unwrap().bytes(), "{dtype}");
    }
    let error = quantise(Dtype::Q8_0, &rows[..33]).unwrap_err();
    assert_eq!(error.to_string(), "33 numbers are no whole blocks of Q8_0");
    let error = quantise(Dtype::Q4K, &rows).unwrap_err();
    assert_eq!(error.to_string(), "numbers are not written as Q4_K; F32, F16, BF16 and Q8_0 are");
}

#[test]
fn every_type_of_value_is_read_as_the_reference_wrote_it() {
    let file = WeightFile::from_bytes(golden("quants.gguf")).unwrap();
    let metadata = file.metadata();
    let get = |name: &str| metadata.get(&format!("values.{name}")).unwrap();
    assert_eq!(get("u8"), Value::Unsigned(200));
    assert_eq!(get("i8"), Value::Signed(-100));
    assert_eq!(get("u16"), Value::Unsigned(60_000));
    assert_eq!(get("i16"), Value::Signed(-30_000));
    assert_eq!(get("u32"), Value::Unsigned(4_000_000_000));
    assert_eq!(get("i32"), Value::Signed(-2_000_000_000));
    assert_eq!(get("u64"), Value::Unsigned(18_000_000_000_000_000_000));
    assert_eq!(get("i64"), Value::Signed(-9_000_000_000_000_000_000));
    assert_eq!(get("f32"), Value::Float(0.5));
    assert_eq!(get("f64"), Value::Float(-0.25));
    assert_eq!(get("bool"), Value::Bool(true));
    assert_eq!(get("string"), Value::Text("Grüße"));
    assert_eq!(metadata.texts("values.strings").unwrap().collect::<Vec<_>>(), ["a", "", "漢字"]);
    let numbers: Vec<Value<'_>> = metadata.array("values.numbers").unwrap().iter().collect();
    assert_eq!(numbers, [Value::Signed(1), Value::Signed(-2), Value::Signed(3)]);
    assert_eq!(metadata.array("values.nested").unwrap().iter().count(), 2);
    // Getters take any width that the value fits, and nothing else.
    assert_eq!(metadata.u32("values.u8"), Some(200));
    assert_eq!(metadata.u32("values.u64"), None);
    assert_eq!(metadata.u64("values.i8"), None);
    assert_eq!(metadata.f32("values.f64"), Some(-0.25));
}
