#!/usr/bin/env python3
"""Counts a small decoder's valid and executable calls on BFCL, constrained by the schemas of each row's functions.

Needs:   a built bantam, pip install jsonschema, and a folder of data sets with bfcl/*.jsonl.gz
Usage:   python3 scripts/tool_calls.py DATA WORK [--bantam target/release/bantam] [--with-ends] [-- FLAGS OF bantam student train]

The decoder is trained from scratch on four fifths of the rows (seed 7). Its prompt lists each function with its parameters
on one line before the question; it knows nothing about functions it has not seen. All rows are then sent through the
gateway with a `response_format` built from their functions. An answer is valid if it is complete JSON that matches the
functions' schemas, even if the gateway had to close it at the token limit. It is executable if it names a known function,
and correct if the data set accepts its function and every value. Denominators include all rows, also refused ones.
"""

import argparse
import collections
import concurrent.futures
import gzip
import json
import pathlib
import random
import re
import subprocess
import sys
import urllib.error
import urllib.request

import jsonschema

INSTRUCTIONS = "Write the calls as JSON."
TYPES = {"dict": "object", "float": "number", "tuple": "array", "list": "array"}
CONFIG = """
[ledger]
path = "ledger.sqlite"
[models.caller]
file = "caller.student/model.gguf"
kv_tokens = 16384
[routing]
ladder = ["caller"]
"""


def schema_of(parameters):
    """Returns a parameter's JSON schema."""
    kind = TYPES.get(parameters.get("type"), parameters.get("type"))
    if kind == "any" or kind is None:
        return {}
    schema = {"type": kind}
    if "enum" in parameters:
        schema["enum"] = parameters["enum"]
    if kind == "object" and "properties" in parameters:
        schema["properties"] = {name: schema_of(of) for name, of in parameters["properties"].items()}
        schema["required"] = [name for name in parameters.get("required", []) if name in schema["properties"]]
        schema["additionalProperties"] = False
    if kind == "array" and "items" in parameters:
        schema["items"] = schema_of(parameters["items"])
    return schema


