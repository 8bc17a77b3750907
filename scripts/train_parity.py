#!/usr/bin/env python3
"""Writes the loss curves of trl and peft that the tests of `bantam-train` compare with.

Needs:   pip install torch transformers==5.23.0 trl==1.16.0 peft==0.21.2 bitsandbytes==0.50.2 safetensors numpy
Usage:   python3 scripts/train_parity.py [OUT_FOLDER]
         python3 scripts/train_parity.py --logits BASE_FOLDER ADAPTER_FOLDER ID,ID,... OUT.safetensors

OUT_FOLDER is crates/bantam-train/tests/fixtures/parity by default. It gets tiny seeded bases (F16 weights, run in f32), the
rows in training order as trl tokenised them, and for each run a JSON file with the loss of each of 50 steps, plus the
adapter before the first step and the logits of a probe after the last. `nf4.safetensors` holds a matrix as bitsandbytes
quantises it to 4 bits. `--logits` writes the logits that peft computes with an adapter.
"""

import argparse
import json
import pathlib
import random

import torch
import transformers
from safetensors.torch import save_file

STEPS, BATCH, WORDS = 50, 4, 60
COMMON = dict(
    vocab_size=WORDS + 4,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=128,
    tie_word_embeddings=True,
    bos_token_id=0,
    eos_token_id=1,
    pad_token_id=2,
)
ONE_LAYER = dict(num_hidden_layers=1)
# On the CPU, bitsandbytes 0.50.2 dequantises rows shorter than a block of 64 with wrong scales, so the 4-bit base has none.
WIDE = dict(num_hidden_layers=1, hidden_size=64, intermediate_size=64, num_attention_heads=8)
BASES = {
    "llama": (transformers.LlamaForCausalLM, transformers.LlamaConfig, {}),
    "llama_wide": (transformers.LlamaForCausalLM, transformers.LlamaConfig, WIDE),
    "qwen2": (transformers.Qwen2ForCausalLM, transformers.Qwen2Config, ONE_LAYER),
    "qwen3": (transformers.Qwen3ForCausalLM, transformers.Qwen3Config, ONE_LAYER),
}
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PROBE = list(range(5, 21))


def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<bos>", "<eos>", "<pad>", "<unk>"] + [f"w{index}" for index in range(WORDS)]
    plain = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )


def make_base(name, folder):
    torch.manual_seed(7)
    model_class, config_class, other = BASES[name]
    model = model_class(config_class(**{**COMMON, **other}))
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.normal_(0, 0.15)
            elif key.endswith("bias"):
                weight.normal_(0, 0.1)
            else:
                weight.copy_(1 + 0.1 * torch.randn_like(weight))
    model.half().save_pretrained(folder / name)
    (folder / name / "generation_config.json").unlink(missing_ok=True)


def text(generator, least, most):
    return " ".join(f"w{generator.randrange(WORDS)}" for _ in range(generator.randint(least, most)))


def with_adapter(folder, base, quantised):
    from peft import LoraConfig, get_peft_model

    options = {}
    if quantised:
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.float32,
            bnb_4bit_use_double_quant=False,
        )
        options["device_map"] = "cpu"
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder / base, dtype=torch.float32, attn_implementation="eager", **options
    )
    torch.manual_seed(11)
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=MODULES, task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def initial_adapter(model):
    """Returns the adapter before the first step, by the names that both sides know."""
    found = {}
    for name, weight in model.named_parameters():
        if "lora_A" in name:
            name = name.replace("base_model.model.", "", 1).replace(".default.", ".")
            found[name] = weight.detach().clone().contiguous()
    return found


def common(out, rate):
    return dict(
        output_dir=out,
        per_device_train_batch_size=BATCH // 2,
        gradient_accumulation_steps=2,
        max_steps=STEPS,
        learning_rate=rate,
        lr_scheduler_type="cosine",
        warmup_steps=5,
        weight_decay=0.0,
        max_grad_norm=1.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        max_length=64,
        disable_tqdm=True,
    )


