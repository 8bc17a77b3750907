"""Taggers as students: training, valid JSON answers, certificates and escalation."""

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
PHRASES = [
    "please send {count} {product} of order {order} on {day}",
    "order {order}: {count} {product} are missing since {day}",
    "where is my {product}, order {order}",
    "I need {count} more {product} for {order}",
    "{day} would be fine for order {order}",
]


def rows(count, seed):
    generator, rows = random.Random(seed), []
    for _ in range(count):
        month = generator.choice(["March", "May", "June"])
        values = {
            "order": f"A-{generator.randrange(1000, 10000)}",
            "product": generator.choice(["lamp", "Desk", "kettle"]),
            "day": f"{generator.randrange(1, 29)} {month} 2026",
            "count": generator.choice(["two", "3", "12"]),
        }
        phrase = generator.choice(PHRASES)
        slots = {slot: [value] for slot, value in values.items() if f"{{{slot}}}" in phrase}
        rows.append({"text": phrase.format(**values), "slots": slots})
    return rows


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def ask(client, text, **more):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="task/ticket", messages=messages, **more)


@pytest.fixture
def folder(tmp_path, upstream):
    (tmp_path / "ticket.json").write_text(json.dumps(SCHEMA))
    upstream.answer = Json(completion(FROM_ABOVE))
    return tmp_path


@pytest.fixture
def serve_tagger(serve, folder):
    """Returns a function that starts a gateway whose tagger was trained on generated rows."""

    def start(tasks):
        data = write(folder / "rows.jsonl", rows(300, seed=1))
        command = ["student", "train", "--kind", "tagger", "--data", data, "--out", folder / "ticket.tagger"]
        (folder / "empty.toml").write_text("")
        if not (folder / "ticket.tagger").exists():
            import gateway

            bantam = gateway.Bantam(folder)
            bantam.config = folder / "empty.toml"
            report = bantam.json(*command)
            assert report["held_out_f1"] > 0.9 and report["slots"] == ["count", "day", "order", "product"]
        return serve(tasks=tasks)

    return start


def test_values_are_returned_as_an_object_that_matches_the_schema(serve_tagger, upstream):
    client = serve_tagger(TICKET.replace("ladder", OPEN)).client()
    answer = ask(client, "please send two Desk of order A-4711 on 7 May 2026", response_format=FORMAT)
    expected = {"order": "A-4711", "product": "desk", "day": "2026-05-07", "count": 2}
    assert json.loads(answer.choices[0].message.content) == expected
    assert answer.model_extra["bantam"]["tier"] == "local" and answer.model_extra["bantam"]["confidence"] > 0.5

    chunks = list(ask(client, "where is my lamp, order A-1234", response_format=FORMAT, stream=True))
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert json.loads(streamed) == {"order": "A-1234", "product": "lamp", "count": None}
    assert upstream.requests == []


def test_the_preceding_question_decides_the_slot(serve, folder, upstream):
    questions = {"people": "For how many people?", "time": "At what time?"}
    turns = [(str(number), slot) for number in range(10, 70) for slot in questions]
    lines = [{"text": text, "context": questions[slot], "slots": {slot: text}} for text, slot in turns]
    data = write(folder / "turns.jsonl", lines)
    task = TICKET.replace('schema = "ticket.json"\n', "").replace("ladder", OPEN)
    gateway = serve(tasks=task.replace('student = "ticket.tagger"\n', "").replace(OPEN, "ladder").replace('"student", ', ""))
    train = ["student", "train", "--kind", "tagger", "--data", data, "--out", folder / "ticket.tagger"]
    assert gateway.json(*train)["reads_context"]
    gateway.stop()
    client = serve(tasks=task).client()
    for slot, question in questions.items():
        messages = [
            {"role": "system", "content": "Fill in the form."},
            {"role": "user", "content": "A table, please."},
            {"role": "assistant", "content": question},
            {"role": "user", "content": "75"},
        ]
        answer = client.chat.completions.create(model="task/ticket", messages=messages)
        assert json.loads(answer.choices[0].message.content) == {slot: ["75"]}
    assert upstream.requests == []


