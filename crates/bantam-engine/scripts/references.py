"""Writes the reference implementation's outputs for the tests of this crate.

Needs PyPI `torch transformers tokenizers safetensors numpy`.

        references.py tiny FOLDER            a seeded random BERT of some KB, and its hidden states
        references.py modernbert FOLDER BIASED  two seeded random ModernBERTs of some KB, and their hidden states: one as
                                             transformers saves it today, without biases; and a classifier in the older
                                             format, with biases everywhere
        references.py minilm MODEL OUT [TEXTS]  embeddings of all-MiniLM-L6-v2 for 1,000 sentences, or for the lines of
                                             TEXTS, and of the first 48 in half precision
"""

import json
import random
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertForSequenceClassification, ModernBertModel

SUBJECTS = "my card|the parcel|our subscription|a refund|the invoice from last month|that transfer to Zürich|my flight \
to São Paulo|the thermostat|your mobile app|this recipe|the meeting with Dr. O'Neill|an espresso machine|her \
passport|the quarterly report|a 4-core server|the beta version".split("|")
VERBS = "has not arrived|was charged twice|stopped working after the update|needs to be cancelled|is more expensive \
than I expected|must be ready by 17:30|cannot be found anywhere|looks wonderful|should be sent to accounting|is \
overheating|was declined in a shop|keeps asking for a password".split("|")
TAILS = "please help|thanks!|what can I do?|and I am quite annoyed|as we discussed on Tuesday|(order no. 48-2291-B)|— \
it is urgent|because the website only shows error 503|although everything was paid in advance|don't tell anyone|if \
that is possible|日本語もお願いします|because of the naïve café owner|100% sure|at all|for the third time this week".split("|")


def sentences(count: int) -> list[str]:
    """Seeded sentences of a few to about a hundred words."""
    generator = random.Random(20261121)
    made = []
    for _ in range(count):
        parts = []
        for _ in range(generator.choice([1, 1, 1, 1, 2, 2, 3, 6, 12])):
            part = " ".join(generator.choice(words) for words in (SUBJECTS, VERBS, TAILS)[: generator.randint(1, 3)])
            parts.append(part if generator.random() < 0.5 else part.capitalize() + generator.choice([".", "!", ""]))
        made.append(" ".join(parts))
    return made


def tiny(folder: Path) -> None:
    """A BERT with an odd head size and weights large enough that every part affects the output."""
    torch.manual_seed(7)
    sizes = {"vocab_size": 40, "hidden_size": 30, "num_hidden_layers": 2, "num_attention_heads": 3}
    config = BertConfig(**sizes, intermediate_size=52, max_position_embeddings=24, hidden_act="gelu")
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3 + (1.0 if parameter.ndim == 1 else 0.0))
    tensors = {name: value.numpy().copy() for name, value in model.state_dict().items() if value.is_floating_point()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=1, sort_keys=True) + "\n")
    generator, cases = random.Random(3), []
    for first, second in [(1, 0), (2, 0), (7, 0), (24, 0), (5, 6), (17, 0)]:
        ids = [generator.randrange(40) for _ in range(first + second)]
        types = [0] * first + [1] * second
        with torch.no_grad():
            states = model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types])).last_hidden_state[0]
        cases.append({"first": ids[:first], "second": ids[first:], "states": [round(x, 6) for x in states.flatten().tolist()]})
    (folder / "golden.json").write_text(json.dumps(cases) + "\n")


MODERN = {"vocab_size": 60, "local_attention": 8, "max_position_embeddings": 48, "hidden_activation": "gelu"}
MODERN |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
# What transformers wrote before version 5. Each of the two models is saved in only one of the formats.
OLD_FIELDS = {"global_attn_every_n_layers": 2, "global_rope_theta": 2000.0, "local_rope_theta": 50.0}


def modernbert(folder: Path, biased_folder: Path) -> None:
    """Windows shorter than the sequences, rotations beyond a full turn, heads with an odd half."""
    torch.manual_seed(11)
    sizes = {"hidden_size": 30, "num_hidden_layers": 5, "num_attention_heads": 3, "intermediate_size": 44}
    config = ModernBertConfig(**MODERN, **sizes, global_attn_every_n_layers=3)
    saved = config.to_dict()
    del saved["global_attn_every_n_layers"]
    save_modernbert(folder, ModernBertModel(config), saved, [5, 1, 9, 40, 17, 8])
    sizes = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 21}
    biases = {"norm_bias": True, "attention_bias": True, "mlp_bias": True}
    config = ModernBertConfig(**MODERN, **sizes, **biases, **OLD_FIELDS)
    saved = config.to_dict() | OLD_FIELDS
    del saved["layer_types"], saved["rope_parameters"]
    save_modernbert(biased_folder, ModernBertForSequenceClassification(config), saved, [6, 40, 2, 21])


def save_modernbert(folder: Path, model: torch.nn.Module, config: dict, lengths: list[int]) -> None:
    """Half-precision weights, large enough that every part affects the output; the states are computed from them in f32."""
    model = model.eval()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.3 if parameter.ndim == 1 else 1.4 / parameter.shape[1] ** 0.5
            mean = 1.0 if parameter.ndim == 1 else 0.0
            parameter.copy_((torch.randn_like(parameter) * spread + mean).half().float())
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.half().numpy().copy() for name, value in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    body, generator, cases = getattr(model, "model", model), random.Random(5), []
    for length in lengths:
        ids = [generator.randrange(config["vocab_size"]) for _ in range(length)]
        with torch.no_grad():
            states = body(input_ids=torch.tensor([ids])).last_hidden_state[0]
        cases.append({"first": ids, "second": [], "states": [round(x, 6) for x in states.flatten().tolist()]})
    (folder / "golden.json").write_text(json.dumps(cases) + "\n")


def minilm(model_folder: Path, out: Path, texts: list[str]) -> None:
    """The mean over the tokens, scaled to length 1, as in the model card; each text alone, so without padding."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    model = BertModel.from_pretrained(model_folder, add_pooling_layer=False).eval()
    rows = []
    for text in texts:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            mean = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].mean(0)
        rows.append(torch.nn.functional.normalize(mean, dim=0).numpy())
    embeddings = np.stack(rows)
    out.mkdir(parents=True, exist_ok=True)
    (out / "texts.json").write_text(json.dumps(texts, ensure_ascii=False) + "\n")
    save_file({"embeddings": embeddings}, out / "embeddings.safetensors")
    (out / "first-texts.json").write_text(json.dumps(texts[:48], ensure_ascii=False, indent=0) + "\n")
    save_file({"embeddings": embeddings[:48].astype(np.float16)}, out / "first-embeddings.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "tiny":
        tiny(Path(sys.argv[2]))
    elif sys.argv[1] == "modernbert":
        modernbert(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        lines = Path(sys.argv[4]).read_text().splitlines() if len(sys.argv) > 4 else sentences(1000)
        minilm(Path(sys.argv[2]), Path(sys.argv[3]), lines)