def train(trainer_class, model, data, arguments):
    losses = []

    class InOrder(trainer_class):
        def _get_train_sampler(self, *_):
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def training_step(self, *inputs, **more):
            loss = super().training_step(*inputs, **more)
            losses.append(float(loss))
            return loss

    trainer = InOrder(model=model, args=arguments, train_dataset=data, processing_class=tokenizer())
    # trl rounds adapters of 4-bit bases to bf16; here both sides train them in f32.
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    before = initial_adapter(trainer.model)
    rows = [dict(row) for row in trainer.train_dataset]
    trainer.train()
    # Each batch has two halves, which trl has already weighted.
    return before, rows, [first + second for first, second in zip(losses[::2], losses[1::2])]


def run(folder, name, base, quantised, preferences):
    import datasets
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    generator = random.Random(3)
    count = STEPS * BATCH
    rows = [{"prompt": text(generator, 2, 9) + " ", "completion": text(generator, 1, 8)} for _ in range(count)]
    model = with_adapter(folder, base, quantised)
    if preferences:
        rows = [
            {"prompt": row["prompt"], "chosen": row["completion"], "rejected": text(generator, 1, 8)} for row in rows
        ]
        arguments = DPOConfig(beta=0.1, **common("/tmp/parity-run", 5e-3))
        before, rows, losses = train(DPOTrainer, model, datasets.Dataset.from_list(rows), arguments)
        rows = [{key: row[key] for key in ("prompt_ids", "chosen_ids", "rejected_ids")} for row in rows]
    else:
        arguments = SFTConfig(completion_only_loss=True, packing=False, **common("/tmp/parity-run", 5e-3))
        before, rows, losses = train(SFTTrainer, model, datasets.Dataset.from_list(rows), arguments)
        masks = [[int(label != -100) for label in row["labels"]] for row in rows]
        rows = [{"input_ids": row["input_ids"], "completion_mask": mask} for row, mask in zip(rows, masks)]
    model.eval()
    with torch.no_grad():
        logits = model(torch.tensor([PROBE])).logits[0].float()
    found = {
        "base": base,
        "form": "nf4" if quantised else "wide",
        "rank": 4,
        "alpha": 8.0,
        "rate": 5e-3,
        "beta": 0.1,
        "probe": PROBE,
        "losses": losses,
    }
    # All runs of a kind have the same rows.
    kind = "dpo" if preferences else "sft"
    (folder / f"{kind}_rows.json").write_text(json.dumps(rows, separators=(",", ":")) + "\n")
    (folder / f"{name}.json").write_text(json.dumps(found, separators=(",", ":")) + "\n")
    save_file({"probe_logits": logits.contiguous(), **before}, folder / f"{name}.safetensors")
    print(f"{name}: {losses[0]:.6f} to {losses[-1]:.6f}")


def nf4(folder):
    import bitsandbytes.functional as functional

    torch.manual_seed(5)
    weight = torch.randn(24, 72) * torch.logspace(-3, 1, 24)[:, None]
    # Midpoints between two codes, of both signs, and a block of zeros.
    codes = functional.get_4bit_type("nf4", device="cpu")
    weight[3, :] = torch.cat([(codes[1:] + codes[:-1]) / 2, torch.ones(72 - 15)])
    weight[7:9, :] = 0
    quantised, state = functional.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    wide = functional.dequantize_4bit(quantised, state)
    save_file(
        {"weight": weight, "bytes": quantised.flatten(), "absmax": state.absmax.float(), "wide": wide},
        folder / "nf4.safetensors",
    )


def logits(base, adapter, ids, out):
    from peft import PeftModel

    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, adapter).eval()
    with torch.no_grad():
        save_file({"logits": model(torch.tensor([ids])).logits[0].float().contiguous()}, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default="crates/bantam-train/tests/fixtures/parity")
    parser.add_argument("--logits", nargs=4, metavar=("BASE", "ADAPTER", "IDS", "OUT"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.logits:
        base, adapter, ids, out = arguments.logits
        return logits(base, adapter, [int(number) for number in ids.split(",")], out)
    folder = pathlib.Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    for name in BASES:
        make_base(name, folder)
    nf4(folder)
    for name, base, quantised, preferences in (
        ("sft_llama", "llama", False, False),
        ("sft_qwen2", "qwen2", False, False),
        ("sft_qwen3", "qwen3", False, False),
        ("qlora_llama", "llama_wide", True, False),
        ("dpo_llama", "llama", False, True),
    ):
        run(folder, name, base, quantised, preferences)


if __name__ == "__main__":
    main()
