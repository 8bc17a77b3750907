"""Writes seeded random models for speed measurements: F16 models with the shapes of a 135M Llama and a 0.6B Qwen3, and for
each of them eight LoRA adapters of rank 8 on queries and values.

    python bench/models.py FOLDER            (PyPI: gguf numpy)

Random weights take the same time as trained ones. `peer-llama quantize` converts them to Q8_0 and Q4_0.
"""

import sys
from pathlib import Path

import gguf
import numpy as np

SHAPES = {
    "llama-135m": dict(arch="llama", layers=30, hidden=576, heads=9, kv=3, head=64, ffn=1536, vocab=49_152,
                       theta=1e5, eps=1e-5, context=8_192, pre="smollm"),
    "qwen3-0.6b": dict(arch="qwen3", layers=28, hidden=1_024, heads=16, kv=8, head=128, ffn=3_072,
                       vocab=151_936, theta=1e6, eps=1e-6, context=40_960, pre="qwen2"),
}
CONTROL = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ADAPTERS, RANK = 8, 8


def printable_bytes() -> list[str]:
    """Returns the characters of byte-level BPE for the 256 bytes: printable ones as they are, others from U+0100 on."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in own else chr(next(others)) for byte in range(256)]


def vocabulary(size: int) -> tuple[list[str], list[str]]:
    """Returns tokens and merges: bytes first, then strings of letters, each a shorter string plus one letter."""
    tokens, merges = printable_bytes(), []
    letters = [token for token in tokens if token.isascii() and token.isalpha()]
    room, longest = size - len(CONTROL), ["Ġ", *letters]
    while len(tokens) < room:
        pairs = [(start, letter) for start in longest for letter in letters][: room - len(tokens)]
        merges += [f"{start} {letter}" for start, letter in pairs]
        longest = [start + letter for start, letter in pairs]
        tokens += longest
    return tokens + CONTROL, merges


def write(path: Path, arch, layers, hidden, heads, kv, head, ffn, vocab, theta, eps, context, pre) -> None:
    random = np.random.default_rng(0)
    model = gguf.GGUFWriter(str(path), arch)
    model.add_name(path.stem)
    model.add_block_count(layers)
    model.add_context_length(context)
    model.add_embedding_length(hidden)
    model.add_feed_forward_length(ffn)
    model.add_head_count(heads)
    model.add_head_count_kv(kv)
    model.add_key_length(head)
    model.add_value_length(head)
    model.add_rope_freq_base(theta)
    model.add_layer_norm_rms_eps(eps)
    if arch == "llama":
        model.add_rope_dimension_count(head)
    model.add_vocab_size(vocab)
    model.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    tokens, merges = vocabulary(vocab)
    kinds = [gguf.TokenType.NORMAL] * (vocab - len(CONTROL)) + [gguf.TokenType.CONTROL] * len(CONTROL)
    model.add_tokenizer_model("gpt2")
    model.add_tokenizer_pre(pre)
    model.add_token_list(tokens)
    model.add_token_types(kinds)
    model.add_token_merges(merges)
    model.add_bos_token_id(vocab - 3)
    model.add_eos_token_id(vocab - 1)
    model.add_add_bos_token(False)
    model.add_chat_template(TEMPLATE)

    def matrix(name: str, rows: int, columns: int) -> None:
        numbers = random.standard_normal((rows, columns), dtype=np.float32) * 0.02
        model.add_tensor(f"{name}.weight", numbers.astype(np.float16))

    def norm(name: str, width: int) -> None:
        model.add_tensor(f"{name}.weight", np.ones(width, dtype=np.float32))

    matrix("token_embd", vocab, hidden)
    norm("output_norm", hidden)
    for layer in range(layers):
        block = f"blk.{layer}."
        norm(block + "attn_norm", hidden)
        norm(block + "ffn_norm", hidden)
        matrix(block + "attn_q", heads * head, hidden)
        matrix(block + "attn_k", kv * head, hidden)
        matrix(block + "attn_v", kv * head, hidden)
        matrix(block + "attn_output", hidden, heads * head)
        if arch == "qwen3":
            norm(block + "attn_q_norm", head)
            norm(block + "attn_k_norm", head)
        matrix(block + "ffn_gate", ffn, hidden)
        matrix(block + "ffn_up", ffn, hidden)
        matrix(block + "ffn_down", hidden, ffn)
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


def write_adapter(path: Path, number: int, arch, layers, hidden, heads, kv, head, **_) -> None:
    random = np.random.default_rng(1 + number)
    model = gguf.GGUFWriter(str(path), arch)
    model.add_type("adapter")
    model.add_string("adapter.type", "lora")
    model.add_float32("adapter.lora.alpha", 16.0)
    for layer in range(layers):
        for name, rows in [("attn_q", heads * head), ("attn_v", kv * head)]:
            for part, shape in [("lora_a", (RANK, hidden)), ("lora_b", (rows, RANK))]:
                numbers = random.standard_normal(shape, dtype=np.float32) * 0.02
                model.add_tensor(f"blk.{layer}.{name}.weight.{part}", numbers)
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, shape in SHAPES.items():
        write(folder / f"{name}-f16.gguf", **shape)
        for number in range(ADAPTERS):
            write_adapter(folder / f"{name}-adapter-{number}.gguf", number, **shape)


if __name__ == "__main__":
    main()
