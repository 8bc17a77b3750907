#!/usr/bin/env python3
"""Runs the recipes that `bantam train export` writes for other trainers.

Needs:   pip install torch transformers trl peft datasets pyyaml   (and axolotl, to check its settings against its schema)
Usage:   python3 scripts/check_recipes.py [--bantam target/release/bantam] [--work FOLDER]

Trains a tiny Llama with transformers to give one kind of answer to generated texts. `bantam student train` then trains
adapters on it for another kind, from answers and from preferences, and exports both trainings to trl and to axolotl. Each
exported `train.py` runs unchanged. Its adapter must load in PEFT, and there answer unseen texts as well as Bantam's own
adapter (answers), or prefer the chosen answers (preferences). If axolotl can be imported, its schema must accept the
exported settings without unknown keys; otherwise the script reports that it skipped this check.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import yaml
from peft import PeftModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PRODUCTS = ("lamp", "tent", "mug", "desk")
INSTRUCTIONS = "Say what it is."
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STEPS = 1000


def product(number):
    return PRODUCTS[number * 7 % 4]


def text(number):
    return (f"please send {number} {product(number)}s", f"where is the {product(number)} of order {number}")[number % 2]


def messages_for(question, answer=None):
    messages = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": question}]
    return messages + ([{"role": "assistant", "content": answer}] if answer is not None else [])


def make_base(folder):
    """Trains and writes a tiny model that names the product."""
    torch.manual_seed(7)
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer, plain.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    plain.train_from_iterator([f"{text(n)} It is the {product(n)}." for n in range(240)] + [INSTRUCTIONS], learner)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    # Newer releases store the template in a separate file; older readers look for it here.
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": TEMPLATE}))
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None, pad_token_id=tokenizer.pad_token_id,
    ))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(STEPS):
        rows = [messages_for(text(n), product(n)) for n in torch.randint(0, 240, (16,)).tolist()]
        batch = tokenizer([tokenizer.apply_chat_template(row, tokenize=False) for row in rows], return_tensors="pt",
                          padding=True, add_special_tokens=False)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        loss = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(folder)
    return loss.item()


def run(command, folder):
    finished = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)
    if finished.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{finished.stdout[-2000:]}\n{finished.stderr[-4000:]}")
    return finished.stdout


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def load(base, adapter=None):
    model = AutoModelForCausalLM.from_pretrained(base)
    return (PeftModel.from_pretrained(model, adapter) if adapter else model).eval()


def answers(model, tokenizer, texts):
    decoded = []
    for question in texts:
        prompt = tokenizer.apply_chat_template(messages_for(question), add_generation_prompt=True, tokenize=False)
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        with torch.no_grad():
            whole = model.generate(**ids, max_new_tokens=24, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        decoded.append(tokenizer.decode(whole[0, ids["input_ids"].shape[1]:], skip_special_tokens=True).strip())
    return decoded


def margin(model, tokenizer, texts, chosen, rejected):
    """Returns the mean log-probability of the chosen answers minus that of the rejected ones."""
    def score(question, answer):
        prompt = tokenizer.apply_chat_template(messages_for(question), add_generation_prompt=True, tokenize=False)
        whole = tokenizer.apply_chat_template(messages_for(question, answer), tokenize=False)
        ids, before = (tokenizer(part, return_tensors="pt", add_special_tokens=False)["input_ids"] for part in (whole, prompt))
        with torch.no_grad():
            logs = model(ids).logits[0, :-1].log_softmax(-1)
        return logs.gather(1, ids[0, 1:, None])[before.shape[1] - 1:].sum().item()
    return sum(score(t, chosen(t)) - score(t, rejected(t)) for t in texts) / len(texts)


def check_axolotl(path):
    try:
        from axolotl.utils.schemas.config import AxolotlInputConfig
    except ImportError as error:
        print(f"SKIPPED: axolotl's schema cannot be imported ({error}); {path.name} was not checked against it")
        return
    settings = yaml.safe_load(path.read_text())
    unknown = set(settings) - set(AxolotlInputConfig.model_fields)
    assert not unknown, f"axolotl does not know {unknown}"
    read = AxolotlInputConfig(**settings)
    assert read.adapter == "lora" and read.lora_r == settings["lora_r"], read
    print(f"axolotl's schema accepts {path.parent.name}/{path.name}: {len(settings)} settings")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bantam", type=pathlib.Path, default=pathlib.Path("target/release/bantam"))
    parser.add_argument("--work", type=pathlib.Path)
    options = parser.parse_args()
    bantam = options.bantam.resolve()
    work = options.work or pathlib.Path(tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    print(f"base trained for {STEPS} steps: loss {make_base(work / 'base'):.3f}", flush=True)
    tokenizer = AutoTokenizer.from_pretrained(work / "base")
    numbers, unseen = range(240), [text(n) for n in range(500, 520)]
    expected = [f"It is the {product(n)}." for n in range(500, 520)]
    names = dict(zip(unseen, (product(n) for n in range(500, 520))))
    write(work / "answers.jsonl", [{"text": text(n), "answer": f"It is the {product(n)}."} for n in numbers])
    pair = lambda n: {"prompt": messages_for(text(n)), "chosen": f"A {product(n)}", "rejected": product(n)}
    write(work / "pairs.jsonl", [pair(n) for n in numbers])
    write(work / "ask.jsonl", [{"text": question} for question in unseen])
    train = [bantam, "student", "train", "--kind", "decoder", "--instructions", INSTRUCTIONS, "--base", "base"]
    trainings = [("answers", ["--rate", 0.01, "--epochs", 10]), ("pairs", ["--rate", 0.002, "--epochs", 3])]
    for name, flags in trainings:
        run([*train, "--data", f"{name}.jsonl", "--out", f"{name}.student", *flags], work)
        for form in ("trl", "axolotl"):
            run([bantam, "train", "export", f"{name}.student", "--to", form, "--data", f"{name}.jsonl", "--out",
                 f"{name}-{form}"], work)
        check_axolotl(work / f"{name}-axolotl" / "axolotl.yml")
        run([sys.executable, "train.py"], work / f"{name}-trl")
        print(f"trl ran {name}-trl/train.py", flush=True)
    lines = run([bantam, "student", "predict", "--student", "answers.student", "--input", "ask.jsonl"], work)
    own = [json.loads(line)["answer"].strip() for line in lines.splitlines()]
    plain = answers(load(work / "base"), tokenizer, unseen)
    theirs = answers(load(work / "base", work / "answers-trl" / "adapter"), tokenizer, unseen)
    answered = {"base": plain, "Bantam": own, "trl": theirs}
    right = {name: sum(map(str.__eq__, given, expected)) for name, given in answered.items()}
    print(f"correct answers to {len(expected)} unseen texts: {right}")
    chosen, rejected = (lambda t: f"A {names[t]}"), (lambda t: names[t])
    before = margin(load(work / "base"), tokenizer, unseen, chosen, rejected)
    after = margin(load(work / "base", work / "pairs-trl" / "adapter"), tokenizer, unseen, chosen, rejected)
    print(f"log-probability margin of the chosen answers: {before:.2f} before and {after:.2f} after trl's run")
    assert right["trl"] >= right["Bantam"] - 2 and right["trl"] > right["base"], right
    assert after > before + 1.0, (before, after)


if __name__ == "__main__":
    main()
