"""Language models as students: the task's prompt, answers under a schema, regex or grammar, and certificates."""

import json
import re

import pytest

import models
from upstream import Json, completion

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["refund", "praise"]}, "count": {"type": "integer", "maximum": 99, "minimum": 0}},
    "required": ["kind", "count"],
    "additionalProperties": False,
}
TICKET = """
[models.tiny]
file = "tiny.gguf"
[tasks.ticket]
kind = "extract"
student_model = "tiny"
schema = "ticket.json"
instructions = "Write the ticket as JSON."
ladder = ["student", "small"]
"""
FROM_ABOVE = '{"kind": "praise", "count": 7}'


@pytest.fixture
def folder(tmp_path, upstream):
    models.language_model(tmp_path / "tiny.gguf")
    (tmp_path / "ticket.json").write_text(json.dumps(SCHEMA))
    upstream.answer = Json(completion(FROM_ABOVE))
    return tmp_path


def ask(client, text, **more):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="task/ticket", messages=messages, **more)


LABELS = TICKET.replace("extract", "classify").replace('schema = "ticket.json"', 'labels = ["refund", "praise"]')
UNCERTIFIED = "allow_uncertified = true\nuncertified_threshold = {}\nladder"


def test_a_certified_language_model_answers_alone_until_its_prompt_changes(serve, folder, upstream):
    texts = [f"ticket {number}: the lamp is broken" for number in range(150)]
    opened = serve(tasks=LABELS.replace("ladder", UNCERTIFIED.format(0.5)))
    client, rows = opened.client(), []
    for text in texts:
        answer = ask(client, text)
        assert answer.model_extra["bantam"]["tier"] == "local"
        assert answer.choices[0].message.content in ("refund", "praise")
        rows.append({"text": text, "label": answer.choices[0].message.content})
    opened.stop()
    assert upstream.requests == []

    # The rows are labelled with the model's own answers, so that a model with random weights is always right.
    evidence = folder / "evidence.jsonl"
    evidence.write_text("".join(json.dumps(row) + "\n" for row in rows))
    opened.config.write_text(opened.config.read_text().replace(UNCERTIFIED.format(0.5), "ladder"))
    certified = opened.json("certify", "ticket", "--error", "0.05", "--data", evidence)
    assert certified["certified"] is True and certified["errors"] == 0 and certified["accepted"] >= 59
    assert (folder / "ticket.certificate.json").exists()

    gateway = serve(tasks=LABELS)
    client = gateway.client()
    upstream.answer = Json(completion("praise"))
    notes = [ask(client, text).model_extra["bantam"] for text in texts[:30]]
    local = [note for note in notes if note["tier"] == "local"]
    assert local and all(note["confidence"] >= certified["threshold"] - 1e-4 for note in local)
    assert all(note["escalated"] == ["low_confidence"] for note in notes if note["tier"] != "local")
    explained = gateway.run("route", "--explain", texts[0], "--model", "task/ticket")
    assert "certified threshold" in explained and "says" in explained
    gateway.stop()

    changed = serve(tasks=LABELS.replace("as JSON", "as one word"))
    assert any("void" in line for line in changed.lines)
    answer = ask(changed.client(), texts[0])
    assert answer.choices[0].message.content == "praise"
    assert answer.model_extra["bantam"]["escalated"] == ["uncertified"]


def test_json_matches_the_tasks_schema_and_an_unsure_answer_escalates(serve, folder):
    gateway = serve(tasks=TICKET.replace("ladder", UNCERTIFIED.format("0.000000001")))
    client = gateway.client()
    answer = ask(client, "the lamp is broken")
    ticket = json.loads(answer.choices[0].message.content)
    assert ticket["kind"] in ("refund", "praise") and 0 <= ticket["count"] <= 99
    note = answer.model_extra["bantam"]
    assert note["tier"] == "local" and 0 < note["confidence"] < 1 and note["cost_usd"] == 0
    chunks = list(ask(client, "the lamp is broken", stream=True))
    assert json.loads("".join(c.choices[0].delta.content or "" for c in chunks if c.choices)) == ticket
    same = {"type": "json_schema", "json_schema": {"name": "ticket", "schema": SCHEMA}}
    assert ask(client, "the lamp is broken", response_format=same).model_extra["bantam"]["tier"] == "local"
    other = {"type": "json_schema", "json_schema": {"name": "other", "schema": {"type": "object"}}}
    assert ask(client, "the lamp is broken", response_format=other).model_extra["bantam"]["tier"] == "mid"
    gateway.stop()
    strict = serve(tasks=TICKET.replace("ladder", UNCERTIFIED.format(0.999))).client()
    answer = ask(strict, "the lamp is broken")
    assert answer.choices[0].message.content == FROM_ABOVE
    assert answer.model_extra["bantam"]["escalated"] == ["low_confidence"]


