"""A decoder trained from scratch, served to the official SDK as a task's student."""

import json

import pytest

from gateway import Bantam
from upstream import Json, completion

PRODUCTS = ("lamp", "tent", "mug", "desk")
SCHEMA = {
    "type": "object",
    "properties": {"product": {"enum": PRODUCTS}},
    "required": ["product"],
    "additionalProperties": False,
}
TASK = """
[tasks.order]
kind = "extract"
student = "order.student"
ladder = ["student", "small"]
"""
UNCERTIFIED = TASK + "allow_uncertified = true\nuncertified_threshold = 0.9\n"


def row(number):
    product = PRODUCTS[number * 7 % 4]
    text = (f"please send {number} {product}s", f"where is the {product} of order {number}")[number % 2]
    return {"text": text, "answer": {"product": product}}


@pytest.fixture(scope="session")
def student(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row(number)) + "\n" for number in range(240)))
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    trained = Bantam(folder).json(
        "student", "train", "--kind", "decoder", "--data", folder / "rows.jsonl", "--schema", folder / "schema.json",
        "--instructions", "Write the product.", "--size", "100k", "--epochs", "10", "--rate", "0.004",
        "--out", folder / "order.student",
    )
    assert trained["exact_match"] > 0.9
    return folder / "order.student"


def ask(client, text, **more):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="task/order", messages=messages, **more)


def test_an_uncertified_decoder_does_not_answer(serve, tmp_path, upstream, student):
    (tmp_path / "order.student").symlink_to(student)
    upstream.answer = Json(completion('{"product": "mug"}'))
    client = serve(tasks=TASK).client()
    assert ask(client, "7 desks please").model_extra["bantam"]["tier"] != "local", "it has no certificate"


def test_a_decoder_that_may_answer_does_so_at_once_and_as_a_stream(serve, tmp_path, upstream, student):
    (tmp_path / "order.student").symlink_to(student)
    upstream.answer = Json(completion('{"product": "mug"}'))
    client = serve(tasks=UNCERTIFIED).client()
    local = 0
    for number in range(500, 540):
        answer = ask(client, row(number)["text"])
        if answer.model_extra["bantam"]["tier"] == "local":
            local += 1
            assert json.loads(answer.choices[0].message.content) == row(number)["answer"]
            assert answer.usage.completion_tokens > 0
    assert local > 20
    chunks = list(ask(client, row(500)["text"], stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert json.loads(text).keys() == {"product"}
