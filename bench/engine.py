"""Compares `bantam bench` with llama.cpp on the same models, in alternation, and prints median ratios.

    python bench/engine.py --bantam target/release/bantam --peer bench/llama/target/release/peer-llama \\
        [--rounds 5] [--times 15] [--threads 2] [--json FILE] MODEL.gguf …

The machine's speed changes from minute to minute, so each round runs both engines one after the other, in alternating order,
and compares only within the round.
"""

import argparse
import json
import statistics
import subprocess
import sys

CASES = ["prefill-512", "score-300+60", "decode-1", "decode-8", "decode-8-adapters"]


def run(command: list[str]) -> dict:
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{finished.stderr}{finished.stdout}")
    return json.loads(finished.stdout.strip().splitlines()[-1])


def measure(model: str, options: argparse.Namespace) -> list[dict]:
    threads, times = str(options.threads), str(options.times)
    sides = {
        "bantam": [options.bantam, "bench", model, "--json", "--threads", threads, "--times", times],
        "llama.cpp": [options.peer, "bench", model, threads, times],
    }
    run(sides["bantam"])  # Writes the repacked weights, so that every round starts with them.
    rounds = []
    for number in range(options.rounds):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        rounds.append({side: run(sides[side]) for side in order})
        print(f"{model}: round {number + 1} of {options.rounds}", file=sys.stderr)
    return rounds


def median(values) -> float:
    return statistics.median(values)


def table(model: str, rounds: list[dict]) -> None:
    print(f"\n{model}\n")
    print("| case | bantam p50, ms | llama.cpp p50, ms | times faster (lowest-highest) | bantam p99/p50 | llama.cpp p99/p50 |")
    print("|---|---|---|---|---|---|")
    for case in CASES:
        ours = [each["bantam"]["cases"].get(case) for each in rounds]
        theirs = [each["llama.cpp"]["cases"].get(case) for each in rounds]
        if None in ours:
            continue
        tail = median(each["p99_ms"] / each["p50_ms"] for each in ours)
        own = median(each["p50_ms"] for each in ours)
        if None in theirs:
            print(f"| {case} | {own:.2f} | - | - | {tail:.2f} | - |")
            continue
        ratios = [b["p50_ms"] / a["p50_ms"] for a, b in zip(ours, theirs)]
        other_tail = median(each["p99_ms"] / each["p50_ms"] for each in theirs)
        other = median(each["p50_ms"] for each in theirs)
        print(f"| {case} | {own:.2f} | {other:.2f} | {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) "
              f"| {tail:.2f} | {other_tail:.2f} |")
    for what in ("load_ms", "resident_mb"):
        own = median(each["bantam"][what] for each in rounds)
        other = median(each["llama.cpp"][what] for each in rounds)
        print(f"| {what} | {own:.0f} | {other:.0f} | {other / own:.2f} | | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL.gguf")
    parser.add_argument("--bantam", default="target/release/bantam")
    parser.add_argument("--peer", default="bench/llama/target/release/peer-llama")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    measured = {model: measure(model, options) for model in options.models}
    for model, rounds in measured.items():
        table(model, rounds)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(measured, file, indent=1)


if __name__ == "__main__":
    main()
