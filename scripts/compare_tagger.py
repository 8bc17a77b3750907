#!/usr/bin/env python3
"""Trains a tagger on four fifths of some rows and measures it on the held-out fifth.

Needs:   only Python
Usage:   python3 scripts/compare_tagger.py DATA.jsonl[.gz] [DATA2.jsonl.gz ...]
             [--bantam target/release/bantam] [--base FOLDER] [--train-option=--epochs --train-option=4]
             [--student FILE] [--rows 2000] [--seed 7] [--certify 0.02 --certify 0.05] [--keep FOLDER] [--json]

Each file holds rows {"text", "slots": {name: [values]}}, optionally with "context" or "requested". A fifth of the rows,
chosen by the seed, is held out; `bantam student train --kind tagger` trains on the rest, and `bantam student predict`
answers the held-out fifth. With --base the tagger uses the encoder in that folder, otherwise none. With --student nothing
is trained: the given file must have been trained on the same split.

A value is correct if its slot and its words are. Positions are not compared, because the rows have none, and case is
ignored. The interval of F1 is the middle 95 % of a thousand bootstrap samples of the held-out rows. Exact match is the share
of rows whose values are all correct and complete. Accepted at 2 % error is the largest share of rows, most confident first,
of which at most 2 % are not an exact match.

With --certify, `bantam certify` also proves a threshold on the held-out rows, including their contexts, once for each given
error rate, with 95 % confidence. It leaves out rows whose text occurs in the training rows in any context, so fewer rows
remain, and harder ones if short texts repeat. Answers are `{slot: [values]}`, as served.
"""

import argparse
import collections
import gzip
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

RESAMPLINGS = 1000


def read_rows(path):
    """Returns the rows of a JSONL file, compressed or plain."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def split(rows, share, seed):
    """Holds out `share` of the rows; both parts keep the file's order."""
    positions = list(range(len(rows)))
    random.Random(seed).shuffle(positions)
    held = set(positions[: max(1, round(len(rows) * share))])
    train = [row for position, row in enumerate(rows) if position not in held]
    test = [row for position, row in enumerate(rows) if position in held]
    return train, test


def write_rows(path, rows):
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def flat(slots):
    """Returns how often each (slot, value) occurs."""
    counts = collections.Counter()
    for slot, values in slots.items():
        for value in [values] if isinstance(values, str) else values or []:
            if value.strip():
                counts[slot, value.strip().lower()] += 1
    return counts


def f1(rows):
    """Returns the F1 of rows of (correct, found, expected)."""
    right, found, expected = (sum(row[part] for row in rows) for part in range(3))
    return 2 * right / max(1, found + expected)


def confidence(answer):
    """Returns the confidence of a whole answer; if it has none, the lowest confidence of its values."""
    least = min((field["confidence"] for field in answer["fields"]), default=0.0)
    return answer.get("confidence", least)


def accepted(exact, confidences, error=0.02):
    """Returns the largest share of rows, most confident first, of which at most `error` are wrong."""
    best = wrong = 0
    for seen, at in enumerate(sorted(range(len(exact)), key=lambda at: -confidences[at]), 1):
        wrong += not exact[at]
        if wrong <= error * seen:
            best = seen
    return best / len(exact)


def auc(exact, confidences):
    """Returns the probability that a correct row is more confident than a wrong one; ties count half."""
    ranks, order, at = [0.0] * len(exact), sorted(range(len(exact)), key=lambda at: confidences[at]), 0
    while at < len(order):
        end = at
        while end < len(order) and confidences[order[end]] == confidences[order[at]]:
            end += 1
        for position in range(at, end):
            ranks[order[position]] = (at + end + 1) / 2
        at = end
    right, wrong = sum(exact), len(exact) - sum(exact)
    total = sum(rank for rank, ok in zip(ranks, exact) if ok)
    return (total - right * (right + 1) / 2) / (right * wrong) if right and wrong else float("nan")


def measure(rows, answers, seed):
    """Returns the metrics of the answers to held-out rows."""
    counts, exact, by_slot = [], [], collections.defaultdict(lambda: [0, 0, 0])
    for row, answer in zip(rows, answers):
        expected, found = flat(row["slots"]), flat(answer["slots"])
        right = expected & found
        counts.append((sum(right.values()), sum(found.values()), sum(expected.values())))
        exact.append(expected == found)
        for part, values in enumerate((right, found, expected)):
            for (slot, _), count in values.items():
                by_slot[slot][part] += count
    generator = random.Random(seed)
    resampled = sorted(f1(generator.choices(counts, k=len(counts))) for _ in range(RESAMPLINGS))
    confidences = [confidence(answer) for answer in answers]
    return {
        "held_out_rows": len(rows), "f1": f1(counts),
        "f1_low": resampled[round(0.025 * RESAMPLINGS)], "f1_high": resampled[round(0.975 * RESAMPLINGS) - 1],
        "exact_match": sum(exact) / len(exact), "accepted_at_2_percent_error": accepted(exact, confidences),
        "auc": auc(exact, confidences), "weakest": sorted((f1([c]), slot) for slot, c in by_slot.items())[:5],
    }


