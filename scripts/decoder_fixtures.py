#!/usr/bin/env python3
"""Writes the tiny decoders for the tests of `bantam-engine`, with the logits that transformers computes for them.

Needs:   pip install torch transformers==5.23.0 safetensors gguf numpy
Usage:   python3 scripts/decoder_fixtures.py [OUT_FOLDER] [--stories STORIES260K.gguf]
         python3 scripts/decoder_fixtures.py --expect MODEL.gguf EXPECTED.safetensors

OUT_FOLDER is crates/bantam-engine/tests/fixtures by default. Each architecture gets a folder with `config.json`,
`model.safetensors` (F16, so that rounding does not matter) and `expected.safetensors`: token ids, and their logits computed
in f32. Norms and biases are random too, so that ignoring one is noticed. `llama` also gets `model.gguf`, written by the
reference writer, and two adapters. `--stories` prints the greedy continuations that the tests expect. `--expect` writes the
logits that transformers computes for any model, for the example `decoder_parity`.
"""

import argparse
import json
import pathlib

import gguf
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

VOCABULARY = 64
LENGTHS = (20, 7)

COMMON = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=36,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=256,
    attn_implementation="eager",
)

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.3, 1.9],
    "long_factor": [2.0, 3.0, 5.0],
    "original_max_position_embeddings": 64,
}

MODELS = {
    "llama": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**COMMON, tie_word_embeddings=False, rope_parameters=LLAMA3)
    ),
    "mistral": lambda: transformers.MistralForCausalLM(
        transformers.MistralConfig(**COMMON, tie_word_embeddings=True, sliding_window=7)
    ),
    "qwen2": lambda: transformers.Qwen2ForCausalLM(
        transformers.Qwen2Config(**{**COMMON, "hidden_size": 40, "num_attention_heads": 5, "num_key_value_heads": 1},
                                 tie_word_embeddings=True)
    ),
    "qwen3": lambda: transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(**{**COMMON, "head_dim": 16}, tie_word_embeddings=False)
    ),
    "gemma3": lambda: transformers.Gemma3ForCausalLM(
        transformers.Gemma3TextConfig(
            **{**COMMON, "num_hidden_layers": 3, "num_key_value_heads": 1},
            query_pre_attn_scalar=12,
            sliding_window=5,
            layer_types=["sliding_attention", "sliding_attention", "full_attention"],
            final_logit_softcapping=20.0,
            rope_parameters={
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            },
        )
    ),
    "phi3": lambda: transformers.Phi3ForCausalLM(
        transformers.Phi3Config(
            **{key: value for key, value in COMMON.items() if key != "head_dim"},
            original_max_position_embeddings=64,
            rope_parameters=LONGROPE,
            pad_token_id=0,
            tie_word_embeddings=False,
        )
    ),
}


def randomise(model, seed):
    """Draws every parameter at random, so that no norm is one and no bias is zero, and rounds it to F16."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            if name.endswith("bias"):
                drawn *= 0.3
            elif "norm" in name:
                drawn = drawn * 0.2 + (0.0 if "gemma" in type(model).__name__.lower() else 1.0)
            elif "embed_tokens" in name:
                drawn *= 0.5
            else:
                drawn *= 1.2 / parameter.shape[1] ** 0.5
            parameter.copy_(drawn.half().float())


def logits(model, ids):
    """Returns the logits of all positions of one sequence, computed in f32."""
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()


def tensors_of(model):
    """Returns the tensors to store, as F16 and without a tied head."""
    tied = model.config.tie_word_embeddings
    return {
        name: parameter.detach().numpy().astype(np.float16)
        for name, parameter in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }


def sequences(seed):
    """Returns two sequences of token ids."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, VOCABULARY, length).tolist() for length in LENGTHS]


def write_model(out, name, seed):
    model = MODELS[name]().eval().float()
    randomise(model, seed)
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    model.config.to_json_file(folder / "config.json")
    save_file(tensors_of(model), folder / "model.safetensors")
    expected = {}
    for index, ids in enumerate(sequences(seed)):
        expected[f"tokens.{index}"] = np.array(ids, dtype=np.int32)
        expected[f"logits.{index}"] = logits(model, ids)
    print(name, sum(tensor.size for tensor in tensors_of(model).values()), "parameters, logits up to",
          round(float(np.abs(expected["logits.0"]).max()), 2))
    return model, expected


