"""Writes src/wordpiece/unicode.txt: how BERT's normalizer and pre-tokenizer treat each code point.

The table queries PyPI `tokenizers` (0.23.3) for every code point, so it has the Unicode
version that encoders were trained with, independent of this workspace's dependencies.

    pip install tokenizers==0.23.3
    python unicode_tables.py ../src/wordpiece/unicode.txt
"""

import sys
import unicodedata

from tokenizers import normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)


def bert(clean=False, chinese=False, strip=False, lower=False):
    return normalizers.BertNormalizer(clean, chinese, strip, lower).normalize_str


def ranges(code_points):
    found = []
    for c in code_points:
        if found and (found[-1][1] == c - 1 or (found[-1][1] == 0xD7FF and c == 0xE000)):
            found[-1][1] = c
        else:
            found.append([c, c])
    return [f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in found]


def combining_classes():
    """Canonical combining classes, found by where NFD sorts a character relative to one of known class."""
    probes = {}
    for c in range(0x300, 0x1000):
        probes.setdefault(unicodedata.combining(chr(c)), chr(c))
    del probes[0]
    nfd = normalizers.NFD().normalize_str
    classes = {}
    for c in CODE_POINTS:
        s = chr(c)
        if nfd("a\u0345" + s) == "a\u0345" + s and c != 0x345 or nfd(s) != s:
            continue
        below = [v for v in probes if not (nfd("a" + probes[v] + s) == "a" + s + probes[v] and probes[v] != s)]
        classes[c] = max(below)
    return classes


def main(path):
    pre = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    clean, chinese, strip, lower = bert(clean=True), bert(chinese=True), bert(strip=True), bert(lower=True)
    removed = [c for c in CODE_POINTS if clean(chr(c)) == ""]
    cjk = [c for c in CODE_POINTS if chinese(chr(c)) != chr(c)]
    assert all(chinese(chr(c)) == f" {chr(c)} " for c in cjk)
    pieces = {c: len(pre("a" + chr(c) + "a")) for c in CODE_POINTS}
    space = [c for c in CODE_POINTS if pieces[c] == 2]
    assert {c for c in CODE_POINTS if clean(chr(c)) == " "} == set(space) - set(removed)
    punctuation = [c for c in CODE_POINTS if pieces[c] == 3]
    mark = [c for c in CODE_POINTS if strip(chr(c)) == ""]
    classes = combining_classes()
    # The name of a class, then its code points, 16 ranges per line.
    lines = [
        "# Written by scripts/unicode_tables.py from PyPI tokenizers 0.23.3; do not edit.",
        "# Derived from the Unicode Character Database, (c) Unicode, Inc., under the Unicode License V3.",
    ]
    sections = {
        "removed": removed,
        "space": space,
        "cjk": cjk,
        "punctuation": punctuation,
        "mark": mark,
        "starter": [c for c in mark if ord(normalizers.NFD().normalize_str(chr(c))[0]) not in classes],
    }
    for value in sorted({v for c, v in classes.items() if c not in mark}):
        sections[f"combining {value}"] = [c for c in classes if c not in mark and classes[c] == value]
    for name, code_points in sections.items():
        lines.append(f"@{name}")
        listed = ranges(code_points)
        lines += [" ".join(listed[i : i + 16]) for i in range(0, len(listed), 16)]
    for name, function in {"stripped": strip, "lower": lower}.items():
        lines.append(f"@{name}")
        for c in CODE_POINTS:
            s = function(chr(c))
            if s not in (chr(c), "") and c not in HANGUL:
                lines.append(f"{c:x} " + " ".join(f"{ord(x):x}" for x in s))
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
