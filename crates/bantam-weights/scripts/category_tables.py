"""Writes `src/tokenizer/categories.txt`: the class of each code point for the patterns that split text.

    pip install tokenizers==0.23.3
    python category_tables.py ../src/tokenizer/categories.txt

Queries the reference itself, so that the classes agree even if the two use different Unicode versions.
"""

import sys
from pathlib import Path

from tokenizers import Regex, normalizers

CLASSES = {
    "upper": r"\p{Lu}",
    "lower": r"\p{Ll}",
    "title": r"\p{Lt}",
    "modifier": r"\p{Lm}",
    "letter": r"\p{Lo}",
    "mark": r"\p{M}",
    "number": r"\p{N}",
    "punctuation": r"\p{P}",
    "symbol": r"\p{S}",
    "space": r"\s",
}


def ranges(codes):
    found = []
    for code in sorted(codes):
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return " ".join(f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in found)


def main(path):
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    chunks = ["".join(every[i : i + 4096]) for i in range(0, len(every), 4096)]
    lines = ["# Classes of code points in the reference's patterns; written by scripts/category_tables.py."]
    seen = set()
    for name, pattern in CLASSES.items():
        remove = normalizers.Replace(Regex(pattern), "")
        codes = {ord(c) for chunk in chunks for c in set(chunk) - set(remove.normalize_str(chunk))}
        assert not codes & seen, name
        seen |= codes
        lines += [f"@{name}", ranges(codes)]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