def interleave(rows, heads):
    """Returns the rows of a query or key projection in GGUF's order for Llama, which interleaves rotated pairs."""
    size = rows.shape[0] // heads
    return rows.reshape(heads, 2, size // 2, -1).swapaxes(1, 2).reshape(rows.shape)


NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def gguf_name(name):
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    if name in fixed:
        return fixed[name]
    _, _, layer, part = name.split(".", 3)
    return f"blk.{layer}.{NAMES[part.removesuffix('.weight')]}.weight"


def llama3_factors(config):
    """Returns Llama 3.1's divisors of the rotation's frequencies, as the converter stores them."""
    rope = config.rope_parameters
    base, length = rope["rope_theta"], rope["original_max_position_embeddings"]
    factors = []
    for index in range(0, config.head_dim, 2):
        wave = 2 * np.pi * base ** (index / config.head_dim)
        low, high = length / rope["low_freq_factor"], length / rope["high_freq_factor"]
        if wave < high:
            factors.append(1.0)
        elif wave > low:
            factors.append(rope["factor"])
        else:
            smooth = (length / wave - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def write_llama_gguf(path, model):
    config = model.config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_tensor("rope_freqs.weight", llama3_factors(config))
    for name, tensor in tensors_of(model).items():
        if "q_proj" in name:
            tensor = interleave(tensor, config.num_attention_heads)
        if "k_proj" in name:
            tensor = interleave(tensor, config.num_key_value_heads)
        writer.add_tensor(gguf_name(name), tensor.astype(np.float32) if tensor.ndim == 1 else tensor)
    finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def draw_adapter(model, targets, rank, seed):
    """Returns random factors (A, B) of every projection that an adapter changes, by the projection's name."""
    generator = np.random.default_rng(seed)
    factors = {}
    for name, module in model.named_modules():
        if name.split(".")[-1] in targets:
            a = generator.standard_normal((rank, module.in_features)) * 0.3
            b = generator.standard_normal((module.out_features, rank)) * 0.3
            factors[name] = (a.astype(np.float16), b.astype(np.float16))
    return factors


def with_adapter(model, factors, scale, ids):
    """Returns the logits of a model whose projections are W + scale B A."""
    import copy

    changed = copy.deepcopy(model)
    with torch.no_grad():
        for name, (a, b) in factors.items():
            weight = changed.get_submodule(name).weight
            weight += scale * torch.tensor(b.astype(np.float32)) @ torch.tensor(a.astype(np.float32))
    return logits(changed, ids)


def write_peft(folder, model, factors, config):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    tensors = {}
    for name, (a, b) in factors.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = a
        tensors[f"base_model.model.{name}.lora_B.weight"] = b
    save_file(tensors, folder / "adapter_model.safetensors")


def write_gguf_adapter(path, model, factors, alpha):
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    heads = {"q_proj": model.config.num_attention_heads, "k_proj": model.config.num_key_value_heads}
    for name, (a, b) in factors.items():
        part = name.split(".")[-1]
        if part in heads:
            b = interleave(b, heads[part])
        writer.add_tensor(gguf_name(name + ".weight") + ".lora_a", a)
        writer.add_tensor(gguf_name(name + ".weight") + ".lora_b", b)
    finish(writer)


def peft_config(rank, alpha, targets, is_scaled_by_root):
    """Returns PEFT's configuration of an adapter that changes the named projections."""
    return {"peft_type": "LORA", "base_model_name_or_path": "tiny", "task_type": "CAUSAL_LM", "r": rank,
            "lora_alpha": alpha, "lora_dropout": 0.05, "use_rslora": is_scaled_by_root, "use_dora": False,
            "bias": "none", "modules_to_save": None, "fan_in_fan_out": False, "target_modules": targets,
            "rank_pattern": {}, "alpha_pattern": {}, "inference_mode": True}


def write_adapters(out, model, expected):
    """Writes one adapter in both formats, and one over all projections only for PEFT."""
    ids = sequences(1)[0]
    few = draw_adapter(model, ["q_proj", "v_proj"], 4, 11)
    write_peft(out / "llama/adapter-few", model, few, peft_config(4, 6, ["q_proj", "v_proj"], False))
    write_gguf_adapter(out / "llama/adapter-few.gguf", model, few, 6.0)
    expected["logits.few"] = with_adapter(model, few, 6 / 4, ids)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    every = draw_adapter(model, targets, 3, 12)
    write_peft(out / "llama/adapter-every", model, every, peft_config(3, 2, targets, True))
    expected["logits.every"] = with_adapter(model, every, 2 / 3**0.5, ids)


def read_gguf(path):
    """Loads a GGUF file with transformers."""
    config = transformers.AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    config.pad_token_id = None
    return transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, config=config, dtype=torch.float32, attn_implementation="eager").eval()


def expect(path, out):
    """Writes the logits of a model for 48 tokens."""
    model = read_gguf(path)
    ids = np.random.default_rng(1).integers(0, model.config.vocab_size, 48).tolist()
    save_file({"tokens.0": np.array(ids, dtype=np.int32), "logits.0": logits(model, ids)}, out)


def stories(path):
    """Prints the greedy continuations of a published model."""
    model = read_gguf(path)
    for prompt in ([1, 403, 407, 261, 378], [1, 365, 373, 505, 300, 420, 290]):
        ids = list(prompt)
        with torch.no_grad():
            for _ in range(48):
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        print("stories", prompt, ids[len(prompt):])


def main():
    parser = argparse.ArgumentParser()
    here = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("out", nargs="?", type=pathlib.Path, default=here / "crates/bantam-engine/tests/fixtures")
    parser.add_argument("--stories", type=pathlib.Path)
    parser.add_argument("--expect", type=pathlib.Path, nargs=2)
    options = parser.parse_args()
    if options.expect:
        return expect(*options.expect)
    for seed, name in enumerate(MODELS, start=1):
        model, expected = write_model(options.out, name, seed)
        if name == "llama":
            write_llama_gguf(options.out / "llama/model.gguf", model)
            write_adapters(options.out, model, expected)
        save_file(expected, options.out / name / "expected.safetensors")
    if options.stories:
        stories(options.stories)


if __name__ == "__main__":
    main()
