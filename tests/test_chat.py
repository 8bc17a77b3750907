"""Non-streamed answers through the official SDK: what arrives, what is forwarded, and what Bantam adds."""

import json

import httpx2
import openai
import pytest
from pydantic import BaseModel

from upstream import Json, completion

MESSAGES = [{"role": "user", "content": "say hello"}]


def test_an_answer_arrives_unchanged(client, upstream):
    answer = client.chat.completions.create(model="small", messages=MESSAGES)
    assert answer.choices[0].message.content == "hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 120
    assert answer.id == "chatcmpl-upstream"
    [request] = upstream.requests
    assert request.path == "/v1/chat/completions"
    assert request.body == {"model": "fake-small", "messages": MESSAGES}


def test_the_callers_key_is_not_sent_to_the_upstream(gateway, upstream):
    gateway.client(api_key="sk-callers-own").chat.completions.create(model="small", messages=MESSAGES)
    [request] = upstream.requests
    assert "authorization" not in request.headers
    assert "sk-callers-own" not in str(request)


def test_the_upstreams_own_key_is_sent(serve, upstream):
    gateway = serve(fake='api_key_env = "FAKE_KEY"', env={"FAKE_KEY": "sk-of-the-upstream"})
    gateway.client().chat.completions.create(model="small", messages=MESSAGES)
    assert upstream.requests[0].headers["authorization"] == "Bearer sk-of-the-upstream"


def test_headers_and_body_agree_on_how_a_request_was_routed(client):
    raw = client.chat.completions.with_raw_response.create(model="large", messages=MESSAGES)
    note = raw.parse().model_extra["bantam"]
    # 100 input tokens at $10 and 20 output tokens at $20 per million.
    assert note["cost_usd"] == pytest.approx(0.0014)
    assert note["tier"] == "frontier" and note["model"] == "large"
    assert note["task"] is None and note["confidence"] is None and note["escalated"] == []
    assert raw.headers["x-request-id"] == note["request_id"]
    assert raw.headers["x-bantam-tier"] == "frontier"
    assert raw.headers["x-bantam-model"] == "large"
    assert raw.headers["x-bantam-escalated"] == "no"
    assert float(raw.headers["x-bantam-cost-usd"]) == note["cost_usd"]
    assert "x-bantam-task" not in raw.headers


def test_cached_tokens_are_charged_at_their_own_price(client, upstream):
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    upstream.answer = Json(completion(usage={**usage, "prompt_tokens_details": {"cached_tokens": 60}}))
    answer = client.chat.completions.create(model="large", messages=MESSAGES)
    assert answer.usage.prompt_tokens_details.cached_tokens == 60
    assert answer.model_extra["bantam"]["cost_usd"] == pytest.approx((40 * 10 + 60 * 5 + 20 * 20) / 1e6)


async def test_the_async_client_works(gateway):
    async with gateway.async_client() as client:
        answer = await client.chat.completions.create(model="auto", messages=MESSAGES)
        raw = await client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)
        page = await client.models.list()
    assert answer.choices[0].message.content == "hello"
    assert raw.headers["x-bantam-model"] == "small"
    assert "auto" in [model.id for model in page.data]


def test_auto_starts_with_the_lowest_rung(client, upstream):
    answer = client.chat.completions.create(model="auto", messages=MESSAGES)
    assert [request.body["model"] for request in upstream.requests] == ["fake-small"]
    assert answer.model_extra["bantam"]["model"] == "small"


def test_auto_escalates_to_the_next_rung_when_one_fails(serve, upstream):
    client = serve(fake="retries_max = 0").client()
    broken = Json({"error": {"message": "out of order"}}, status=500)
    upstream.answer = lambda request: broken if request.body["model"] == "fake-small" else Json(completion("from above"))
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)
    assert raw.parse().choices[0].message.content == "from above"
    assert raw.parse().model_extra["bantam"]["escalated"] == ["error"]
    assert raw.headers["x-bantam-escalated"] == "error"


def test_a_named_model_has_no_fallback(serve, upstream):
    client = serve(fake="retries_max = 0").client()
    upstream.answer = Json({"error": {"message": "out of order"}}, status=500)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="small", messages=MESSAGES)
    assert [request.body["model"] for request in upstream.requests] == ["fake-small"]


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}


