#!/usr/bin/env python3
"""Trains a tagger on four fifths of some receipts and measures the fields it finds on the fifth that was held out.

Needs:   nothing but Python
Usage:   python3 scripts/compare_receipts.py DATA.jsonl[.gz] [--bantam target/release/bantam] [--base FOLDER]
             [--train-option=--epochs --train-option=4] [--seed 7] [--keep FOLDER] [--json]

Rows are {"text", "fields": {name: value}}: the lines that were read from a receipt, and what it says. A field was
typed by a person, so its spaces are not those of the text and a few letters differ. Rows to learn from say where each field
stands: at every place that reads the same but for spaces, case and line ends, or at the one that is most alike where
none does. Fields without such a place are not learnt, but are asked for.

A field is right when it is what the person typed, but for spaces, line ends and case, with nothing else changed. Of
several values found for a field the surest counts, and one that is found at several places is surer for it, as in a
task's answers. `There to be copied` is the share of the fields that stand in the
text in that sense: nothing that copies can do better. Intervals are Wilson's at 95 %.
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

ALIKE = 0.85


def squeezed(text):
    """Returns a text without spaces in lower case, and where each of its characters stood."""
    kept = [(small, at) for at, letter in enumerate(text) if not letter.isspace() for small in letter.lower()]
    return "".join(small for small, _ in kept), [at for _, at in kept]


def places(text, value):
    """Returns where a value stands in a text: ranges of characters."""
    (small, at), (wanted, _) = squeezed(text), squeezed(value)
    found, start = [], small.find(wanted)
    while wanted and start >= 0:
        end = start + len(wanted)
        joins = lambda left, right: left >= 0 and right < len(text) and right == left + 1 and (
            text[left].isalnum() and text[right].isalnum())
        if not joins(at[start] - 1, at[start]) and not joins(at[end - 1], at[end - 1] + 1):
            found.append((at[start], at[end - 1] + 1))
        start = small.find(wanted, start + 1)
    return found


def alike(text, value):
    """Returns the run of lines that is most like a value, if it is much like it."""
    lines, start = [], 0
    for line in text.split("\n"):
        lines.append((start, start + len(line)))
        start += len(line) + 1
    wanted, best = squeezed(value)[0], (ALIKE, None)
    for first in range(len(lines)):
        for last in range(first, min(first + 6, len(lines))):
            run = (lines[first][0], lines[last][1])
            likeness = difflib.SequenceMatcher(None, squeezed(text[slice(*run)])[0], wanted, False).ratio()
            best = max(best, (likeness, run), key=lambda pair: pair[0])
    return best[1]


def with_slots(row):
    """Returns a row to learn from."""
    text, slots = row["text"], {}
    for name, value in row["fields"].items():
        found = places(text, value)
        if not found and len(value) > 12:
            found = [run for run in [alike(text, value)] if run]
        slots[name] = [
            {"value": text[start:end], "start": len(text[:start].encode())} for start, end in found
        ]
    return {"text": text, "slots": {name: values for name, values in slots.items() if values}}


def measure(rows, answers):
    """Returns, for each field and for all of them, how many are right, asked for, and there to be copied."""
    counts = {}
    for row, answer in zip(rows, answers):
        for name, value in row["fields"].items():
            doubts = {}
            for field in answer["fields"]:
                if field["name"] == name:
                    read = squeezed(field["value"])[0]
                    doubts[read] = doubts.get(read, 1.0) * (1.0 - field["confidence"])
            wanted = squeezed(value)[0]
            right = min(doubts, key=doubts.get, default=None) == wanted
            for part in (name, "all"):
                count = counts.setdefault(part, [0, 0, 0])
                count[0] += right
                count[1] += 1
                count[2] += wanted in squeezed(row["text"])[0]
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
        asked = subprocess.run(predict, check=True, capture_output=True, text=True)
    counts = measure(test, [json.loads(line) for line in asked.stdout.splitlines()])
    if options.json:
        print(json.dumps({"rows": len(train), "held_out_rows": len(test), "seconds": seconds, "counts": counts}))
        return
    print(f"{len(train)} receipts learnt in {seconds:.0f} s, {len(test)} held out, seed {options.seed}")
    print("| field | right | interval | there to be copied |\n|---|---|---|---|")
    for name, (right, count, there) in counts.items():
        low, high = wilson(right, count)
        print(f"| {name} | {right / count:.1%} | {low:.1%} to {high:.1%} | {there / count:.1%} |")


if __name__ == "__main__":
    main()
