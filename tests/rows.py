"""Generates labelled rows of a small support desk from a seed."""

import json
import random

ASKS = {
    "order_status": [
        "where is my {thing} order",
        "has the {thing} shipped yet",
        "when will my {thing} arrive",
        "track the package with my {thing}",
        "what is the delivery date of the {thing}",
    ],
    "refund": [
        "i want my money back for the {thing}",
        "how do i return the {thing} for a refund",
        "please refund the {thing}",
        "the {thing} broke and i need a refund",
        "can i get reimbursed for the {thing}",
    ],
    "password": [
        "i forgot my password on the {device}",
        "reset the login for my account on the {device}",
        "the {device} says wrong password",
        "i cannot sign in from my {device}",
        "change my password on the {device} please",
    ],
    "oos": [
        "what is the weather like near the {place}",
        "tell me a joke about the {place}",
        "who won the game at the {place}",
        "write a poem on the {place}",
        "how tall is the {place}",
    ],
}
WORDS = {
    "thing": ["lamp", "jacket", "kettle", "phone case", "desk", "pair of boots", "blender", "camera", "tent", "watch"],
    "device": ["laptop", "tablet", "phone", "work computer", "old pc", "chromebook"],
    "place": ["harbour", "museum", "mountain", "stadium", "old bridge", "lighthouse"],
}
# Ambiguous requests with random labels, from which a student learns to be unsure.
VAGUE = [
    "i have a question about the {thing}",
    "it is about the {thing} again",
    "could somebody help me with the {thing}",
]
VAGUE_SHARE = 0.15
OPENERS = ["", "hi, ", "hello there, ", "quick question: ", "hey team, ", "good morning, ", "sorry to bother you, "]
ENDINGS = ["", "?", " please", " thanks", " asap", ", any news?", " today", " - it is urgent"]

LABELS = ["order_status", "refund", "password"]


def make(count, seed):
    """Returns `count` rows. Texts are unique, also across calls with different seeds."""
    generator = random.Random(seed)
    rows = []
    for number in range(count):
        label = generator.choice(list(ASKS))
        is_vague = label in LABELS and generator.random() < VAGUE_SHARE
        text = generator.choice(VAGUE if is_vague else ASKS[label])
        text = text.format(**{slot: generator.choice(words) for slot, words in WORDS.items()})
        text = f"{generator.choice(OPENERS)}{text}{generator.choice(ENDINGS)} (ref {seed}{number:05d})"
        rows.append({"text": text, "label": label})
    return rows


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
