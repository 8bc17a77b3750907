"""Writes texts with their ids from PyPI `tokenizers`, to compare with our tokenizers.

    pip install tokenizers==0.23.3 sentencepiece protobuf
    python make_tokenizer_goldens.py golden ../tests/goldens/tokenizers
    python make_tokenizer_goldens.py all FOLDER TOKENIZER.JSON …

`golden` trains small tokenizers of every kind on made-up words and writes each as NAME.json with its cases in
NAME.jsonl. `all` writes 10,000 random texts for each given file, and every code point in every normal form; with
BANTAM_TOKENIZER_CASES=FOLDER the tests read them. A case has the text and its ids with control tokens treated as
text (`plain`); some also have the ids with control tokens parsed and with the surrounding tokens (`whole`).
"""

import base64
import io
import json
import random
import sys
import tempfile
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
QWEN35 = QWEN2.replace(r"\p{L}+", r"[\p{L}\p{M}]+").replace(r" ?[^\s\p{L}\p{N}]+", r" ?[^\s\p{L}\p{M}\p{N}]+")
LARGE, SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
ENDS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
LEAD, REST = r"[^\r\n\p{L}\p{N}]?", r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = f"{LEAD}{LARGE}*{SMALL}+{ENDS}|{LEAD}{LARGE}+{SMALL}*{ENDS}" + r"|\p{N}{1,3}" + REST
TEKKEN = f"{LEAD}{LARGE}*{SMALL}+|{LEAD}{LARGE}+{SMALL}*" + r"|\p{N}" + REST

