#!/usr/bin/env python3
"""Measures how fast torch and PEFT train adapters of an encoder, to compare with `bantam student train --tune lora`.

Needs:   pip install torch transformers peft
Usage:   python3 bench/train_peft.py BASE ROWS.jsonl [--steps 60] [--batch 32] [--threads 2]

Rows are {"text", "label"}. Batches are taken in a seeded order and padded to their longest row, as trainers do. Trains LoRA
of rank 16 on all linear layers and a head on the mean state, with AdamW and gradient clipping. Prints tokens per second
without padding, as Bantam counts them, and the peak memory of the process. Bantam's figure is the field tokens_per_second of
--log.
"""

import argparse
import json
import random
import resource
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, AutoTokenizer

LINEAR = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]


def main():
    """Trains for some steps and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("rows")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(7)
    with open(arguments.rows, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    labels = {label: index for index, label in enumerate(sorted({row["label"] for row in rows}))}
    tokenizer = AutoTokenizer.from_pretrained(arguments.base)
    model = AutoModel.from_pretrained(arguments.base)
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=LINEAR))
    head = torch.nn.Linear(model.config.hidden_size, len(labels))
    trained = [tensor for tensor in model.parameters() if tensor.requires_grad] + list(head.parameters())
    optimiser = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.01)
    random.Random(7).shuffle(rows)
    model.train()
    tokens, started = 0, time.monotonic()
    for step in range(arguments.steps):
        first = step * arguments.batch % (len(rows) - arguments.batch)
        batch = rows[first : first + arguments.batch]
        read = tokenizer([row["text"] for row in batch], padding=True, truncation=True, max_length=128, return_tensors="pt")
        states = model(input_ids=read["input_ids"], attention_mask=read["attention_mask"]).last_hidden_state
        mask = read["attention_mask"][..., None]
        vectors = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
        target = torch.tensor([labels[row["label"]] for row in batch])
        loss = torch.nn.functional.cross_entropy(head(vectors), target, label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        tokens += int(read["attention_mask"].sum())
        if step == 4:
            # The first steps are a warm-up.
            tokens, started = 0, time.monotonic()
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{tokens / seconds:.0f} tokens/s over {arguments.steps - 5} steps of {arguments.batch} rows, peak {peak} MiB")


if __name__ == "__main__":
    main()
