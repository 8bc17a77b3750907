#!/usr/bin/env python3
"""Trains a small decoder from scratch on SNIPS (intent and slots as JSON) and tests it on a fifth held out by seed 7.

Needs:   a built bantam, and a folder of data sets with snips/train.jsonl.gz (one {"text","intent","slots"} per line)
Usage:   python3 scripts/small_decoder.py DATA WORK [--bantam target/release/bantam] [-- FLAGS OF bantam student train]

WORK keeps the rows, the student and its log; `-- --resume` continues an interrupted run. Prints exact match, slot F1, the
share accepted at 2 % error, the output of `bantam certify` on the held-out fifth, and the time.
"""

import argparse
import collections
import gzip
import json
import pathlib
import random
import subprocess
import sys
import time

INSTRUCTIONS = "Write intent and slots as JSON."
CONFIG = """
[tasks.snips]
kind = "extract"
student = "snips.student"
ladder = ["student", "above"]
[routing]
ladder = ["above"]
[upstreams.none]
dialect = "openai"
base_url = "http://127.0.0.1:9/v1"
[models.above]
upstream = "none"
tier = "frontier"
price = { input = 1.0, cached_input = 1.0, output = 1.0, as_of = "2026-11-01" }
"""


def read(data):
    """Returns rows as {"text", "answer"}, the names of the intents and those of the slots."""
    with gzip.open(data / "snips/train.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    answers = [{"text": row["text"], "answer": {"intent": row["intent"], **row["slots"]}} for row in rows]
    return answers, sorted({row["intent"] for row in rows}), sorted({name for row in rows for name in row["slots"]})


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def prepare(data, work):
    """Writes the schema, the configuration and both parts; texts that differ only in case are in the same part."""
    rows, intents, slots = read(data)
    texts = sorted({row["text"].lower() for row in rows})
    random.Random(7).shuffle(texts)
    held_out = set(texts[: len(texts) // 5])
    parts = {True: [], False: []}
    for row in rows:
        parts[row["text"].lower() in held_out].append(row)
    values = {"type": "array", "items": {"type": "string"}}
    schema = {
        "type": "object",
        "properties": {"intent": {"enum": intents}, **{name: values for name in slots}},
        "required": ["intent"],
        "additionalProperties": False,
    }
    work.mkdir(parents=True, exist_ok=True)
    (work / "schema.json").write_text(json.dumps(schema))
    (work / "bantam.toml").write_text('[ledger]\npath = "ledger.sqlite"\n' + CONFIG)
    write(work / "train.jsonl", parts[False])
    write(work / "held_out.jsonl", parts[True])
    return parts[True]


def fields(answer):
    """Counts the slots and values of an answer."""
    if not isinstance(answer, dict):
        return collections.Counter()
    pairs = ((name, value) for name, values in answer.items() if name != "intent" for value in values)
    return collections.Counter(pairs)


def evaluate(rows, found):
    """Prints the metrics of the answers."""
    right = [answer["answer"] == row["answer"] for row, answer in zip(rows, found, strict=True)]
    intents = [isinstance(a["answer"], dict) and a["answer"].get("intent") == r["answer"]["intent"]
               for r, a in zip(rows, found, strict=True)]
    hits = expected = given = 0
    for row, answer in zip(rows, found, strict=True):
        true, predicted = fields(row["answer"]), fields(answer["answer"])
        hits, expected, given = hits + (true & predicted).total(), expected + true.total(), given + predicted.total()
    order = sorted(zip((answer["confidence"] for answer in found), right), reverse=True)
    wrong = accepted = 0
    for count, (_, is_right) in enumerate(order, 1):
        wrong += not is_right
        if wrong <= 0.02 * count:
            accepted = count
    print(f"held out {len(rows)}: exact match {sum(right) / len(rows):.1%}, intent {sum(intents) / len(rows):.1%}, "
          f"slot F1 {2 * hits / max(expected + given, 1):.1%}, accepted at 2 % error {accepted / len(rows):.1%}")


def main():
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--bantam", default="target/release/bantam", type=pathlib.Path)
    args = parser.parse_args(own)
    rows, bantam = prepare(args.data, args.work), args.bantam.resolve()

    def run(*command, check=True):
        command = [bantam, *command]
        return subprocess.run(command, cwd=args.work, check=check, capture_output=True, text=True)

    started = time.monotonic()
    trained = run("student", "train", "--kind", "decoder", "--data", "train.jsonl", "--schema", "schema.json",
                  "--instructions", INSTRUCTIONS, "--out", "snips.student", "--log", "log.jsonl",
                  "--curve", "curve.svg", *flags)
    print(trained.stdout, f"trained in {time.monotonic() - started:.0f} s", sep="")
    predicted = run("student", "predict", "--student", "snips.student", "--input", "held_out.jsonl").stdout
    evaluate(rows, [json.loads(line) for line in predicted.splitlines()])
    for error in ("0.02", "0.05"):
        certified = run("--config", "bantam.toml", "certify", "snips", "--error", error, "--data", "held_out.jsonl",
                        check=False)
        print(f"certify --error {error}: {(certified.stdout or certified.stderr).strip()}")


if __name__ == "__main__":
    main()
