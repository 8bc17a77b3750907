#!/usr/bin/env python3
"""Checks that a decoder's adapter gives the same answers in Bantam, in llama.cpp and in PEFT.

Needs:   pip install torch transformers peft gguf llama-cpp-python   (the last one builds llama.cpp)
Usage:   python3 scripts/check_decoder_exports.py [--bantam target/release/bantam] [--work FOLDER]

Trains a decoder from scratch on generated rows, then trains an adapter on it for other answers and exports the adapter for
PEFT, as a GGUF adapter and merged into the base. Twenty unseen texts are answered greedily by `bantam student predict`, by
llama.cpp with base and adapter, by llama.cpp with the merged model, and by PEFT on the base's GGUF file as transformers
reads it. All answers must be equal. PEFT's logits after each prompt and answer must match llama.cpp's within a hundredth of
the largest, and must differ from those of the base alone.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import jinja2
import llama_cpp
import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

PRODUCTS = ("lamp", "tent", "mug", "desk")
INSTRUCTIONS = "Say what it is."
TOKENS_MAX = 48
TOLERANCE = 1e-2


def text(number):
    product = PRODUCTS[number * 7 % 4]
    return (f"please send {number} {product}s", f"where is the {product} of order {number}")[number % 2]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def bantam(options, *arguments):
    finished = subprocess.run([options.bantam, *map(str, arguments)], cwd=options.work, capture_output=True, text=True)
    if finished.returncode:
        sys.exit(finished.stderr)
    return finished.stdout


def train_and_export(options):
    """Trains base and adapter, exports the adapter, and returns Bantam's answers."""
    work, numbers = options.work, range(240)
    product = lambda number: PRODUCTS[number * 7 % 4]
    write(work / "base.jsonl", [{"text": text(n), "answer": f"{product(n)} {n}"} for n in numbers])
    write(work / "rows.jsonl", [{"text": text(n), "answer": f"It is the {product(n)}, number {n}."} for n in numbers])
    write(work / "ask.jsonl", [{"text": text(n)} for n in range(500, 520)])
    train = ["student", "train", "--kind", "decoder", "--instructions", INSTRUCTIONS]
    bantam(options, *train, "--data", "base.jsonl", "--size", "100k", "--epochs", 4, "--rate", 0.004,
           "--out", "base.student")
    bantam(options, *train, "--data", "rows.jsonl", "--base", "base.student/model.gguf", "--epochs", 8,
           "--rate", 0.01, "--out", "tuned.student")
    for form in ("peft", "gguf", "merged"):
        bantam(options, "train", "export", "tuned.student", "--to", form, "--out", form)
    lines = bantam(options, "student", "predict", "--student", "tuned.student", "--input", "ask.jsonl")
    return [json.loads(line)["answer"] for line in lines.splitlines()]


class Llama:
    """A model in llama.cpp."""

    def __init__(self, model, lora=None):
        lora = lora and str(lora)
        self.model = llama_cpp.Llama(str(model), lora_path=lora, n_ctx=512, logits_all=True, verbose=False)
        self.end = self.model.token_eos()

    def prompt(self, question):
        """Returns the tokens of a question, rendered with the model's own template."""
        messages = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": question}]
        template = jinja2.Template(self.model.metadata["tokenizer.chat_template"])
        rendered = template.render(messages=messages, add_generation_prompt=True, bos_token="", eos_token="")
        return self.model.tokenize(rendered.encode(), add_bos=False, special=True)

    def logits(self, tokens):
        self.model.reset()
        self.model.eval(tokens)
        return np.array(self.model.scores[: len(tokens)])

    def answer(self, tokens):
        """Returns the tokens and the text of the greedy answer."""
        answer_tokens = []
        while len(answer_tokens) < TOKENS_MAX:
            token = int(self.logits(tokens + answer_tokens)[-1].argmax())
            if token == self.end:
                break
            answer_tokens.append(token)
        return answer_tokens, self.model.detokenize(answer_tokens).decode()


def peft_logits(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


def greedy(model, tokens, end):
    answer_tokens = []
    while len(answer_tokens) < TOKENS_MAX:
        token = int(peft_logits(model, tokens + answer_tokens)[-1].argmax())
        if token == end:
            break
        answer_tokens.append(token)
    return answer_tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bantam", type=pathlib.Path, default="target/release/bantam")
    parser.add_argument("--work", type=pathlib.Path)
    options = parser.parse_args()
    options.bantam = options.bantam.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        options.work = options.work or pathlib.Path(scratch)
        options.work.mkdir(parents=True, exist_ok=True)
        expected = train_and_export(options)
        base = options.work / "base.student" / "model.gguf"
        adapted = Llama(base, options.work / "gguf" / "adapter.gguf")
        merged = Llama(options.work / "merged" / "model.gguf")
        source = {"gguf_file": base.name, "dtype": torch.float32}
        load = lambda: AutoModelForCausalLM.from_pretrained(base.parent, **source).eval()
        plain = load()
        tuned = PeftModel.from_pretrained(load(), options.work / "peft").eval()
        same = {"llama.cpp, adapter": 0, "llama.cpp, merged": 0, "peft": 0}
        worst, least_change = 0.0, float("inf")
        for number, answer in zip(range(500, 520), expected, strict=True):
            prompt = adapted.prompt(text(number))
            answer_tokens, answer_text = adapted.answer(prompt)
            same["llama.cpp, adapter"] += answer_text == answer
            same["llama.cpp, merged"] += merged.answer(prompt)[1] == answer
            same["peft"] += greedy(tuned, prompt, adapted.end) == answer_tokens and answer_text == answer
            whole = prompt + answer_tokens
            llama_logits = adapted.logits(whole)
            largest = np.abs(llama_logits).max()
            worst = max(worst, np.abs(llama_logits - peft_logits(tuned, whole)).max() / largest)
            least_change = min(least_change, np.abs(llama_logits - peft_logits(plain, whole)).max() / largest)
    print(f"answers equal to Bantam's, of {len(expected)}:", ", ".join(f"{name} {count}" for name, count in same.items()))
    print(f"PEFT's logits differ from llama.cpp's by at most {worst:.1e} of the largest; the base's by {least_change:.1e}")
    if min(same.values()) < len(expected) or worst > TOLERANCE or least_change < 10 * TOLERANCE:
        sys.exit("an export does not reproduce the trainer's answers")


if __name__ == "__main__":
    main()
