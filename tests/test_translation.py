"""Histories that OpenAI's schema allows become ones that Anthropic's schema allows, or are refused by name.

The judges are the types of both official SDKs: every history is checked against OpenAI's first, and every body that the
simulated provider receives against Anthropic's, unknown members refused.
"""

import json
import random

import anthropic.types
import httpx2
import pydantic
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from openai.types.chat import ChatCompletion
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from typing_extensions import is_typeddict

from upstream import Events, Json

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "yes"}],
    "usage": {"input_tokens": 5, "output_tokens": 2},
}

# Pictures and documents cannot be scanned: they leave only where the policy says so.
MODELS = """
[privacy]
frontier = "restricted"

[upstreams.claude]
dialect = "anthropic"
base_url = "{url}"
path = "/messages"

[models.claude]
upstream = "claude"
tier = "frontier"
{more}
price = {{ input = 3.0, output = 15.0, as_of = "2026-11-01" }}
"""


def forbid_unknown_members(kinds):
    for kind in kinds:
        if is_typeddict(kind) and not hasattr(kind, "__pydantic_config__"):
            kind.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")


forbid_unknown_members([*vars(anthropic.types).values(), MessageCreateParamsNonStreaming])
# The SDK takes the blocks of its answers as well, and those may hold anything.
BLOCKS = {
    "text": anthropic.types.TextBlockParam,
    "image": anthropic.types.ImageBlockParam,
    "document": anthropic.types.DocumentBlockParam,
    "tool_use": anthropic.types.ToolUseBlockParam,
    "tool_result": anthropic.types.ToolResultBlockParam,
    "thinking": anthropic.types.ThinkingBlockParam,
    "redacted_thinking": anthropic.types.RedactedThinkingBlockParam,
}
ANTHROPIC = pydantic.TypeAdapter(MessageCreateParamsNonStreaming)
OPENAI = pydantic.TypeAdapter(CompletionCreateParamsNonStreaming)


def exhaust(value):
    """Reads what a validator leaves for later: lists are checked item by item as they are read."""
    if isinstance(value, dict):
        for inner in value.values():
            exhaust(inner)
    elif not isinstance(value, (str, bytes)) and hasattr(value, "__iter__"):
        for inner in value:
            exhaust(inner)


def judge(body):
    """Checks a body against Anthropic's types, and what its documentation says beyond them."""
    exhaust(ANTHROPIC.validate_python(body))
    uses, results = [], []
    for turn in body["messages"]:
        assert turn["content"], body
        for block in turn["content"]:
            exhaust(pydantic.TypeAdapter(BLOCKS[block["type"]]).validate_python(block))
            match block["type"]:
                case "text":
                    assert block["text"].strip(), body
                case "tool_use":
                    uses.append(block["id"])
                case "tool_result":
                    results.append(block["tool_use_id"])
    assert body["messages"], body
    assert sorted(uses) == sorted(results) == sorted(set(uses)), body
    assert not uses or body["tools"], body


@pytest.fixture
def ask(serve, upstream):
    """Returns a function that sends a history and returns the status with what was received, or with the error."""
    upstream.answer = Json(MESSAGE)
    gateway = serve(more=MODELS.format(url=upstream.url, more="output_tokens = 1_234"))
    with httpx2.Client(base_url=gateway.url, timeout=30) as client:

        def send(messages, **more):
            body = {"model": "claude", "messages": messages, **more}
            exhaust(OPENAI.validate_python(body))
            before = len(upstream.requests)
            answer = client.post("/v1/chat/completions", json=body)
            if answer.status_code != 200:
                assert len(upstream.requests) == before, "what is refused is not sent"
                return answer.status_code, answer.json()["error"]
            ChatCompletion.model_validate(answer.json(), strict=True)
            send.answers.append(answer.json())
            (request,) = upstream.requests[before:]
            judge(request.body)
            return 200, request.body

        send.answers = []
        send.client = client
        yield send