def test_an_answer_that_does_not_match_the_schema_is_escalated(serve_tagger, upstream):
    gateway = serve_tagger(TICKET.replace("ladder", OPEN))
    answer = ask(gateway.client(), "where is my lamp")
    assert answer.choices[0].message.content == FROM_ABOVE
    assert answer.model_extra["bantam"]["escalated"] == ["invalid_output"]
    other = {"type": "json_schema", "json_schema": {"name": "other", "schema": {"type": "object"}}}
    assert ask(gateway.client(), "where is my lamp, order A-1234", response_format=other).choices[0].message.content == FROM_ABOVE
    explained = gateway.run("route", "--explain", "where is my lamp, order A-1234", "--model", "task/ticket")
    assert "order `A-1234` with probability" in explained and "accept" in explained


def test_a_certificate_is_valid_for_one_student_and_one_schema(serve_tagger, folder, upstream):
    gateway = serve_tagger(TICKET)
    text = "where is my lamp, order A-1234"
    assert ask(gateway.client(), text).model_extra["bantam"]["escalated"] == ["uncertified"]
    evidence = write(folder / "evidence.jsonl", rows(400, seed=2))
    output = gateway.run("certify", "ticket", "--error", "0.05", "--data", evidence)
    assert "certified" in output and "precision" in output and "order" in output
    gateway.stop()

    certified = serve_tagger(TICKET)
    answer = ask(certified.client(), text)
    assert answer.model_extra["bantam"]["tier"] == "local", answer.model_extra
    certified.stop()

    (folder / "ticket.json").write_text(json.dumps({**SCHEMA, "required": ["order"]}))
    changed = serve_tagger(TICKET)
    assert any("void" in line for line in changed.lines)
    assert ask(changed.client(), text).model_extra["bantam"]["escalated"] == ["uncertified"]


def test_a_student_can_be_trained_on_recorded_answers(serve, folder, upstream):
    recording = TICKET.replace('student = "ticket.tagger"\n', "").replace('schema = "ticket.json"\n', "")
    recording = recording.replace('["student", "small"]', '["small"]\nrecord = true')
    gateway = serve(tasks=recording)
    client = gateway.client()
    for number, row in enumerate(rows(60, seed=3)):
        recorded = {slot: values[0] for slot, values in row["slots"].items()}
        upstream.answer = Json(completion(json.dumps(recorded) if number else '{"order": "A-9999999"}'))
        ask(client, row["text"])
    out = folder / "recorded.tagger"
    gateway.settled(requests=60)
    report = gateway.json("student", "train", "--kind", "tagger", "--task", "ticket", "--out", out)
    assert out.exists() and 30 <= report["rows"] <= 59


def test_student_files_of_the_wrong_kind_are_refused(serve_tagger, folder):
    gateway = serve_tagger(TICKET)
    gateway.stop()
    labels = [{"text": f"{word} {number}", "label": word} for word in ("a", "b") for number in range(20)]
    data = write(folder / "labels.jsonl", labels)
    gateway.run("student", "train", "--data", data, "--out", folder / "a.student")
    gateway.config.write_text(gateway.config.read_text().replace('"ticket.tagger"', '"a.student"'))
    message = gateway.run("serve", code=1)
    assert "the student is a classifier; a tagger is needed" in message
    gateway.config.write_text(gateway.config.read_text().replace('"a.student"', '"ticket.tagger"').replace(
        'kind = "extract"', 'kind = "classify"').replace('schema = "ticket.json"\n', ""))
    assert "the student is a tagger; a classifier is needed" in gateway.run("serve", code=1)
    few = write(folder / "few.jsonl", rows(1, seed=4))
    message = gateway.run("student", "train", "--kind", "tagger", "--data", few, "--out", folder / "few.tagger", code=1)
    assert "1 rows are too few" in message
