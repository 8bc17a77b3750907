"""Language models as students: a task's own prompt, an answer by its schema, regex or grammar, a certificate, and what it does not cover."""

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
def world(tmp_path, upstream):
    models.language_model(tmp_path / "tiny.gguf")
    (tmp_path / "ticket.json").write_text(json.dumps(SCHEMA))
    upstream.answer = Json(completion(FROM_ABOVE))
    return tmp_path


def ask(client, text, **more):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="task/ticket", messages=messages, **more)


LABELS = TICKET.replace("extract", "classify").replace('schema = "ticket.json"', 'labels = ["refund", "praise"]')
UNCERTIFIED = "allow_uncertified = true\nuncertified_threshold = {}\nladder"


def test_a_language_model_answers_alone_once_it_is_certified_and_not_after_its_prompt_has_changed(serve, world, upstream):
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

    # Its own answers are the truth here, so that a model of random numbers is right: what is tested is the machinery.
    evidence = world / "evidence.jsonl"
    evidence.write_text("".join(json.dumps(row) + "\n" for row in rows))
    opened.config.write_text(opened.config.read_text().replace(UNCERTIFIED.format(0.5), "ladder"))
    certified = opened.json("certify", "ticket", "--error", "0.05", "--data", evidence)
    assert certified["certified"] is True and certified["errors"] == 0 and certified["accepted"] >= 59
    assert (world / "ticket.certificate.json").exists()

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


def test_json_keeps_to_the_tasks_schema_whole_and_streamed_and_escalates_when_it_is_unsure(serve, world):
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
FORMS = {
    "regex = '[A-Z]{2}-[0-9]{4}'": None,
    'grammar = "order.lark"': 'start: SHOP "-" NUMBER\nSHOP: /[A-Z]{2}/\nNUMBER: /[0-9]{4}/\n',
}


@pytest.mark.parametrize("form", FORMS)
def test_text_keeps_to_the_tasks_regex_or_grammar_with_the_confidence_of_the_whole(serve, world, form):
    if FORMS[form]:
        (world / "order.lark").write_text(FORMS[form])
    gateway = serve(tasks=ORDER.replace('schema = "ticket.json"', form))
    client = gateway.client()
    answer = ask(client, "the lamp of order AB-1234 is broken")
    assert re.fullmatch("[A-Z]{2}-[0-9]{4}", answer.choices[0].message.content)
    note = answer.model_extra["bantam"]
    assert note["tier"] == "local" and 0 <= note["confidence"] < 0.5
    chunks = list(ask(client, "the lamp of order AB-1234 is broken", stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == answer.choices[0].message.content


BROKEN = {"regex = '[A-Z'": ("tasks.ticket.regex", "[A-Z"), 'grammar = "order.lark"': ("order.lark", "numbr")}


@pytest.mark.parametrize("form", BROKEN)
def test_a_regex_or_grammar_that_cannot_be_compiled_is_named_before_the_port_opens(serve, world, form):
    gateway = serve(tasks=TICKET)
    gateway.stop()
    (world / "order.lark").write_text('start: "a"\n  numbr\n')
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace('schema = "ticket.json"', form))
    told = gateway.run("serve", code=1)
    assert all(part in told for part in BROKEN[form])


def test_a_certificate_is_void_once_the_regex_is_another(serve, world):
    # One text is all of the language, so that a model of random numbers is sure of it.
    order = TICKET.replace("extract", "rewrite").replace('schema = "ticket.json"', "regex = 'refund'")
    opened = serve(tasks=order)
    opened.stop()
    evidence = world / "evidence.jsonl"
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


def test_a_student_that_is_wrong_is_not_certified(serve, world):
    gateway = serve(tasks=TICKET)
    evidence = world / "evidence.jsonl"
    row = {"answer": {"kind": "refund", "count": 1}}
    evidence.write_text("".join(json.dumps({"text": f"ticket {number}", **row}) + "\n" for number in range(100)))
    assert "not certifiable" in gateway.run("certify", "ticket", "--error", "0.05", "--data", evidence, code=6)


def test_a_schema_that_cannot_be_honoured_is_named_before_the_port_opens(serve, world):
    gateway = serve(tasks=TICKET)
    gateway.stop()
    (world / "ticket.json").write_text(json.dumps({"type": "object", "not": {"type": "object"}}))
    told = gateway.run("serve", code=1)
    assert "ticket.json" in told and "`not`" in told
