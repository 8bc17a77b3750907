"""Models that run in the gateway, called by the official SDK: chat, completions, embeddings, tools and schemas."""

import base64
import json
import math
import os
import struct
from pathlib import Path

import openai
import pytest

import models
from upstream import Json

SHARED = Path(os.environ.get("BANTAM_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared/data"))
STORIES = SHARED / "models/stories260Ktok512.gguf"

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["refund", "praise"]}, "urgent": {"type": "boolean"}},
    "required": ["kind", "urgent"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": SCHEMA}}
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def local(serve, tmp_path):
    """A gateway with a language model `tiny` and an encoder `vectors`, both with random weights."""
    models.language_model(tmp_path / "tiny.gguf")
    models.encoder(tmp_path / "encoder")
    more = '[models.tiny]\nfile = "tiny.gguf"\n[models.vectors]\nfile = "encoder"\n'
    return serve(more=more)


def test_local_models_are_listed(local):
    assert {"tiny", "vectors"} <= {model.id for model in local.client().models.list()}


def test_chat_is_free_and_streams_the_same_answer(local, upstream):
    client = local.client()
    ask = {"model": "tiny", "messages": HELLO, "max_tokens": 12, "temperature": 0}
    whole = client.chat.completions.create(**ask)
    note = whole.model_extra["bantam"]
    assert (note["tier"], note["model"], note["cost_usd"]) == ("local", "tiny", 0)
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert streamed == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert upstream.requests == []
    assert local.settled(requests=2, answered=2)["answered_by_tier"]["local"] == 2


def test_answers_match_the_schema_even_with_random_weights(local):
    answer = local.client().chat.completions.create(
        model="tiny",
        messages=HELLO,
        response_format={"type": "json_schema", "json_schema": {"name": "ticket", "strict": True, "schema": SCHEMA}},
    )
    ticket = json.loads(answer.choices[0].message.content)
    assert ticket["kind"] in ("refund", "praise") and isinstance(ticket["urgent"], bool)


def test_a_required_tool_is_called_with_valid_arguments(local):
    answer = local.client().chat.completions.create(model="tiny", messages=HELLO, tools=[TOOL], tool_choice="required")
    (call,) = answer.choices[0].message.tool_calls
    assert (answer.choices[0].finish_reason, call.function.name) == ("tool_calls", "look_up")
    assert json.loads(call.function.arguments)["kind"] in ("refund", "praise")


def test_n_seed_stop_and_logprobs_work(local):
    client = local.client()
    ask = {"model": "tiny", "messages": HELLO, "max_tokens": 10}
    several = client.chat.completions.create(**ask, n=3, seed=5, logprobs=True, top_logprobs=2)
    texts = [choice.message.content for choice in several.choices]
    assert len(set(texts)) > 1
    again = client.chat.completions.create(**ask, n=3, seed=5)
    assert [choice.message.content for choice in again.choices] == texts
    for token in several.choices[0].logprobs.content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 2
    greedy = client.chat.completions.create(**ask, temperature=0).choices[0].message.content
    stopped = client.chat.completions.create(**ask, temperature=0, stop=greedy[3]).choices[0]
    assert stopped.message.content == greedy[: greedy.index(greedy[3])] and stopped.finish_reason == "stop"


def test_completions_work_at_once_and_streamed(local):
    client = local.client()
    ask = {"model": "tiny", "prompt": "once upon", "temperature": 0, "max_tokens": 9}
    whole = client.completions.create(**ask, logprobs=1)
    assert whole.object == "text_completion" and whole.usage.prompt_tokens == 9
    assert len(whole.choices[0].logprobs.tokens) == whole.usage.completion_tokens
    assert whole.model_extra["bantam"]["tier"] == "local"
    chunks = list(client.completions.create(**ask, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole.choices[0].text
    assert chunks[-1].model_extra["bantam"]["model"] == "tiny"


def test_fill_in_the_middle_works_and_caches_the_prefix(local):
    client = local.client()
    before = "def area(radius):\n    return " * 8
    ask = {"model": "tiny", "suffix": "\n\nprint(area(2))\n", "max_tokens": 4, "temperature": 0}
    first = client.completions.create(prompt=before, **ask)
    assert first.usage.prompt_tokens == len(before) + len(ask["suffix"]) + 3
    typed = client.completions.create(prompt=before + "math", **ask)
    assert typed.usage.prompt_tokens_details.cached_tokens >= len(before) // 2


def test_embeddings_are_unit_vectors_in_both_encodings(local):
    client = local.client()
    texts = ["card lost", "refund ?", "card lost"]
    packed = client.embeddings.create(model="vectors", input=texts)
    plain = client.embeddings.create(model="vectors", input=texts, encoding_format="float")
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert math.fsum(number**2 for number in one.embedding) == pytest.approx(1, abs=1e-4)
    assert packed.data[0].embedding == packed.data[2].embedding != packed.data[1].embedding
    assert packed.usage.prompt_tokens == 3 * 4 and packed.model_extra["bantam"]["cost_usd"] == 0
    short = client.embeddings.create(model="vectors", input="card", dimensions=4).data[0].embedding
    assert len(short) == 4 and math.fsum(number**2 for number in short) == pytest.approx(1, abs=1e-4)


def test_a_request_that_a_model_cannot_serve_is_refused_with_the_reason(local):
    client = local.client()
    cases = [
        (lambda: client.embeddings.create(model="tiny", input="a"), "model", "/v1/embeddings"),
        (lambda: client.embeddings.create(model="vectors", input="card " * 40), "input", "42 tokens"),
        (lambda: client.embeddings.create(model="vectors", input=[[1, 2]]), "input", "send text"),
        (lambda: client.embeddings.create(model="vectors", input="a", dimensions=33), "dimensions", "dimensions"),
        (lambda: client.completions.create(model="vectors", prompt="a"), "model", "/v1/completions"),
        (lambda: client.completions.create(model="tiny", prompt="a" * 1024), "prompt", "1024 tokens"),
        (lambda: client.completions.create(model="tiny", prompt="a", echo=True), "echo", "echo"),
        (lambda: client.completions.create(model="task/none", prompt="a"), "model", "none"),
    ]
    for ask, param, words in cases:
        with pytest.raises(openai.APIStatusError) as caught:
            ask()
        error = caught.value
        assert (error.status_code in (400, 404), error.param) == (True, param), error.message
        assert words in error.message
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    with pytest.raises(openai.BadRequestError, match="one of null, boolean"):
        client.chat.completions.create(model="tiny", messages=HELLO, response_format=bad)


def test_embeddings_and_completions_of_an_upstream_pass_through_and_are_priced(serve, upstream):
    numbers = base64.b64encode(struct.pack("<2f", 0.5, -0.5)).decode()
    vectors = {"object": "list", "model": "fake", "data": [{"object": "embedding", "index": 0, "embedding": numbers}]}
    text = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "fake"}
    text |= {"choices": [{"index": 0, "text": "world", "logprobs": None, "finish_reason": "stop"}]}
    read = {"prompt_tokens": 1000, "total_tokens": 1000}
    wrote = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}

    def answer(request):
        if request.path.endswith("/embeddings"):
            return Json(vectors | {"usage": read})
        return Json(text | {"usage": wrote})

    upstream.answer = answer
    gateway = serve()
    client = gateway.client()
    assert client.embeddings.create(model="small", input="hi").data[0].embedding == [0.5, -0.5]
    assert client.completions.create(model="small", prompt="hello").choices[0].text == "world"
    assert [request.path.rsplit("/", 1)[1] for request in upstream.requests] == ["embeddings", "completions"]
    assert upstream.requests[0].body == {"model": "fake-small", "input": "hi", "encoding_format": "base64"}
    assert float(gateway.settled(requests=2, answered=2)["spend_usd"]) == pytest.approx(0.003)


def test_sensitive_text_does_not_leave_through_other_endpoints(serve, upstream):
    client = serve().client()
    for ask in (
        lambda: client.embeddings.create(model="small", input=["hi", "my card is 4111 1111 1111 1111"]),
        lambda: client.completions.create(model="small", prompt="hi", suffix="card 4111 1111 1111 1111"),
    ):
        with pytest.raises(openai.ConflictError, match="card"):
            ask()
    assert upstream.requests == []


@pytest.mark.skipif(not STORIES.exists(), reason="needs stories260Ktok512.gguf: set BANTAM_SHARED_DATA")
def test_a_real_tiny_model_writes_a_story(serve):
    client = serve(more=f'[models.stories]\nfile = "{STORIES}"\n').client()
    story = client.completions.create(model="stories", prompt="Once upon a time", max_tokens=40, temperature=0)
    assert "there was a little" in story.choices[0].text
    chat = client.chat.completions.create(
        model="stories",
        messages=HELLO,
        response_format={"type": "json_schema", "json_schema": {"name": "ticket", "schema": SCHEMA}},
    )
    assert set(json.loads(chat.choices[0].message.content)) == {"kind", "urgent"}