SPECIAL = ["<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "[INST]"]
FIXED = [
    "", " ", "  ", "\n", " \n", "\n\n \n\t x", "a", " a", "  a  ", "Hello, World!", "it's we'RE I'll 'TIS ''s '\u017f they'd've",
    "don'tDON'T CamelCase HTTPServer aB ABc", "1 12 123 1234 12345 a1b22 \u00bd\u2167\u0663\u0664", "x = y+1;\r\n\treturn\r\n\r\n}", "/a//b/\n/c",
    "e\u0301 \u00e9 \u1e9b\u0323 \ufb01 \u212b", "\u0301x !\u0301x !!\u0301 \u0301", "\u6f22\u5b57A\u4eee\u540dz \u01c5x \u02b0A", "\ud55c\uad6d\uc5b4", "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f999\U0001f469\u200d\U0001f4bb", "e\u0301\u0301 \uac00\u0301 \u1112\u1161\u11ab \ufb01\u0301 \u2460\u0001\u0301 fi\u0301", "\u00a0a\u2003b\u3000\u0085c\u2028\u2028d", "\u2581a\u2581\u2581b \u2581", "<|im_start|>user\nhi<|im_end|>", "<s>a</s> </s>",
    "a [INST]b[/INST] <unk> <0x0A>", "<|im_start", "a" * 70, "ab" * 50 + " " * 40 + "\n" * 9, "\x00\x01\x7f\ufffd\U0010ffff", "\u037e\u1fef\u2126",
]


def texts(count, seed, words):
    rng = random.Random(seed)

    def scalar(a, b):
        code = rng.randrange(a, b)
        return " " if 0xD800 <= code < 0xE000 else chr(code)

    kinds = [
        lambda: scalar(0, 0x110000),
        lambda: scalar(0, 0x3000),
        lambda: scalar(0x20, 0x250),
        lambda: scalar(0x300, 0x370),
        lambda: scalar(0x370, 0x1200),
        lambda: scalar(0x4E00, 0xA000),
        lambda: scalar(0xAC00, 0xD7A4),
        lambda: scalar(0x1F300, 0x1FA00),
        lambda: scalar(0, 0x80),
        lambda: rng.choice("aA\u01c5\u02b0\u6f22\u0301\u0903\u00e9\u017f\u2581"),
        lambda: rng.choice([" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u0085"]),
        lambda: rng.choice(".,;!?-'\"()[]#/$+<=>^~|"),
        lambda: rng.choice(["'s", "'T", "'re", "'Ve", "'m", "'LL", "'d", "'\u017f"]),
        lambda: str(rng.randrange(10 ** rng.randrange(1, 8))),
        lambda: rng.choice(SPECIAL) if rng.random() < 0.3 else "<",
        lambda: rng.choice(words),
        lambda: " " + rng.choice(words).title(),
        lambda: " " + rng.choice(words),
    ]
    for _ in range(count):
        mix = rng.sample(kinds, rng.randint(1, 5)) + (kinds[-2:] if rng.random() < 0.6 else [])
        yield "".join(rng.choice(mix)() for _ in range(rng.randint(0, 40)))


def looks_like_control(text):
    pairs = [("<|", "|>"), ("<\uff5c", "\uff5c>"), ("<unused", "")]
    return text in ("<pad>", "<mask>") or any(text.startswith(a) and text.endswith(b) for a, b in pairs)


def load(definition, parses):
    # We treat tokens that look like control tokens as such, so tell the reference to do the same.
    added = [{**t, "special": t["special"] or looks_like_control(t["content"])} for t in definition["added_tokens"]]
    tokenizer = Tokenizer.from_str(json.dumps({**definition, "added_tokens": added, "truncation": None, "padding": None}))
    tokenizer.encode_special_tokens = not parses
    return tokenizer


def cases(definition, listed):
    plain, whole = load(definition, False), load(definition, True)
    added = plain.get_added_tokens_decoder().items()
    control = {id for id, token in added if token.special and token.content != "<unk>"}
    for number, text in enumerate(listed):
        case = {"text": text, "plain": plain.encode(text, add_special_tokens=False).ids}
        if control & set(case["plain"]):
            # The reference's Unigram reads `<s>` in a text as the control token; ours must not.
            continue
        # Every eighth case, and those where it matters; more would only enlarge the file.
        if number % 8 == 0 or any(token in text for token in SPECIAL):
            case["whole"] = whole.encode(text).ids
        yield case


def write(folder, name, definition, listed, with_definition=True):
    folder.mkdir(parents=True, exist_ok=True)
    if with_definition:
        text = json.dumps(definition, ensure_ascii=False, separators=(",", ":"))
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as file:
        for case in cases(definition, listed):
            file.write(json.dumps(case, separators=(",", ":")) + "\n")


def vocabulary(count=400):
    """Made-up words, some in other scripts."""
    rng = random.Random(7)
    letters = ["bcdfghklmnprstvw", "aeiou", "\u03b1\u03b2\u03b3\u03b4", "\u0430\u0431\u0432\u0433", "\u00e9\u00fc\u00f1", "\u6f22\u5b57\u4eee"]
    word = lambda: "".join(rng.choice(letters[0]) + rng.choice(letters[1]) for _ in range(rng.randint(1, 4)))
    other = lambda: "".join(rng.choice(rng.choice(letters[2:])) for _ in range(rng.randint(1, 4)))
    return [word() if rng.random() < 0.8 else other() for _ in range(count)]


def trained(tokenizer, words, special=True, **more):
    rng = random.Random(11)
    lines = [" ".join(rng.choices(words, k=12)) + rng.choice([".", "!\n", ", it's", " 123 45", "..."]) for _ in range(800)]
    trainer = {models.BPE: trainers.BpeTrainer, models.Unigram: trainers.UnigramTrainer, models.WordPiece: trainers.WordPieceTrainer}
    tokenizer.train_from_iterator(lines, trainer[type(tokenizer.model)](show_progress=False, **more))
    if special:
        tokenizer.add_special_tokens(SPECIAL[:2])
        tokenizer.add_tokens([AddedToken("[INST]", normalized=False), AddedToken("<tool>", rstrip=True, lstrip=True, normalized=False)])
    return tokenizer


def of_bytes(pattern, words, **more):
    tokenizer = Tokenizer(models.BPE(**more))
    if pattern is None:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)])
    else:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(tokenizer, words, vocab_size=480, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"])


def kinds(words):
    yield "smollm", of_bytes(None, words)
    for name, pattern in [("llama3", LLAMA3), ("qwen2", QWEN2), ("qwen35", QWEN35), ("o200k", O200K), ("tekken", TEKKEN)]:
        tokenizer = of_bytes(pattern, words, ignore_merges=name in ("llama3", "tekken"))
        if name.startswith("qwen"):
            tokenizer.normalizer = normalizers.NFC()
        if name == "llama3":
            template = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", tokenizer.token_to_id("<s>"))])
            tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
        yield name, tokenizer
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    for name in ["llama2", "mistral", "gemma"]:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        replace, prepend = normalizers.Replace(" ", "\u2581"), normalizers.Prepend("\u2581")
        strip = [] if name == "gemma" else [decoders.Strip(" ", 1, 0)]
        tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
        # Trained word by word, so that no token contains an inner space.
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", "first")
        trained(tokenizer, words, vocab_size=420, special_tokens=["<unk>", "<s>", "</s>"])
        tokenizer.pre_tokenizer = {
            "llama2": None,
            "mistral": pre_tokenizers.Metaspace("\u2581", "first", split=False),
            "gemma": pre_tokenizers.Split(" ", "merged_with_previous"),
        }[name]
        if name == "llama2":
            tokenizer.normalizer = normalizers.Sequence([prepend, replace])
        if name == "gemma":
            tokenizer.normalizer = replace
        template = processors.TemplateProcessing("<s> $A </s>", "<s> $A $B", [("<s>", 1), ("</s>", 2)])
        tokenizer.post_processor = template
        definition = json.loads(tokenizer.to_str())
        definition["model"]["vocab"].update({token: 1000 + i for i, token in enumerate(byte_tokens)})
        yield name, Tokenizer.from_str(json.dumps(definition))
    for name in ["unigram", "unigram-bytes"]:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
        tokenizer.decoder = decoders.Metaspace()
        trained(tokenizer, words, special=name == "unigram", vocab_size=500, unk_token="<unk>", special_tokens=["<s>", "</s>", "<unk>"])
        if name == "unigram-bytes":
            definition = json.loads(tokenizer.to_str())
            definition["model"]["vocab"] += [[token, -20.0] for token in byte_tokens]
            definition["model"]["byte_fallback"] = True
            tokenizer = Tokenizer.from_str(json.dumps(definition))
        tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A $B", [("</s>", 1)])
        yield name, tokenizer
    definition = json.loads(tokenizer.to_str())
    table = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap()).decode()}
    definition["normalizer"] = {"type": "Sequence", "normalizers": [table]}
    yield "charsmap", Tokenizer.from_str(json.dumps(definition))


