#!/usr/bin/env python3
"""Finds rows whose label several students agree is another one.

Needs:   nothing but Python
Usage:   python3 scripts/doubtful_labels.py ROWS.jsonl[.gz] STUDENT STUDENT [STUDENT ...]
             [--bantam target/release/bantam] [--base FOLDER] [--limit 20] [--json]

ROWS holds {"text", "label"} lines that no student has learnt from. Every student is asked (`bantam student predict`). A
row is doubtful when all of them give the same label and the row has another. Students of different kinds (linear, over an
encoder, tuned, of another seed) err in different ways, so where all agree the label may be the error; whether it is, a
person decides. Prints how many errors the first student makes, how many of these are doubtful rows, how many of its
surest errors are (as many as a hundredth of the rows), and the doubtful rows, the surest first.
"""

import argparse
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile


def read_rows(path):
    """Returns the rows of a JSONL file, packed or plain."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def ask(student, rows, args):
    """Returns a student's label and probability for every row."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "texts.jsonl"
        path.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows), encoding="utf-8")
        command = [args.bantam, "student", "predict", "--student", student, "--input", path]
        base = ["--base", args.base] if args.base else []
        done = subprocess.run(command + base, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{student}: exit {done.returncode}\n{done.stderr}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
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
        parser.error("name at least two students: one alone agrees with itself")
    rows = read_rows(args.rows)
    answers = [ask(student, rows, args) for student in args.students]
    first = answers[0]
    wrong = [at for at, row in enumerate(rows) if first[at][0] != row["label"]]
    wrong.sort(key=lambda at: -first[at][1])
    doubtful = [at for at in wrong if all(answer[at][0] == first[at][0] for answer in answers)]
    surest = wrong[: round(0.01 * len(rows))]
    result = {
        "rows": len(rows), "errors": len(wrong), "doubtful": len(doubtful),
        "surest_errors": len(surest), "surest_doubtful": len(set(surest) & set(doubtful)),
    }
    if args.json:
        print(json.dumps(result))
        return
    print(f"{len(rows)} rows, {len(wrong)} errors of {args.students[0]}: in {len(doubtful)} all {len(answers)} students "
          f"agree, and in {result['surest_doubtful']} of its {len(surest)} surest")
    for at in doubtful[: args.limit]:
        print(f"{first[at][1]:.3f}  {rows[at]['label']}  ->  {first[at][0]}  |  {rows[at]['text'][:120]}")


if __name__ == "__main__":
    main()
