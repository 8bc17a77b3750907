"""Taggers as students: from rows to a JSON object that validates, a certificate, and what goes up instead."""

import json
import random

import pytest

from upstream import Json, completion

SCHEMA = {
    "type": "object",
    "properties": {
        "order": {"type": "string", "pattern": "^A-[0-9]{4}$"},
        "product": {"enum": ["lamp", "desk", "kettle"]},
        "day": {"type": "string", "format": "date"},
        "count": {"type": ["integer", "null"]},
    },
    "required": ["order", "count"],
    "additionalProperties": False,
}
TICKET = """
[tasks.ticket]
kind = "extract"
student = "ticket.tagger"
schema = "ticket.json"
ladder = ["student", "small"]
"""
OPEN = "allow_uncertified = true\nuncertified_threshold = 0.5\nladder"
FROM_ABOVE = '{"order": "A-0000", "count": null}'
FORMAT = {"type": "json_schema", "json_schema": {"name": "ticket", "schema": SCHEMA, "strict": True}}
SAYS = [
    "please send {count} {product} of order {order} on {day}",
    "order {order}: {count} {product} are missing since {day}",
    "where is my {product}, order {order}",
    "I need {count} more {product} for {order}",
    "{day} would be fine for order {order}",
]


def rows(count, seed):
    draw, made = random.Random(seed), []
    for _ in range(count):
        month = draw.choice(["March", "May", "June"])
        values = {
            "order": f"A-{draw.randrange(1000, 10000)}",
            "product": draw.choice(["lamp", "Desk", "kettle"]),
            "day": f"{draw.randrange(1, 29)} {month} 2026",
            "count": draw.choice(["two", "3", "12"]),
        }
        says = draw.choice(SAYS)
        slots = {slot: [value] for slot, value in values.items() if f"{{{slot}}}" in says}
        made.append({"text": says.format(**values), "slots": slots})
    return made


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def ask(client, text, **more):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="task/ticket", messages=messages, **more)


@pytest.fixture
def world(tmp_path, upstream):
    (tmp_path / "ticket.json").write_text(json.dumps(SCHEMA))
    upstream.answer = Json(completion(FROM_ABOVE))
    return tmp_path


@pytest.fixture
def taught(serve, world):
    """Returns `serve` of a task whose tagger was trained on generated rows."""

    def start(tasks):
        data = write(world / "rows.jsonl", rows(300, seed=1))
        command = ["student", "train", "--kind", "tagger", "--data", data, "--out", world / "ticket.tagger"]
        (world / "empty.toml").write_text("")
        if not (world / "ticket.tagger").exists():
            import gateway

            told = gateway.Bantam(world)
            told.config = world / "empty.toml"
            report = told.json(*command)
            assert report["held_out_f1"] > 0.9 and report["slots"] == ["count", "day", "order", "product"]
        return serve(tasks=tasks)

    return start


def test_values_come_as_an_object_that_validates(taught, upstream):
    client = taught(TICKET.replace("ladder", OPEN)).client()
    answer = ask(client, "please send two Desk of order A-4711 on 7 May 2026", response_format=FORMAT)
    expected = {"order": "A-4711", "product": "desk", "day": "2026-05-07", "count": 2}
    assert json.loads(answer.choices[0].message.content) == expected
    assert answer.model_extra["bantam"]["tier"] == "local" and answer.model_extra["bantam"]["confidence"] > 0.5

    chunks = list(ask(client, "where is my lamp, order A-1234", response_format=FORMAT, stream=True))
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert json.loads(streamed) == {"order": "A-1234", "product": "lamp", "count": None}
    assert upstream.requests == []


def test_the_question_before_a_text_decides(serve, world, upstream):
    asked = {"people": "For how many people?", "time": "At what time?"}
    turns = [(str(number), slot) for number in range(10, 70) for slot in asked]
    lines = [{"text": text, "context": asked[slot], "slots": {slot: text}} for text, slot in turns]
    data = write(world / "turns.jsonl", lines)
    task = TICKET.replace('schema = "ticket.json"\n', "").replace("ladder", OPEN)
    gateway = serve(tasks=task.replace('student = "ticket.tagger"\n', "").replace(OPEN, "ladder").replace('"student", ', ""))
    train = ["student", "train", "--kind", "tagger", "--data", data, "--out", world / "ticket.tagger"]
    assert gateway.json(*train)["reads_context"]
    gateway.stop()
    client = serve(tasks=task).client()
    for slot, question in asked.items():
        messages = [
            {"role": "system", "content": "Fill in the form."},
            {"role": "user", "content": "A table, please."},
            {"role": "assistant", "content": question},
            {"role": "user", "content": "75"},
        ]
        answer = client.chat.completions.create(model="task/ticket", messages=messages)
        assert json.loads(answer.choices[0].message.content) == {slot: ["75"]}
    assert upstream.requests == []


