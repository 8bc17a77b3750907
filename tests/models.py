"""Writes models with random weights: a byte-level language model (GGUF) and an encoder (safetensors)."""

import json
import random
import struct
from array import array

CONTROL = ["<|end|>", "<|im_start|>", "<|im_end|>", "<unk>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]

# ChatML, with tools and tool calls in Hermes format.
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if tools %}<tool_call>{{ tools | tojson }}{% endif %}<|im_start|>assistant\n"
)


def printable_bytes():
    """Returns the characters of byte-level BPE for the 256 bytes."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in own else chr(next(others)) for byte in range(256)]


def numbers(seed, count, centre=0.0, spread=0.25):
    generator = random.Random(seed)
    return array("f", (centre + spread * generator.uniform(-1, 1) for _ in range(count))).tobytes()


def gguf(path, metadata, tensors):
    """Writes F32 tensors given as `(name, shape, bytes)`; shapes are rows first."""

    def text(value):
        raw = value.encode()
        return struct.pack("<Q", len(raw)) + raw

    def typed(value):
        if isinstance(value, bool):
            return struct.pack("<I?", 7, value)
        if isinstance(value, int):
            return struct.pack("<II", 4, value)
        if isinstance(value, float):
            return struct.pack("<If", 6, value)
        if isinstance(value, str):
            return struct.pack("<I", 8) + text(value)
        kind = 8 if not value or isinstance(value[0], str) else 5
        items = b"".join(text(item) if kind == 8 else struct.pack("<i", item) for item in value)
        return struct.pack("<IIQ", 9, kind, len(value)) + items

    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    head += b"".join(text(key) + typed(value) for key, value in metadata.items())
    offset, body = 0, b""
    for name, shape, data in tensors:
        head += text(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", side) for side in reversed(shape)) + struct.pack("<IQ", 0, offset)
        padded = data + bytes(-len(data) % 32)
        body += padded
        offset += len(padded)
    path.write_bytes(head + bytes(-len(head) % 32) + body)
    return path


def language_model(path, *, seed=1, context=1024, layers=2, width=64, wide=96):
    """Writes a Llama with a chat template and fill-in-the-middle tokens."""
    tokens = [*printable_bytes(), *CONTROL]
    kv = width // 2
    metadata = {
        "general.architecture": "llama",
        "llama.block_count": layers,
        "llama.context_length": context,
        "llama.embedding_length": width,
        "llama.feed_forward_length": wide,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10_000.0,
        "llama.rope.dimension_count": width // 4,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [1] * 256 + [3] * len(CONTROL),
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.bos_token_id": 256,
        "tokenizer.ggml.eos_token_id": 258,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }
    shapes = {"token_embd": (len(tokens), width), "output_norm": (width,)}
    for layer in range(layers):
        block = f"blk.{layer}."
        shapes |= {block + "attn_norm": (width,), block + "ffn_norm": (width,)}
        shapes |= {block + "attn_q": (width, width), block + "attn_output": (width, width)}
        shapes |= {block + "attn_k": (kv, width), block + "attn_v": (kv, width)}
        shapes |= {block + "ffn_gate": (wide, width), block + "ffn_up": (wide, width), block + "ffn_down": (width, wide)}
    tensors = []
    for index, (name, shape) in enumerate(shapes.items()):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        centre = 1.0 if "norm" in name else 0.0
        tensors.append((name + ".weight", shape, numbers(f"{seed}/{index}", count, centre)))
    return gguf(path, metadata, tensors)


def encoder(folder, *, seed=1, width=32, wide=48, positions=24):
    """Writes a one-layer BERT whose vocabulary consists of a few words and all letters."""
    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = [*special, *letters, *("##" + letter for letter in letters), "card", "lost", "refund", "?", "."]
    config = {
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": width, "intermediate_size": wide,
        "num_attention_heads": 4, "num_hidden_layers": 1, "type_vocab_size": 2, "max_position_embeddings": positions,
        "vocab_size": len(words), "layer_norm_eps": 1e-12,
    }  # fmt: skip
    template = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    template.append({"SpecialToken": {"id": "[SEP]", "type_id": 0}})
    pair = [{"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
    added = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": index, "content": word, **added} for index, word in enumerate(special)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": template, "pair": template + pair,
                           "special_tokens": {word: {"id": word, "ids": [special.index(word)], "tokens": [word]}
                                              for word in ("[CLS]", "[SEP]")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {word: index for index, word in enumerate(words)}},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    shapes = {
        "embeddings.word_embeddings.weight": [len(words), width],
        "embeddings.position_embeddings.weight": [positions, width],
        "embeddings.token_type_embeddings.weight": [2, width],
    }
    layer = "encoder.layer.0"
    for name, outputs, inputs in [
        ("attention.self.query", width, width), ("attention.self.key", width, width),
        ("attention.self.value", width, width), ("attention.output.dense", width, width),
        ("intermediate.dense", wide, width), ("output.dense", width, wide),
    ]:  # fmt: skip
        shapes |= {f"{layer}.{name}.weight": [outputs, inputs], f"{layer}.{name}.bias": [outputs]}
    for norm in ["embeddings", f"{layer}.attention.output", f"{layer}.output"]:
        shapes |= {f"{norm}.LayerNorm.weight": [width], f"{norm}.LayerNorm.bias": [width]}
    header, body = {}, b""
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        data = numbers(f"{seed}/{name}", count, 1.0 if name.endswith("LayerNorm.weight") else 0.0)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    raw = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + body)
    return folder