ORDER = TICKET.replace("extract", "rewrite").replace("ladder", UNCERTIFIED.format("0.0000000001"))
CONSTRAINTS = {
    "regex = '[A-Z]{2}-[0-9]{4}'": None,
    'grammar = "order.lark"': 'start: SHOP "-" NUMBER\nSHOP: /[A-Z]{2}/\nNUMBER: /[0-9]{4}/\n',
}


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_text_matches_the_tasks_regex_or_grammar(serve, folder, constraint):
    if CONSTRAINTS[constraint]:
        (folder / "order.lark").write_text(CONSTRAINTS[constraint])
    gateway = serve(tasks=ORDER.replace('schema = "ticket.json"', constraint))
    client = gateway.client()
    answer = ask(client, "the lamp of order AB-1234 is broken")
    assert re.fullmatch("[A-Z]{2}-[0-9]{4}", answer.choices[0].message.content)
    note = answer.model_extra["bantam"]
    assert note["tier"] == "local" and 0 <= note["confidence"] < 0.5
    chunks = list(ask(client, "the lamp of order AB-1234 is broken", stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == answer.choices[0].message.content


BROKEN = {"regex = '[A-Z'": ("the student of `ticket`: cannot use `regex`", "[A-Z"), 'grammar = "order.lark"': ("order.lark", "numbr")}


@pytest.mark.parametrize("constraint", BROKEN)
def test_an_invalid_regex_or_grammar_is_reported_before_the_port_opens(serve, folder, constraint):
    gateway = serve(tasks=TICKET)
    gateway.stop()
    (folder / "order.lark").write_text('start: "a"\n  numbr\n')
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace('schema = "ticket.json"', constraint))
    output = gateway.run("serve", code=1)
    assert all(part in output for part in BROKEN[constraint])


def test_a_certificate_is_void_once_the_regex_changes(serve, folder):
    # The regex matches only one text, so a model with random weights is certain of it.
    order = TICKET.replace("extract", "rewrite").replace('schema = "ticket.json"', "regex = 'refund'")
    opened = serve(tasks=order)
    opened.stop()
    evidence = folder / "evidence.jsonl"
    rows = ({"text": f"ticket {number}", "answer": "refund"} for number in range(100))
    evidence.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert opened.json("certify", "ticket", "--error", "0.05", "--data", evidence)["certified"] is True
    same = serve(tasks=order)
    assert not any("void" in line for line in same.lines)
    assert ask(same.client(), "ticket 7").model_extra["bantam"]["tier"] == "local"
    same.stop()
    other = serve(tasks=order.replace("'refund'", "'refunds?'"))
    assert any("void" in line for line in other.lines)
    assert ask(other.client(), "ticket 7").model_extra["bantam"]["escalated"] == ["uncertified"]


def test_an_inaccurate_student_is_not_certified(serve, folder):
    gateway = serve(tasks=TICKET)
    evidence = folder / "evidence.jsonl"
    row = {"answer": {"kind": "refund", "count": 1}}
    evidence.write_text("".join(json.dumps({"text": f"ticket {number}", **row}) + "\n" for number in range(100)))
    assert "not certifiable" in gateway.run("certify", "ticket", "--error", "0.05", "--data", evidence, code=6)


def test_an_unsupported_schema_is_reported_before_the_port_opens(serve, folder):
    gateway = serve(tasks=TICKET)
    gateway.stop()
    (folder / "ticket.json").write_text(json.dumps({"type": "object", "not": {"type": "object"}}))
    output = gateway.run("serve", code=1)
    assert "ticket.json" in output and "`not`" in output