def test_what_does_not_validate_goes_up(taught, upstream):
    gateway = taught(TICKET.replace("ladder", OPEN))
    answer = ask(gateway.client(), "where is my lamp")
    assert answer.choices[0].message.content == FROM_ABOVE
    assert answer.model_extra["bantam"]["escalated"] == ["invalid_output"]
    other = {"type": "json_schema", "json_schema": {"name": "other", "schema": {"type": "object"}}}
    assert ask(gateway.client(), "where is my lamp, order A-1234", response_format=other).choices[0].message.content == FROM_ABOVE
    explained = gateway.run("route", "--explain", "where is my lamp, order A-1234", "--model", "task/ticket")
    assert "order `A-1234` with probability" in explained and "accept" in explained


def test_a_certificate_is_for_one_student_and_one_schema(taught, world, upstream):
    gateway = taught(TICKET)
    text = "where is my lamp, order A-1234"
    assert ask(gateway.client(), text).model_extra["bantam"]["escalated"] == ["uncertified"]
    evidence = write(world / "evidence.jsonl", rows(400, seed=2))
    told = gateway.run("certify", "ticket", "--error", "0.05", "--data", evidence)
    assert "certified" in told and "precision" in told and "order" in told
    gateway.stop()

    certified = taught(TICKET)
    answer = ask(certified.client(), text)
    assert answer.model_extra["bantam"]["tier"] == "local", answer.model_extra
    certified.stop()

    (world / "ticket.json").write_text(json.dumps({**SCHEMA, "required": ["order"]}))
    changed = taught(TICKET)
    assert any("void" in line for line in changed.lines)
    assert ask(changed.client(), text).model_extra["bantam"]["escalated"] == ["uncertified"]


def test_a_student_learns_from_recorded_answers(serve, world, upstream):
    recording = TICKET.replace('student = "ticket.tagger"\n', "").replace('schema = "ticket.json"\n', "")
    recording = recording.replace('["student", "small"]', '["small"]\nrecord = true')
    gateway = serve(tasks=recording)
    client = gateway.client()
    for number, row in enumerate(rows(60, seed=3)):
        said = {slot: values[0] for slot, values in row["slots"].items()}
        upstream.answer = Json(completion(json.dumps(said) if number else '{"order": "A-9999999"}'))
        ask(client, row["text"])
    out = world / "learnt.tagger"
    gateway.settled(requests=60)
    told = gateway.json("student", "train", "--kind", "tagger", "--task", "ticket", "--out", out)
    assert out.exists() and 30 <= told["rows"] <= 59


def test_files_of_the_wrong_kind_are_named(taught, world):
    gateway = taught(TICKET)
    gateway.stop()
    labels = [{"text": f"{word} {number}", "label": word} for word in ("a", "b") for number in range(20)]
    data = write(world / "labels.jsonl", labels)
    gateway.run("student", "train", "--data", data, "--out", world / "a.student")
    gateway.config.write_text(gateway.config.read_text().replace('"ticket.tagger"', '"a.student"'))
    said = gateway.run("serve", code=1)
    assert "this is a classifier, where a tagger is needed" in said
    gateway.config.write_text(gateway.config.read_text().replace('"a.student"', '"ticket.tagger"').replace(
        'kind = "extract"', 'kind = "classify"').replace('schema = "ticket.json"\n', ""))
    assert "this is a tagger, where a classifier is needed" in gateway.run("serve", code=1)
    few = write(world / "few.jsonl", rows(1, seed=4))
    said = gateway.run("student", "train", "--kind", "tagger", "--data", few, "--out", world / "few.tagger", code=1)
    assert "1 rows are too few" in said