def run(command):
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {finished.returncode}\n{finished.stderr}")
    return finished.stdout


CONFIG = """
[ledger]
path = "ledger.sqlite"
[upstreams.nobody]
dialect = "openai"
base_url = "http://127.0.0.1:9/v1"
[models.nobody]
upstream = "nobody"
tier = "mid"
[routing]
ladder = ["nobody"]
[tasks.slots]
kind = "extract"
student = {student}
{base}
"""


def certify(test, student, args, folder):
    """Returns what `bantam certify` proves on the held-out rows at each error rate."""
    config, rows = folder / "certify.toml", folder / "evidence.jsonl"
    base = f"base = {json.dumps(str(pathlib.Path(args.base).resolve()))}" if args.base else ""
    config.write_text(CONFIG.format(student=json.dumps(str(student.resolve())), base=base), encoding="utf-8")
    write_rows(rows, test)
    results = []
    for error in args.certify:
        finished = subprocess.run(
            [args.bantam, "certify", "slots", "--error", str(error), "--data", rows, "--config", config,
             "--out", folder / f"{error}.certificate.json", "--json"], capture_output=True, text=True)
        if finished.returncode not in (0, 6):
            sys.exit(f"bantam certify: exit {finished.returncode}\n{finished.stderr}")
        proved = json.loads(finished.stdout.splitlines()[-1]) if finished.returncode == 0 else {"certified": False}
        results.append({**proved, "error_max": error, "messages": finished.stderr.strip().splitlines()})
    return results


def compare(path, args, folder):
    """Trains, predicts and measures on one file."""
    rows = read_rows(path)
    if args.rows:
        rows = random.Random(args.seed).sample(rows, min(args.rows, len(rows)))
    train, test = split(rows, 0.2, args.seed)
    train_path, test_path = folder / "train.jsonl", folder / "test.jsonl"
    write_rows(train_path, train)
    write_rows(test_path, [{key: row[key] for key in ("text", "context", "requested") if key in row} for row in test])
    base = ["--base", args.base] if args.base else []
    student, result = args.student or folder / f"{path.parent.name}.tagger", {}
    if not args.student:
        command = [args.bantam, "student", "train", "--kind", "tagger", "--data", train_path, "--out", student, "--json"]
        started = time.perf_counter()
        result["report"] = json.loads(run(command + base + args.train_option).splitlines()[-1])
        result["train_seconds"] = time.perf_counter() - started
    predict = [args.bantam, "student", "predict", "--student", student, "--input", test_path]
    answers = [json.loads(line) for line in run(predict + base).splitlines()]
    if args.certify:
        result["certified"] = certify(test, student, args, folder)
    return {"data": path.parent.name, "train_rows": len(train), **result, **measure(test, answers, args.seed)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=pathlib.Path)
    parser.add_argument("--bantam", default="target/release/bantam")
    parser.add_argument("--base")
    parser.add_argument("--student", type=pathlib.Path)
    parser.add_argument("--train-option", action="append", default=[])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--certify", action="append", type=float, default=[], help="an error rate, such as 0.02; may be repeated")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the rows and the student")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for path in args.data:
            found = compare(path, args, folder)
            if args.json:
                print(json.dumps(found))
                continue
            trained = f", {found['train_seconds']:.1f} s" if "train_seconds" in found else ""
            print(f"{found['data']}: {found['train_rows']} training rows{trained}, {found['held_out_rows']} held out")
            print(f"  F1 {100 * found['f1']:.2f} % ({100 * found['f1_low']:.2f}-{100 * found['f1_high']:.2f})"
                  f"  exact match {100 * found['exact_match']:.2f} %"
                  f"  accepted at 2 % error {100 * found['accepted_at_2_percent_error']:.1f} %"
                  f"  AUC {found['auc']:.3f}")
            for proof in found.get("certified", []):
                print("\n".join(f"  {line}" for line in proof["messages"]))
                if proof["certified"]:
                    print(f"  certified at {100 * proof['error_max']:g} % error: {proof['accepted']} of {proof['rows']}"
                          f" rows accepted ({100 * proof['coverage']:.1f} %), {proof['errors']} of these wrong")
                else:
                    print(f"  not certified at {100 * proof['error_max']:g} % error")
            weakest = ", ".join(f"{slot} {100 * score:.1f} %" for score, slot in found["weakest"])
            print(f"  weakest slots: {weakest}")


if __name__ == "__main__":
    main()