def calls_schema(functions):
    """Returns the schema of a list of calls."""
    calls = [
        {
            "type": "object",
            "properties": {"name": {"enum": [function["name"]]}, "arguments": schema_of(function["parameters"])},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for function in functions
    ]
    return {"type": "array", "items": calls[0] if len(calls) == 1 else {"anyOf": calls}, "minItems": 1, "maxItems": 8}


def bounded(schema):
    """Returns the schema with limits on unbounded values, because a decoder may never stop writing an unknown function's."""
    if "enum" in schema:
        return schema
    schema = {**schema}
    kind = schema.get("type")
    if kind == "string":
        schema["maxLength"] = 40
    if kind in ("integer", "number"):
        schema.update(type="integer", minimum=0, maximum=99999)
    if kind == "array":
        schema["items"] = bounded(schema["items"]) if schema.get("items") else {"type": "boolean"}
        schema["maxItems"] = min(schema.get("maxItems", 3), 3)
    if kind == "object" and "properties" in schema:
        schema["properties"] = {name: bounded(of) for name, of in schema["properties"].items()}
    if kind == "object" and "properties" not in schema or not kind and "anyOf" not in schema:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    if "anyOf" in schema:
        schema["anyOf"] = [bounded(of) for of in schema["anyOf"]]
    return schema


def ordered(value, schema):
    """Returns a value with its members in the schema's order."""
    if isinstance(value, dict) and isinstance(schema.get("properties"), dict):
        return {name: ordered(value[name], of) for name, of in schema["properties"].items() if name in value}
    return value


def expected_calls(row):
    """Returns the first calls that the data set accepts, without optional arguments."""
    schemas = {function["name"]: schema_of(function["parameters"]) for function in row["function"]}
    calls = []
    for truth in row["ground_truth"]:
        for name, arguments in truth.items():
            first = {key: plain(values[0]) for key, values in arguments.items() if values and values[0] != ""}
            calls.append({"name": name, "arguments": ordered(first, schemas.get(name, {}))})
    return calls


def plain(value):
    """Returns an accepted value; in objects, every member is in turn a list of accepted values."""
    if isinstance(value, dict):
        return {key: plain(of[0]) if isinstance(of, list) and of else of for key, of in value.items()}
    return value


def accepts(values, found):
    """Returns whether a value is accepted."""
    return any(found == plain(value) or (isinstance(value, str) and str(found).lower() == value.lower())
               for value in values)


def is_right(row, calls):
    """Returns whether the calls match the data set's, in any order."""
    rest = [next(iter(truth.items())) for truth in row["ground_truth"]]
    for call in calls:
        for index, (name, arguments) in enumerate(rest):
            given = call["arguments"]
            fits = name == call["name"] and all(key in arguments and accepts(arguments[key], given[key]) for key in given)
            if fits and all(key in given or "" in values for key, values in arguments.items()):
                del rest[index]
                break
        else:
            return False
    return not rest


def prompt(row):
    """Returns the prompt: one line per function, then the question."""
    lines = [f"{f['name']}({', '.join(f['parameters'].get('properties', {}))})" for f in row["function"]]
    return "\n".join([*lines, row["question"][0][-1]["content"]])


def messages(row):
    system, user = {"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": prompt(row)}
    return [system, user]


def call(address, row, with_ends):
    """Returns the calls of the answer, or None, and the outcome in words."""
    schema = calls_schema(row["function"])
    constraint = bounded(schema) if with_ends else schema
    body = {
        "model": "caller", "messages": messages(row), "temperature": 0, "max_tokens": 512,
        "response_format": {"type": "json_schema", "json_schema": {"name": "calls", "schema": constraint}},
    }
    request = urllib.request.Request(f"http://{address}/v1/chat/completions", json.dumps(body).encode(),
                                     {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            choice = json.load(answer)["choices"][0]
    except urllib.error.HTTPError as error:
        return None, "refused: " + json.load(error)["error"]["message"][:100]
    try:
        calls = json.loads(choice["message"]["content"])
        jsonschema.validate(calls, schema)
    except json.JSONDecodeError:
        return None, "not JSON"
    except jsonschema.ValidationError as error:
        return None, f"violates {error.validator}"
    return calls, "valid" if choice["finish_reason"] == "stop" else "closed at the token limit"


def main():
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--bantam", default="target/release/bantam", type=pathlib.Path)
    parser.add_argument("--with-ends", action="store_true", help="also limit strings, numbers and lists")
    args = parser.parse_args(own)
    rows = []
    for path in sorted((args.data / "bfcl").glob("*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            rows.extend(json.loads(line) for line in lines)
    random.Random(7).shuffle(rows)
    held_out = len(rows) // 5
    args.work.mkdir(parents=True, exist_ok=True)
    (args.work / "bantam.toml").write_text(CONFIG)
    with open(args.work / "train.jsonl", "w") as out:
        for row in rows[held_out:]:
            answer = {"role": "assistant", "content": json.dumps(expected_calls(row), ensure_ascii=False)}
            out.write(json.dumps({"messages": [*messages(row), answer]}) + "\n")
    bantam = args.bantam.resolve()
    if not (args.work / "caller.student").exists() or flags:
        trained = subprocess.run(
            [bantam, "student", "train", "--kind", "decoder", "--data", "train.jsonl", "--out", "caller.student",
             "--log", "log.jsonl", *flags], cwd=args.work, check=True, capture_output=True, text=True)
        print(trained.stdout)
    serving = subprocess.Popen([bantam, "--config", "bantam.toml", "serve", "--set", "server.bind=127.0.0.1:0"],
                               cwd=args.work, stderr=subprocess.PIPE, text=True)
    try:
        address = None
        while address is None:
            found = re.search(r"serving on http://(\S+)", serving.stderr.readline())
            address = found and found[1]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda row: call(address, row, args.with_ends), rows))
    finally:
        serving.terminate()
    for name, part in (("held out", slice(None, held_out)), ("trained on", slice(held_out, None)), ("all", slice(None))):
        answers = list(zip(rows[part], found[part], strict=True))
        valid = [(row, calls) for row, (calls, _) in answers if calls is not None]
        known = sum(all(c["name"] in {f["name"] for f in row["function"]} for c in calls) for row, calls in valid)
        right = sum(is_right(row, calls) for row, calls in valid)
        print(f"{name}: {len(valid)} of {len(answers)} valid, {known} executable, {right} correct")
    print("outcomes:", dict(collections.Counter(reason for _, reason in found)))


if __name__ == "__main__":
    main()
