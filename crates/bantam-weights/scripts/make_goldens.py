"""Writes tests/goldens/{quants.gguf,quants.bin,rows.bin}: reference values of every tensor type.

    pip install gguf==0.19.0 numpy
    python make_goldens.py ../tests/goldens

`quants.gguf` has one small tensor of each type, named after the type. `quants.bin` has the values that gguf's
`dequantize` returns for them, as little-endian f32 in the same order. `rows.bin` has the f32 rows from which the
F16, BF16 and Q8_0 tensors were made.
"""

import sys
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

TYPES = [T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q4_K, T.Q5_K, T.Q6_K]
SHAPE = (2, 256)


def half(random, count):
    """Scales like those of a quantiser: small, finite, of either sign."""
    return (random.standard_normal(count) * 0.01).astype(np.float16).view(np.uint8).reshape(count, 2)


def k_block(random, kind, rows):
    """gguf cannot create K-quants, so their blocks are random bits with realistic scales."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    assert block == SHAPE[1]
    blocks = random.integers(0, 256, (rows, size), dtype=np.uint8)
    if kind == T.Q6_K:
        blocks[:, -2:] = half(random, rows)
    else:
        blocks[:, :2] = half(random, rows)
        blocks[:, 2:4] = half(random, rows)
    return blocks


def main(folder):
    folder = Path(folder)
    random = np.random.default_rng(20261121)
    rows = (random.standard_normal(SHAPE) * np.linspace(0.01, 3, SHAPE[1])).astype(np.float32)
    rows[0, :4] = [0.0, -0.0, 65504.0, 6e-8]
    rows[1, 32:64] = 0.0
    writer = gguf.GGUFWriter(folder / "quants.gguf", "golden")
    expected = []
    for kind in TYPES:
        data = k_block(random, kind, SHAPE[0]) if kind.name.endswith("_K") else gguf.quantize(rows, kind)
        values = gguf.dequantize(data, kind)
        assert values.shape == SHAPE, (kind, values.shape)
        expected.append(values.astype("<f4"))
        writer.add_tensor(kind.name, data, raw_dtype=kind if data.dtype == np.uint8 else None)
    writer.add_uint8("values.u8", 200)
    writer.add_int8("values.i8", -100)
    writer.add_uint16("values.u16", 60000)
    writer.add_int16("values.i16", -30000)
    writer.add_uint32("values.u32", 4_000_000_000)
    writer.add_int32("values.i32", -2_000_000_000)
    writer.add_uint64("values.u64", 18_000_000_000_000_000_000)
    writer.add_int64("values.i64", -9_000_000_000_000_000_000)
    writer.add_float32("values.f32", 0.5)
    writer.add_float64("values.f64", -0.25)
    writer.add_bool("values.bool", True)
    writer.add_string("values.string", "Grüße")
    writer.add_array("values.strings", ["a", "", "漢字"])
    writer.add_array("values.numbers", [1, -2, 3])
    writer.add_array("values.nested", [[1, 2], [3]])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    np.concatenate([values.ravel() for values in expected]).tofile(folder / "quants.bin")
    rows.astype("<f4").tofile(folder / "rows.bin")


if __name__ == "__main__":
    main(*sys.argv[1:])
