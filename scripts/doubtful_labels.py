#!/usr/bin/env python3
"""Finds rows for which several students agree on a label other than the given one.

Needs:   only Python
Usage:   python3 scripts/doubtful_labels.py ROWS.jsonl[.gz] STUDENT STUDENT [STUDENT ...]
             [--bantam target/release/bantam] [--base FOLDER] [--limit 20] [--json]

ROWS holds {"text", "label"} lines that no student was trained on. Every student labels them (`bantam student predict`). A
row is doubtful if all students give the same label and the row has another one. Different students (linear, on an encoder,
tuned, with another seed) make different errors, so if all agree, the row's label may be wrong; a person has to decide.
Prints how many errors the first student makes, how many of them are doubtful rows, how many of its most confident errors
(at most one hundredth of the rows) are, and the doubtful rows, most confident first.
"""

import argparse
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile


def read_rows(path):
    """Returns the rows of a JSONL file, compressed or plain."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def predict(student, rows, args):
    """Returns a student's label and probability for every row."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "texts.jsonl"
        path.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows), encoding="utf-8")
        command = [args.bantam, "student", "predict", "--student", student, "--input", path]
        base = ["--base", args.base] if args.base else []
        finished = subprocess.run(command + base, capture_output=True, text=True)
    if finished.returncode != 0:
        sys.exit(f"{student}: exit {finished.returncode}\n{finished.stderr}")
    answers = [json.loads(line) for line in finished.stdout.splitlines()]
    return [(answer["label"], answer["probability"]) for answer in answers]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=pathlib.Path)
    parser.add_argument("students", nargs="+")
    parser.add_argument("--bantam", default="target/release/bantam")
    parser.add_argument("--base")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if len(args.students) < 2:
        parser.error("name at least two students: a single one always agrees with itself")
    rows = read_rows(args.rows)
    answers = [predict(student, rows, args) for student in args.students]
    first = answers[0]
    wrong = [at for at, row in enumerate(rows) if first[at][0] != row["label"]]
    wrong.sort(key=lambda at: -first[at][1])
    doubtful = [at for at in wrong if all(answer[at][0] == first[at][0] for answer in answers)]
    most_confident = wrong[: round(0.01 * len(rows))]
    result = {
        "rows": len(rows), "errors": len(wrong), "doubtful": len(doubtful),
        "confident_errors": len(most_confident), "confident_doubtful": len(set(most_confident) & set(doubtful)),
    }
    if args.json:
        print(json.dumps(result))
        return
    print(f"{len(rows)} rows, {len(wrong)} errors by {args.students[0]}; all {len(answers)} students agree on "
          f"{len(doubtful)} of them, and on {result['confident_doubtful']} of its {len(most_confident)} most confident")
    for at in doubtful[: args.limit]:
        print(f"{first[at][1]:.3f}  {rows[at]['label']}  ->  {first[at][0]}  |  {rows[at]['text'][:120]}")


if __name__ == "__main__":
    main()
