#!/usr/bin/env python3
"""Writes the reference data for the trainer's tests: tiny encoders, and how torch and PEFT train adapters on them.

Needs:   pip install torch transformers peft safetensors
Usage:   python3 scripts/train_fixtures.py [FOLDER] [NAME ..]
             [default: crates/bantam-train/tests/fixtures, and tiny_bert and tiny_modernbert in it]

Each folder gets config.json and model.safetensors of a seeded random model, and run.safetensors with the rows of the only
batch, the adapter and the head before the first step, and the loss of each step. Every step sees all rows, so their order
does not matter, and there is no dropout. LoRA on all linear layers and a head on the normalised mean of the last states are
trained with AdamW, gradient clipping and a cosine schedule with warm-up.
"""

import json
import pathlib
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertModel, get_cosine_schedule_with_warmup

STEPS, ROWS, CLASSES, RANK, ALPHA = 40, 12, 5, 4, 8
SETTINGS = {"rate": 5e-3, "head_rate": 2e-2, "decay": 0.01, "clip": 1.0, "warmup": 4, "smoothing": 0.1}
LINEAR = {
    "tiny_bert": ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"],
    "tiny_modernbert": ["Wqkv", "attn.Wo", "Wi", "mlp.Wo"],
}
KEYS = {
    "tiny_bert": ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                  "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "hidden_act", "model_type"],
    "tiny_modernbert": ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                        "max_position_embeddings", "norm_eps", "hidden_activation", "model_type", "local_attention",
                        "layer_types", "rope_parameters", "norm_bias", "attention_bias", "mlp_bias"],
}


def base(name):
    """Returns a random encoder whose weights are large enough for attention to matter."""
    torch.manual_seed(7)
    if name == "tiny_modernbert":
        # The first layer attends globally, the second to at most two tokens in each direction.
        config = ModernBertConfig(
            vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
            max_position_embeddings=24, embedding_dropout=0.0, mlp_dropout=0.0, attention_dropout=0.0,
            local_attention=4, global_attn_every_n_layers=2, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            cls_token_id=1, sep_token_id=2, attn_implementation="eager",
        )
        model = ModernBertModel(config)
        with torch.no_grad():
            for key, weight in model.named_parameters():
                if weight.ndim == 2:
                    weight.normal_(0, 0.15)
                else:
                    weight.copy_(1 + 0.1 * torch.randn_like(weight))
        return model
    config = BertConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=24, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        initializer_range=0.15,
    )
    return BertModel(config, add_pooling_layer=False)


def rows():
    """Returns token ids of various lengths, and their classes."""
    generator = torch.Generator().manual_seed(11)
    lengths = torch.randint(3, 12, (ROWS,), generator=generator).tolist()
    ids = [torch.randint(4, 40, (length,), generator=generator) for length in lengths]
    return ids, torch.arange(ROWS) % CLASSES


def vectors(model, ids):
    """Returns the normalised mean of each row's last states."""
    width = max(len(row) for row in ids)
    padded = torch.zeros(len(ids), width, dtype=torch.long)
    mask = torch.zeros(len(ids), width, dtype=torch.long)
    for index, row in enumerate(ids):
        padded[index, : len(row)], mask[index, : len(row)] = row, 1
    states = model(input_ids=padded, attention_mask=mask).last_hidden_state
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(mean, dim=-1)


def main():
    """Writes all fixtures, or the named ones."""
    here = pathlib.Path(__file__).resolve().parent.parent
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "crates/bantam-train/tests/fixtures"
    for name in sys.argv[2:] or LINEAR:
        write(name, folder / name)


def write(name, folder):
    """Trains a model and writes its fixture."""
    folder.mkdir(parents=True, exist_ok=True)
    model = base(name)
    plain = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if "position_ids" not in name}
    save_file(plain, folder / "model.safetensors")
    config = {key: value for key, value in model.config.to_dict().items() if key in KEYS[name]}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")

    model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=LINEAR[name]))
    head = torch.nn.Linear(32, CLASSES)
    ids, classes = rows()
    adapter = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    short = lambda name: name.removeprefix("base_model.model.").replace(".default", "")
    tensors = {short(name): tensor.detach().clone() for name, tensor in adapter.items()}
    tensors |= {"head.weight": head.weight.detach().clone(), "head.bias": head.bias.detach().clone()[None]}
    rates, decay = SETTINGS, SETTINGS["decay"]
    optimiser = torch.optim.AdamW([
        {"params": list(adapter.values()), "lr": rates["rate"], "weight_decay": decay},
        {"params": [head.weight], "lr": rates["head_rate"], "weight_decay": decay},
        {"params": [head.bias], "lr": rates["head_rate"], "weight_decay": 0.0},
    ], eps=1e-8)
    schedule = get_cosine_schedule_with_warmup(optimiser, SETTINGS["warmup"], STEPS)
    losses, lengths = [], []
    for _ in range(STEPS):
        optimiser.zero_grad()
        logits = head(vectors(model, ids))
        loss = torch.nn.functional.cross_entropy(logits, classes, label_smoothing=SETTINGS["smoothing"])
        loss.backward()
        every = list(adapter.values()) + list(head.parameters())
        lengths.append(float(torch.nn.utils.clip_grad_norm_(every, SETTINGS["clip"])))
        losses.append(float(loss.detach()))
        optimiser.step()
        schedule.step()
    tensors["losses"], tensors["lengths"] = torch.tensor(losses), torch.tensor(lengths)
    tensors["classes"] = classes.float()
    tensors["ends"] = torch.tensor([len(row) for row in ids]).cumsum(0).float()
    tensors["ids"] = torch.cat(ids).float()
    save_file(tensors, folder / "run.safetensors")
    print(f"{folder}: loss {losses[0]:.4f} to {losses[-1]:.4f} in {STEPS} steps")


if __name__ == "__main__":
    main()