def test_tools_pass_through_in_both_directions(client, upstream):
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    upstream.answer = Json(completion(message=message, finish_reason="tool_calls"))
    answer = client.chat.completions.create(
        model="small", messages=MESSAGES, tools=[TOOL], tool_choice="required", parallel_tool_calls=False
    )
    [call] = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert (call.id, call.function.name, json.loads(call.function.arguments)) == ("call_1", "weather", {"city": "Oslo"})
    sent = upstream.requests[0].body
    assert sent["tools"] == [TOOL] and sent["tool_choice"] == "required" and sent["parallel_tool_calls"] is False
    upstream.answer = Json(completion("It is cold."))
    turn = [*MESSAGES, message, {"role": "tool", "tool_call_id": "call_1", "content": "-3 °C"}]
    client.chat.completions.create(model="small", messages=turn, tools=[TOOL])
    assert upstream.requests[1].body["messages"] == turn


def test_every_known_parameter_is_forwarded_unchanged(client, upstream):
    parameters = {
        "temperature": 0.25,
        "top_p": 0.5,
        "seed": 7,
        "stop": ["END"],
        "max_completion_tokens": 64,
        "presence_penalty": -0.5,
        "frequency_penalty": 0.5,
        "logit_bias": {"50256": -100},
        "user": "someone",
        "metadata": {"team": "desk"},
        "reasoning_effort": "low",
        "service_tier": "flex",
        "store": False,
        "response_format": {"type": "json_object"},
    }
    client.chat.completions.create(model="small", messages=MESSAGES, **parameters)
    assert upstream.requests[0].body == {"model": "fake-small", "messages": MESSAGES, **parameters}


def test_structured_outputs_are_parsed_by_the_sdk(client, upstream):
    class Ticket(BaseModel):
        subject: str
        urgent: bool

    upstream.answer = Json(completion('{"subject": "lamp", "urgent": true}'))
    answer = client.chat.completions.parse(model="small", messages=MESSAGES, response_format=Ticket)
    assert answer.choices[0].message.parsed == Ticket(subject="lamp", urgent=True)
    sent = upstream.requests[0].body["response_format"]
    assert sent["type"] == "json_schema" and sent["json_schema"]["strict"] is True


def test_a_refusal_arrives(client, upstream):
    upstream.answer = Json(completion(message={"role": "assistant", "content": None, "refusal": "I would rather not."}))
    answer = client.chat.completions.create(model="small", messages=MESSAGES)
    assert answer.choices[0].message.refusal == "I would rather not."


def test_log_probabilities_and_several_answers_arrive(client, upstream):
    token = {"token": "hi", "logprob": -0.1, "bytes": [104, 105], "top_logprobs": []}
    choice = {"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop", "logprobs": {"content": [token]}}
    body = completion()
    body["choices"] = [{"index": index, **choice} for index in range(2)]
    upstream.answer = Json(body)
    answer = client.chat.completions.create(model="small", messages=MESSAGES, n=2, logprobs=True, top_logprobs=1)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[1].logprobs.content[0].logprob == -0.1
    sent = upstream.requests[0].body
    assert (sent["n"], sent["logprobs"], sent["top_logprobs"]) == (2, True, 1)


def test_images_are_too_sensitive_to_leave(client, upstream):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "what is this"}, picture]}]
    with pytest.raises(openai.ConflictError):
        client.chat.completions.create(model="large", messages=messages)
    assert upstream.requests == []


def test_models_are_listed_and_retrieved_by_name(client):
    assert [model.id for model in client.models.list()] == ["auto", "large", "small"]
    assert client.models.retrieve("small").owned_by == "bantam"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("smal")
    assert caught.value.code == "model_not_found"


def test_health_probes_need_no_key(serve):
    gateway = serve(server='api_key_envs = ["CALLER_KEY"]', env={"CALLER_KEY": "0123456789abcdef" * 2})
    assert httpx2.get(f"{gateway.url}/healthz").json() == {"status": "alive"}
    assert httpx2.get(f"{gateway.url}/readyz").json() == {"status": "ready"}
