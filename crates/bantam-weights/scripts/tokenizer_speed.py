"""Alternates PyPI `tokenizers` and our example on one text and prints the median times of each.

    pip install tokenizers==0.23.3
    cargo build --release -p bantam-weights --example tokenizer_speed
    python tokenizer_speed.py TARGET/release/examples/tokenizer_speed FOLDER TEXT
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from tokenizers import Tokenizer

ROUNDS, RUNS = 3, 301


def main(program, folder, text_path):
    text = Path(text_path).read_text(encoding="utf-8")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        print(f"tokenizers: open: {(time.perf_counter() - started) * 1e3:.1f} ms")
        tokenizer.encode_special_tokens = True
        kilobyte = text.encode()[:1024].decode(errors="ignore")
        cuts = (text[:end] for end in range(len(text)))
        sixty = next(cut for cut in cuts if len(tokenizer.encode(cut, add_special_tokens=False)) >= 60)
        for what, part in [("1 KB", kilobyte), ("60 tokens", sixty), ("all", text)]:
            times = []
            for _ in range(RUNS if len(part) < 5000 else 21):
                started = time.perf_counter()
                ids = tokenizer.encode(part, add_special_tokens=False)
                times.append((time.perf_counter() - started) * 1e6)
            print(f"tokenizers: {what}: {median(times):.1f} us (least {min(times):.1f}), {len(ids)} ids")
        ours = subprocess.run([program, folder, text_path], capture_output=True, text=True, check=True).stdout
        print("\n".join("ours: " + line for line in ours.splitlines()))


if __name__ == "__main__":
    main(*sys.argv[1:])