def charsmap():
    """A small SentencePiece character map: some normal forms, clusters, a space, and dropped characters."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as protocol

    codes = lambda text: " ".join(f"{ord(c):x}" for c in text)
    rules = {"\ufb01": "fi", "\u2460": "1", "e\u0301": "\u00e9", "\u00a0": " ", "\u3000": " ", "\u0001": "", "\uac00\u0301": "x", "\u212b": "\u00c5",
             "\U0001f999": "llama", "\u1112\u1161": "\ud558", "\u0301": "\u00b4", "\u2028": " "}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "rules.tsv"
        table.write_text("".join(f"{codes(a)}\t{codes(b)}\n" for a, b in rules.items()), encoding="utf-8")
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(vocabulary()), model_writer=model, vocab_size=80, normalization_rule_tsv=str(table), hard_vocab_limit=False, minloglevel=2
        )
        proto = protocol.ModelProto()
        proto.ParseFromString(model.getvalue())
        return proto.normalizer_spec.precompiled_charsmap


def main(mode, folder, *paths):
    folder, words = Path(folder), vocabulary()
    if mode == "golden":
        for name, tokenizer in kinds(words):
            write(folder, name, json.loads(tokenizer.to_str()), FIXED + list(texts(12, 3, words)))
        return
    for path in map(Path, paths):
        definition = json.loads(path.read_text(encoding="utf-8"))
        listed = FIXED + list(texts(10_000, 1, words + "the quick brown fox jumps over a lazy dog".split()))
        name = path.stem if path.stem != "tokenizer" else path.parent.name
        write(folder, name, definition, listed)
    every = [chr(code) for code in range(0x33400) if not 0xD800 <= code < 0xE000]
    # The marks around each character reveal its combining class, and whether it is a mark at all.
    listed = [" ".join("q\u0345" + c + "\u0334" for c in every[i : i + 100]) for i in range(0, len(every), 100)]
    tokenizer = of_bytes(QWEN35, words)
    for form in ["NFC", "NFD", "NFKC", "NFKD"]:
        tokenizer.normalizer = getattr(normalizers, form)()
        write(folder, form, json.loads(tokenizer.to_str()), listed)


if __name__ == "__main__":
    main(*sys.argv[1:])