def call(id="c1", arguments="{}", name="f"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def user(content="hi"):
    return {"role": "user", "content": content}


def made(*calls):
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def result(id="c1", content="ok"):
    return {"role": "tool", "tool_call_id": id, "content": content}


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
HISTORIES = {
    "a call without arguments": [user(), made(call(arguments="")), result()],
    "an id of another provider": [user(), made(call(id="functions.f:0")), result("functions.f:0")],
    "the same id twice": [user(), made(call()), result(), made(call()), result()],
    "calls at once": [user(), made(call("a"), call("b")), result("b"), result("a"), user()],
    "an empty text": [user(), {"role": "assistant", "content": ""}, user("x")],
    "an empty part": [user([{"type": "text", "text": ""}, {"type": "text", "text": "x"}])],
    "an empty result": [user(), made(call()), result(content="")],
    "a refusal": [user(), {"role": "assistant", "content": None, "refusal": "never"}, user("x")],
    "the older form": [
        user(),
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
        {"role": "function", "name": "f", "content": "ok"},
    ],
    "instructions alone": [{"role": "system", "content": "be brief"}, {"role": "developer", "content": "say hi"}],
    "one role after another": [user("a"), user("b"), {"role": "assistant", "content": "c"}, user("d")],
    "a picture": [user([IMAGE, {"type": "text", "text": "what is this?"}])],
    "a document": [user([{"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}}])],
    "a mark": [user([{"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}])],
}


def test_histories_become_what_anthropics_types_allow(ask):
    for case, messages in HISTORIES.items():
        status, body = ask(messages)
        assert (case, status) == (case, 200), body
        assert body["max_tokens"] == 1_234


def test_what_is_refused_is_refused_by_name(ask):
    said = {"role": "assistant", "content": "x"}
    for messages, words in [
        ([user(), made(call(arguments="[1]")), result()], "messages[1]"),
        ([user(), made(call())], "messages[1]"),
        ([user(), result()], "messages[1]"),
        ([user(), said, user("")], "messages[2]"),
        ([{**user(), "name": "ada"}], "messages[0].name"),
        ([user([{"type": "file", "file": {"file_id": "file-1"}}])], "PDF"),
        ([user(), {**said, "audio": {"id": "a"}}, user()], "content of that kind"),
    ]:
        status, error = ask(messages)
        assert (status, error["param"]) == (400, "messages"), error
        assert words in error["message"], error


def test_harmless_hints_refuse_nothing(ask):
    status, body = ask(
        [user()],
        seed=7,
        store=True,
        logit_bias={},
        service_tier="auto",
        user="u",
        metadata={"a": "b"},
        prompt_cache_key="k",
        prompt_cache_options={"mode": "implicit"},
    )
    assert status == 200, body
    assert body["metadata"] == {"user_id": "u"}


def test_effort_schemas_and_strict_tools_have_their_place(ask):
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": schema}}
    tool = {"type": "function", "function": {"name": "f", "strict": True, "parameters": schema}}
    status, body = ask([user()], reasoning_effort="medium", response_format=form, tools=[tool])
    assert status == 200, body
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 8_192}
    assert body["max_tokens"] == 1_234 + 8_192
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert body["tools"][0]["strict"] is True


def test_a_call_without_arguments_comes_back_as_one_that_can_be_sent_again(ask, upstream):
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    upstream.answer = Json({**MESSAGE, "stop_reason": "tool_use", "content": [use]})
    assert ask([user()], tools=[{"type": "function", "function": {"name": "f"}}])[0] == 200
    said = ask.answers[-1]["choices"][0]["message"]
    assert said["tool_calls"][0]["function"]["arguments"] == "{}"
    status, body = ask([user(), said, result("toolu_1")])
    assert (status, body["messages"][1]["content"]) == (200, [use])


def random_message(dice):
    text = dice.choice(["", " ", "x", "so: ", "é\n"])
    parts = [{"type": "text", "text": text}, IMAGE, {"type": "text", "text": "y"}]
    ids = dice.sample(["c1", "c2", "", "f.g:0", "call_0"], dice.randint(1, 2))
    calls = [call(id, dice.choice(["", "{}", '{"a": 1}', "{}", "[1]"])) for id in ids]
    answered = ids if dice.random() < 0.9 else ids[1:]
    return dice.choice(
        [
            [user(text or "z")],
            [user(dice.sample(parts, dice.randint(1, 3)))],
            [{"role": dice.choice(["system", "developer"]), "content": text}],
            [{"role": "assistant", "content": text}],
            [{"role": "assistant", "content": None, "refusal": "never"}],
            [made(*calls), *(result(id, text) for id in answered)],
            [made(*calls), *(result(id) for id in reversed(answered))],
            [
                {"role": "assistant", "function_call": {"name": "f", "arguments": ""}},
                {"role": "function", "name": "f", "content": text},
            ],
        ]
    )


def test_any_history_of_the_schema_is_translated_or_refused_by_name(ask):
    dice = random.Random(14)
    sent = 0
    for _ in range(300):
        messages = [message for _ in range(dice.randint(1, 5)) for message in random_message(dice)]
        status, told = ask(messages)
        sent += status == 200
        if status != 200:
            assert (status, told["param"]) == (400, "messages"), (told, json.dumps(messages))
    assert sent > 150, f"{sent} of 300 histories were translated"


def test_thoughts_come_back_signed_and_can_be_sent_again(serve, upstream):
    thinking = [
        {"type": "thinking", "thinking": "The lamp.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
    ]
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    whole = {**MESSAGE, "stop_reason": "tool_use", "content": [*thinking, use]}
    events = [
        {"type": "message_start", "message": {**MESSAGE, "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "The lamp."}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": thinking[1]},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": use},
        {"type": "content_block_stop", "index": 2},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    upstream.answer = lambda request: Events(events, done=False) if request.body.get("stream") else Json(whole)
    client = serve(more=MODELS.format(url=upstream.url, more="")).client()
    tools = [{"type": "function", "function": {"name": "f"}}]
    asked = {"model": "claude", "tools": tools, "reasoning_effort": "low"}
    plain = client.chat.completions.create(messages=[user()], **asked).choices[0].message
    with client.chat.completions.stream(messages=[user()], **asked) as stream:
        streamed = stream.get_final_completion().choices[0].message
    for message in (plain, streamed):
        assert message.reasoning_content == "The lamp."
        said = message.model_dump(exclude_none=True)
        for call in said["tool_calls"]:
            call["function"].pop("parsed_arguments", None)
        client.chat.completions.create(messages=[user(), said, result("toolu_1")], **asked)
        sent = upstream.requests[-1].body
        judge(sent)
        assert sent["messages"][1]["content"] == [*thinking, use]
        assert sent["thinking"]["type"] == "enabled"


def test_every_parameter_of_the_sdk_is_known(ask):
    names = set(CompletionCreateParamsNonStreaming.__annotations__)
    for base in CompletionCreateParamsNonStreaming.__orig_bases__:
        names |= set(getattr(base, "__annotations__", {}))
    assert {"moderation", "prompt_cache_options"} <= names
    for name in sorted(names - {"model", "messages"}):
        answer = ask.client.post("/v1/chat/completions", json={"model": "claude", "messages": [user()], name: None})
        assert answer.status_code == 200, answer.json()
