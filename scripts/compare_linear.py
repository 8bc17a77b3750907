#!/usr/bin/env python3
"""Compares a Bantam student with a scikit-learn linear classifier on one held-out split.

Needs:   pip install scikit-learn numpy scipy
Usage:   python3 scripts/compare_linear.py DATA.jsonl[.gz] [DATA2.jsonl.gz ...]
             [--bantam "target/release/bantam student"] [--c 10 30] [--char char] [--min-df 1]
             [--base FOLDER] [--skip sklearn]

With --base the student is an encoder student on the base in that folder, otherwise a linear one.

Each file holds rows {"text", "label"} ("intent" if "label" is absent). A fifth of every label, chosen by seed 7, is held
out; both sides train on the rest. scikit-learn gets a FeatureUnion of two TfidfVectorizers (words 1-2, characters 2-5,
sublinear) and LogisticRegression at every --c. The difference is to its best result on the held-out rows, so the comparison
favours scikit-learn. With --test FILE both sides train on all rows and are tested on those of FILE. If some rows are
labelled "oos", the script also prints the share of them that score below the threshold that 95 % of the others reach.
Intervals are Wilson's.
"""

import argparse
import gzip
import json
import math
import pathlib
import random
import shlex
import subprocess
import sys
import tempfile
import time


def read_rows(path):
    """Returns [(text, label)] of a JSONL file, compressed or plain."""
    opener = gzip.open if path.suffix == ".gz" else open
    rows = []
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            rows.append((row["text"], row.get("label", row.get("intent"))))
    return rows


def split(rows, share, seed):
    """Holds out `share` of every label; both parts keep the file's order."""
    by_label = {}
    for position, (_, label) in enumerate(rows):
        by_label.setdefault(label, []).append(position)
    held = set()
    for label in sorted(by_label):
        positions = by_label[label]
        random.Random(f"{seed}:{label}").shuffle(positions)
        held.update(positions[: max(1, round(len(positions) * share))])
    train = [row for position, row in enumerate(rows) if position not in held]
    test = [row for position, row in enumerate(rows) if position in held]
    return train, test


