#!/usr/bin/env python3
"""Trains a tagger on four fifths of some receipts and measures the fields it extracts from the held-out fifth.

Needs:   only Python
Usage:   python3 scripts/compare_receipts.py DATA.jsonl[.gz] [--bantam target/release/bantam] [--base FOLDER]
             [--train-option=--epochs --train-option=4] [--seed 7] [--keep FOLDER] [--json]

Rows are {"text", "fields": {name: value}}: the text recognised on a receipt, and its fields. People typed the fields, so
their spaces differ from the text's, and so do a few letters. For training, each field is located in the text: at every
occurrence that is equal apart from spaces, case and line breaks, or otherwise at the most similar lines. Fields that cannot
be located are not trained on, but they are evaluated.

A field is correct if it equals the typed value, ignoring spaces, line breaks and case. If a field has several values, the
most confident one counts; finding a value several times raises its confidence, as in a task's answers. `Copyable` is the
share of the fields that occur in the text in this sense, which is the upper bound for any method that copies. Intervals are
95 % Wilson intervals.
"""

import argparse
import difflib
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from compare_linear import wilson
from compare_tagger import read_rows, split, write_rows

SIMILARITY_MIN = 0.85


def squeezed(text):
    """Returns a text in lower case and without spaces, and the original index of each of its characters."""
    kept = [(small, at) for at, letter in enumerate(text) if not letter.isspace() for small in letter.lower()]
    return "".join(small for small, _ in kept), [at for _, at in kept]


def occurrences(text, value):
    """Returns the character ranges at which a value occurs in a text."""
    (small, at), (target, _) = squeezed(text), squeezed(value)
    found, start = [], small.find(target)
    while target and start >= 0:
        end = start + len(target)
        joins = lambda left, right: left >= 0 and right < len(text) and right == left + 1 and (
            text[left].isalnum() and text[right].isalnum())
        if not joins(at[start] - 1, at[start]) and not joins(at[end - 1], at[end - 1] + 1):
            found.append((at[start], at[end - 1] + 1))
        start = small.find(target, start + 1)
    return found


def most_similar(text, value):
    """Returns the range of consecutive lines that is most similar to a value, or None if none is similar enough."""
    lines, start = [], 0
    for line in text.split("\n"):
        lines.append((start, start + len(line)))
        start += len(line) + 1
    target, best = squeezed(value)[0], (SIMILARITY_MIN, None)
    for first in range(len(lines)):
        for last in range(first, min(first + 6, len(lines))):
            run = (lines[first][0], lines[last][1])
            similarity = difflib.SequenceMatcher(None, squeezed(text[slice(*run)])[0], target, False).ratio()
            best = max(best, (similarity, run), key=lambda pair: pair[0])
    return best[1]


def with_slots(row):
    """Returns a training row."""
    text, slots = row["text"], {}
    for name, value in row["fields"].items():
        found = occurrences(text, value)
        if not found and len(value) > 12:
            found = [run for run in [most_similar(text, value)] if run]
        slots[name] = [
            {"value": text[start:end], "start": len(text[:start].encode())} for start, end in found
        ]
    return {"text": text, "slots": {name: values for name, values in slots.items() if values}}


def measure(rows, answers):
    """Returns, for each field and for all together, how many are correct, evaluated and copyable."""
    counts = {}
    for row, answer in zip(rows, answers):
        for name, value in row["fields"].items():
            doubts = {}
            for field in answer["fields"]:
                if field["name"] == name:
                    read = squeezed(field["value"])[0]
                    doubts[read] = doubts.get(read, 1.0) * (1.0 - field["confidence"])
            target = squeezed(value)[0]
            right = min(doubts, key=doubts.get, default=None) == target
            for part in (name, "all"):
                count = counts.setdefault(part, [0, 0, 0])
                count[0] += right
                count[1] += 1
                count[2] += target in squeezed(row["text"])[0]
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--bantam", default="target/release/bantam")
    parser.add_argument("--base")
    parser.add_argument("--train-option", action="append", default=[])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    train, test = split(read_rows(options.data), 0.2, options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or pathlib.Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder / "train.jsonl", [with_slots(row) for row in train])
        write_rows(folder / "test.jsonl", [{"text": row["text"]} for row in test])
        student = folder / "receipts.student"
        command = [options.bantam, "student", "train", "--kind", "tagger", "--data", folder / "train.jsonl",
                   "--out", student, "--seed", str(options.seed), *options.train_option]
        started = time.monotonic()
        subprocess.run(command + (["--base", options.base] if options.base else []), check=True,
                       stdout=sys.stderr)
        seconds = time.monotonic() - started
        predict = [options.bantam, "student", "predict", "--student", student, "--input", folder / "test.jsonl"]
        predicted = subprocess.run(predict, check=True, capture_output=True, text=True)
    counts = measure(test, [json.loads(line) for line in predicted.stdout.splitlines()])
    if options.json:
        print(json.dumps({"rows": len(train), "held_out_rows": len(test), "seconds": seconds, "counts": counts}))
        return
    print(f"{len(train)} receipts trained on in {seconds:.0f} s, {len(test)} held out, seed {options.seed}")
    print("| field | correct | interval | copyable |\n|---|---|---|---|")
    for name, (right, count, copyable) in counts.items():
        low, high = wilson(right, count)
        print(f"| {name} | {right / count:.1%} | {low:.1%} to {high:.1%} | {copyable / count:.1%} |")


if __name__ == "__main__":
    main()
