#!/usr/bin/env python3
"""Checks that PEFT loads an adapter exported by Bantam and applies exactly the update that the files contain.

Needs:   pip install torch transformers peft safetensors
Usage:   python3 scripts/check_peft.py BASE ADAPTER   (ADAPTER is the folder of `bantam student train --peft`)
"""

import json
import pathlib
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel


def main():
    """Loads and merges the adapter, and compares every layer."""
    base, adapter = sys.argv[1:3]
    plain = AutoModel.from_pretrained(base).state_dict()
    merged = PeftModel.from_pretrained(AutoModel.from_pretrained(base), adapter).merge_and_unload().state_dict()
    config = json.loads((pathlib.Path(adapter) / "adapter_config.json").read_text())
    tensors = load_file(pathlib.Path(adapter) / "adapter_model.safetensors")
    scale, worst, largest = config["lora_alpha"] / config["r"], 0.0, 0.0
    for module in config["target_modules"]:
        a, b = (tensors[f"base_model.model.{module}.lora_{half}.weight"] for half in "AB")
        update = scale * b @ a
        worst = max(worst, float((merged[f"{module}.weight"] - plain[f"{module}.weight"] - update).abs().max()))
        largest = max(largest, float(update.abs().max()))
    others = [name for name in plain if name.removesuffix(".weight") not in config["target_modules"]]
    same = all(torch.equal(plain[name], merged[name]) for name in others)
    print(f"{len(config['target_modules'])} layers, largest update {largest:.2e}, largest difference {worst:.2e}")
    if worst > 1e-5 or largest == 0.0 or not same:
        sys.exit("PEFT does not apply the exported adapter")


if __name__ == "__main__":
    main()