def write_rows(path, rows):
    """Writes rows in the trainer's format."""
    with open(path, "w", encoding="utf-8") as out:
        for text, label in rows:
            out.write(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")


def score(gold, labels, confidences):
    """Returns accuracy, expected calibration error over 15 bins, and the share of rows accepted at 2 % error."""
    right = [a == b for a, b in zip(gold, labels)]
    bins = {}
    for ok, confidence in zip(right, confidences):
        total = bins.setdefault(min(14, int(confidence * 15)), [0, 0, 0.0])
        total[0] += 1
        total[1] += ok
        total[2] += confidence
    ece = sum(abs(b[1] - b[2]) for b in bins.values()) / len(gold)
    accepted = wrong = 0
    order = sorted(range(len(gold)), key=lambda i: -confidences[i])
    for seen, i in enumerate(order, 1):
        wrong += not right[i]
        if wrong <= 0.02 * seen:
            accepted = seen
    in_scope = [ok for ok, label in zip(right, gold) if label != "oos"]
    result = {
        "accuracy": sum(right) / len(gold), "ece": ece, "accepted": accepted / len(gold),
        "in_scope": sum(in_scope) / len(in_scope), "interval": wilson(sum(in_scope), len(in_scope)),
    }
    if len(in_scope) < len(gold):
        # An upper bound on the probability that a row is in scope.
        scope = [1 - share if label == "oos" else share for label, share in zip(labels, confidences)]
        kept = sorted(share for share, label in zip(scope, gold) if label != "oos")
        least = kept[round(0.05 * len(kept))]
        caught = [share < least for share, label in zip(scope, gold) if label == "oos"]
        result["oos_recall"] = sum(caught) / len(caught)
        result["oos_interval"] = wilson(sum(caught), len(caught))
    return result


def wilson(right, count):
    """Returns the 95 % Wilson interval of a share."""
    share, z = right / count, 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return middle - spread, middle + spread


def run_bantam(command, train, test, folder, kind, extra):
    """Trains and predicts through the command line, as users do."""
    train_path, test_path, student = folder / "train.jsonl", folder / "test.jsonl", folder / "student.bin"
    write_rows(train_path, train)
    write_rows(test_path, test)
    started = time.monotonic()
    subprocess.run(
        command + ["train", "--kind", kind, "--data", str(train_path), "--out", str(student)] + extra,
        check=True, stdout=subprocess.DEVNULL,
    )
    seconds = time.monotonic() - started
    out = subprocess.run(
        command + ["predict", "--student", str(student), "--input", str(test_path)],
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    if len(lines) != len(test):
        sys.exit(f"predict printed {len(lines)} answers for {len(test)} rows")
    result = score([label for _, label in test], [p["label"] for p in lines], [p["probability"] for p in lines])
    return result | {"seconds": seconds, "bytes": student.stat().st_size}


def run_sklearn(train, test, c, char, min_df):
    """Trains and tests scikit-learn's classifier at one C."""
    try:
        import numpy as np
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import FeatureUnion
    except ImportError:
        sys.exit("scikit-learn is missing: pip install scikit-learn numpy scipy")
    started = time.monotonic()
    shared = {"sublinear_tf": True, "min_df": min_df, "dtype": np.float32}
    union = FeatureUnion([
        ("word", TfidfVectorizer(ngram_range=(1, 2), **shared)),
        ("char", TfidfVectorizer(analyzer=char, ngram_range=(2, 5), **shared)),
    ])
    features = union.fit_transform([text for text, _ in train])
    model = LogisticRegression(C=c, max_iter=300)
    model.fit(features, [label for _, label in train])
    seconds = time.monotonic() - started
    probabilities = model.predict_proba(union.transform([text for text, _ in test]))
    labels = model.classes_[probabilities.argmax(axis=1)]
    result = score([label for _, label in test], list(labels), [float(p) for p in probabilities.max(axis=1)])
    return result | {"seconds": seconds, "c": c, "features": features.shape[1]}


def show(name, result):
    """Prints one line of figures."""
    rest = "  ".join(f"{key} {result[key]}" for key in ("c", "features", "bytes") if key in result)
    low, high = result["interval"]
    print(f"  {name:<13} accuracy {100 * result['accuracy']:6.2f} %, in scope {100 * result['in_scope']:6.2f} % "
          f"({100 * low:.1f}-{100 * high:.1f})  ECE {result['ece']:.4f}  "
          f"accepted at 2 % error {100 * result['accepted']:5.1f} %  {result['seconds']:6.1f} s  {rest}", flush=True)
    if "oos_recall" in result:
        low, high = result["oos_interval"]
        print(f"  {name:<13} out-of-scope rows rejected when 95 % of the others are kept: {100 * result['oos_recall']:.1f} % "
              f"({100 * low:.1f}-{100 * high:.1f})", flush=True)


def main():
    """Reads the arguments and prints both sides' figures for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=pathlib.Path)
    parser.add_argument("--bantam", default="target/release/bantam student", help="the command before `train` and `predict`")
    parser.add_argument("--base", help="the folder of a base encoder: train an encoder student on it")
    parser.add_argument("--train-option", action="append", default=[], help="passed to `train`; may be repeated")
    parser.add_argument("--c", nargs="*", type=float, default=[10.0, 30.0], help="scikit-learn's C values")
    parser.add_argument("--char", default="char", choices=["char", "char_wb"])
    parser.add_argument("--min-df", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--test", type=pathlib.Path, help="test rows, instead of a part of DATA")
    parser.add_argument("--skip", choices=["sklearn", "bantam"], help="skip this side")
    parser.add_argument("--keep", type=pathlib.Path, help="write the split's two files here and keep them")
    arguments = parser.parse_args()
    for path in arguments.data:
        train, test = split(read_rows(path), arguments.share, arguments.seed)
        if arguments.test:
            train, test = read_rows(path), read_rows(arguments.test)
        print(f"{path}: {len(train)} train, {len(test)} held out, {len({label for _, label in train})} labels", flush=True)
        ours = best = None
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.keep or pathlib.Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            if arguments.skip != "bantam":
                extra = [part for option in arguments.train_option for part in shlex.split(option)]
                kind = "linear"
                if arguments.base:
                    kind, extra = "encoder", ["--base", arguments.base] + extra
                ours = run_bantam(shlex.split(arguments.bantam), train, test, folder, kind, extra)
                show("bantam", ours)
            elif arguments.keep:
                write_rows(folder / "train.jsonl", train)
                write_rows(folder / "test.jsonl", test)
        if arguments.skip != "sklearn":
            for c in arguments.c:
                result = run_sklearn(train, test, c, arguments.char, arguments.min_df)
                show("scikit-learn", result)
                if best is None or result["accuracy"] > best["accuracy"]:
                    best = result
        if ours and best:
            print(f"  difference    {100 * (ours['accuracy'] - best['accuracy']):+.2f} points", flush=True)


if __name__ == "__main__":
    main()
