"""Tasks: a certified student answers, unsure answers escalate, and every answer is one of the labels."""

import json
import shutil

import openai
import pytest

import rows
from upstream import Json, completion

SURE = "hello there, please refund the kettle thanks"
UNSURE = "i have a question about the kettle"
SENSITIVE = "hello there, please refund the kettle, i want my money back for the kettle jane.roe@example.com"


def ask(client, text, **changes):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(**{"model": "task/desk", "messages": messages, **changes})


def test_the_student_is_certified_on_held_out_rows(desk):
    assert desk.trained["labels"] == len(rows.ASKS)
    assert desk.certified["certified"] is True
    assert desk.certified["error_max"] == 0.02 and 0 < desk.certified["threshold"] <= 1
    assert 300 < desk.certified["accepted"] < desk.certified["rows"], "ambiguous rows are not accepted"


def test_a_certified_student_answers_alone(with_desk, upstream):
    gateway = with_desk()
    raw = gateway.client().chat.completions.with_raw_response.create(
        model="task/desk", messages=[{"role": "user", "content": SURE}]
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == "refund"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    note = answer.model_extra["bantam"]
    assert (note["task"], note["tier"], note["cost_usd"], note["escalated"]) == ("desk", "local", 0, [])
    assert 0.5 < note["confidence"] <= 1
    assert raw.headers["x-bantam-task"] == "desk" and raw.headers["x-bantam-tier"] == "local"
    assert float(raw.headers["x-bantam-confidence"]) == note["confidence"]
    assert upstream.requests == []
    usage = gateway.settled(requests=1, answered=1)
    assert usage["answered_by_tier"] == {"local": 1, "mid": 0, "frontier": 0}
    assert float(usage["savings"]["saved_usd"]) > 0 and float(usage["spend_usd"]) == 0


@pytest.mark.parametrize("include_usage", [False, True])
def test_the_student_also_answers_as_a_stream(with_desk, include_usage):
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    chunks = list(ask(with_desk().client(), SURE, stream=True, **options))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "refund"
    assert chunks[-1].model_extra["bantam"]["tier"] == "local"
    assert (chunks[-1].usage is not None) == include_usage
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


def test_a_header_can_name_the_task(with_desk):
    client = with_desk().client()
    answer = ask(client, SURE, model="auto", extra_headers={"x-bantam-task": "desk"})
    assert answer.model_extra["bantam"]["task"] == "desk"
    assert answer.choices[0].message.content == "refund"


def test_an_unsure_answer_escalates_with_the_tasks_instructions(with_desk, upstream):
    gateway = with_desk()
    upstream.answer = Json(completion(" Password. "))
    answer = ask(gateway.client(), UNSURE)
    assert answer.choices[0].message.content == "password", "the answer is normalised to a label"
    note = answer.model_extra["bantam"]
    assert note["tier"] == "mid" and note["escalated"] in (["low_confidence"], ["out_of_scope"])
    [request] = upstream.requests
    system, user = request.body["messages"]
    assert system["role"] == "system" and all(label in system["content"] for label in rows.LABELS)
    assert user == {"role": "user", "content": UNSURE}
    usage = gateway.settled(requests=1, attempts=2)
    assert sum(usage["escalations"].values()) == 1


def test_the_callers_own_instructions_are_kept(with_desk, upstream):
    upstream.answer = Json(completion("refund"))
    messages = [{"role": "system", "content": "Sort this."}, {"role": "user", "content": UNSURE}]
    with_desk().client().chat.completions.create(model="task/desk", messages=messages)
    assert upstream.requests[0].body["messages"] == messages


def test_an_answer_that_is_not_a_label_is_never_returned(with_desk, upstream):
    gateway = with_desk()
    answers = {"fake-small": Json(completion("I think they want a refund or a pony")), "fake-large": Json(completion("refund"))}
    upstream.answer = lambda request: answers[request.body["model"]]
    note = ask(gateway.client(), UNSURE).model_extra["bantam"]
    assert note["model"] == "large" and note["escalated"][-1] == "invalid_output"
    answers["fake-large"] = Json(completion("pony"))
    for stream in [False, True]:
        with pytest.raises(openai.InternalServerError) as caught:
            ask(gateway.client(), UNSURE, stream=stream)
        assert caught.value.code == "upstream_failed"
        assert "pony" not in caught.value.message


def test_without_a_certificate_the_student_never_answers_alone(with_desk, upstream):
    upstream.answer = Json(completion("refund"))
    note = ask(with_desk(certified=False).client(), SURE).model_extra["bantam"]
    assert note["tier"] == "mid"
    assert len(upstream.requests) == 1


def test_the_configuration_can_allow_an_uncertified_student(with_desk, upstream):
    lines = "allow_uncertified = true\nuncertified_threshold = 0.3"
    note = ask(with_desk(lines, certified=False).client(), SURE).model_extra["bantam"]
    assert note["tier"] == "local" and upstream.requests == []


def test_a_certificate_is_void_for_another_student(with_desk, desk, upstream, tmp_path):
    gateway = with_desk()
    upstream.answer = Json(completion("refund"))
    assert ask(gateway.client(), SURE).model_extra["bantam"]["tier"] == "local"
    data = rows.write(tmp_path / "other.jsonl", rows.make(300, seed=9))
    gateway.run("student", "train", "--data", data, "--out", tmp_path / "other.student")
    shutil.move(tmp_path / "other.student", tmp_path / "desk.student")
    gateway.wait_for_line("is void for")
    gateway.wait_for_line("the configuration was reloaded")
    assert ask(gateway.client(), SURE).model_extra["bantam"]["tier"] == "mid"


def test_a_sensitive_request_is_answered_locally_or_not_at_all(with_desk, upstream):
    client = with_desk().client()
    answer = ask(client, SENSITIVE)
    assert (answer.choices[0].message.content, answer.model_extra["bantam"]["tier"]) == ("refund", "local")
    with pytest.raises(openai.ConflictError):
        ask(client, f"{UNSURE} jane.roe@example.com")
    assert upstream.requests == []


def test_answers_are_json_if_the_task_says_so(with_desk, upstream):
    gateway = with_desk('answer_key = "intent"')
    assert json.loads(ask(gateway.client(), SURE).choices[0].message.content) == {"intent": "refund"}
    upstream.answer = Json(completion('```json\n{"intent": "password"}\n```'))
    assert json.loads(ask(gateway.client(), UNSURE).choices[0].message.content) == {"intent": "password"}


def test_requests_with_tools_or_several_answers_bypass_the_student(with_desk, upstream):
    upstream.answer = Json(completion("refund"))
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    gateway = with_desk()
    for changes in [{"tools": [tool]}, {"n": 2}, {"logprobs": True}]:
        answered = len(upstream.requests)
        assert ask(gateway.client(), SURE, **changes).model_extra["bantam"]["tier"] == "mid"
        assert len(upstream.requests) == answered + 1


def test_a_student_can_be_trained_on_recorded_answers(serve, upstream, tmp_path):
    labels = ["order_status", "refund", "password", "oos"]
    task = f'[tasks.learn]\nkind = "classify"\nlabels = {json.dumps(labels)}\nrecord = true\n'
    gateway = serve(tasks=task)
    truth = {row["text"]: row["label"] for row in rows.make(120, seed=4)}
    upstream.answer = lambda request: Json(completion(truth[request.body["messages"][-1]["content"]]))
    client = gateway.client()
    for text in truth:
        ask(client, text, model="task/learn")
    # Settled requests reach the tables with a short delay.
    gateway.settled(requests=120, answered=120)
    out = tmp_path / "learn.student"
    trained = gateway.json("student", "train", "--task", "learn", "--out", out)
    assert 60 < trained["rows"] < 120, "a quarter is held out for certification"
    given = rows.write(tmp_path / "ask.jsonl", [{"text": SURE}])
    lines = gateway.run("student", "predict", "--student", out, "--input", given).splitlines()
    assert [json.loads(line)["label"] for line in lines] == ["refund"]
    assert set(json.loads(lines[0])) == {"label", "probability", "out_of_scope"}


def test_sensitive_requests_are_not_recorded(serve, upstream):
    task = '[tasks.learn]\nkind = "classify"\nlabels = ["a", "b"]\nrecord = true\n'
    gateway = serve(tasks=task, more='[privacy]\nmid = "restricted"')
    upstream.answer = Json(completion("a"))
    ask(gateway.client(), "jane.roe@example.com asks", model="task/learn")
    gateway.settled(requests=1, answered=1)
    assert "no recorded answers" in gateway.run("student", "train", "--task", "learn", "--out", "x.student", code=1)
    for file in gateway.folder.glob("ledger.sqlite*"):
        for part in [file] if file.is_file() else file.rglob("*"):
            assert not part.is_file() or b"jane.roe" not in part.read_bytes()
