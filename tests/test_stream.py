"""Streamed answers through the official SDK: chunks, usage, tool calls, failures and disconnects."""

import http.client
import json
import threading
from urllib.parse import urlsplit

import openai
import pytest

from upstream import USAGE, Endless, Events, Held, Json, chunk, completion, words

MESSAGES = [{"role": "user", "content": "say hello"}]


def text_of(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def test_a_stream_is_complete_and_its_last_chunk_has_bantams_note(client):
    chunks = list(client.chat.completions.create(model="small", messages=MESSAGES, stream=True))
    assert text_of(chunks) == "hello"
    assert chunks[-1].choices[0].finish_reason == "stop"
    note = chunks[-1].model_extra["bantam"]
    assert (note["model"], note["tier"], note["cost_usd"]) == ("small", "mid", pytest.approx(0.00014))
    assert all("bantam" not in (c.model_extra or {}) for c in chunks[:-1])


def test_usage_is_always_counted_but_only_returned_on_request(client, upstream):
    chunks = list(client.chat.completions.create(model="small", messages=MESSAGES, stream=True))
    assert all(c.choices for c in chunks) and all(c.usage is None for c in chunks)
    assert upstream.requests[0].body["stream_options"] == {"include_usage": True}
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="small", messages=MESSAGES, stream=True, stream_options=options))
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == USAGE["total_tokens"]
    assert chunks[-1].model_extra["bantam"]["cost_usd"] == pytest.approx(0.00014)
    assert all(c.usage is None for c in chunks[:-1])


def test_headers_precede_the_stream(client):
    raw = client.chat.completions.with_raw_response.create(model="large", messages=MESSAGES, stream=True)
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert raw.headers["x-bantam-tier"] == "frontier"
    chunks = list(raw.parse())
    assert chunks[-1].model_extra["bantam"]["request_id"] == raw.headers["x-request-id"]


async def test_the_async_client_streams(gateway):
    async with gateway.async_client() as client:
        stream = await client.chat.completions.create(model="auto", messages=MESSAGES, stream=True)
        chunks = [c async for c in stream]
    assert text_of(chunks) == "hello"


def test_each_chunk_is_forwarded_immediately(client, upstream):
    resume = threading.Event()
    first, *rest = words("hel", "lo")
    upstream.answer = Events([first, rest[0], resume, *rest[1:]])
    with client.chat.completions.create(model="small", messages=MESSAGES, stream=True) as stream:
        chunks = iter(stream)
        early = [next(chunks), next(chunks)]
        # The upstream is still waiting for the event, so it cannot have finished.
        assert text_of(early) == "hel" and not resume.is_set()
        resume.set()
        assert text_of(chunks) == "lo"


def tool_call_chunks():
    def piece(index, arguments, **more):
        return {"index": index, "function": {"arguments": arguments, **more.pop("function", {})}, **more}

    head = {"id": "call_1", "type": "function", "function": {"name": "weather"}}
    other = {"id": "call_2", "type": "function", "function": {"name": "time"}}
    return [
        chunk({"role": "assistant", "content": None}),
        chunk({"tool_calls": [piece(0, "", **head)]}),
        chunk({"tool_calls": [piece(0, '{"ci')]}),
        chunk({"tool_calls": [piece(0, 'ty": "Oslo"}')]}),
        chunk({"tool_calls": [piece(1, "{}", **other)]}),
        chunk(finish="tool_calls"),
        chunk(choices=[], usage=USAGE),
    ]


def test_tool_calls_arrive_in_chunks(client, upstream):
    upstream.answer = Events(tool_call_chunks())
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    chunks = list(client.chat.completions.create(model="small", messages=MESSAGES, stream=True, tools=[tool]))
    deltas = [delta for c in chunks for delta in c.choices[0].delta.tool_calls or []]
    assert [delta.index for delta in deltas] == [0, 0, 0, 1]
    assert (deltas[0].id, deltas[0].function.name) == ("call_1", "weather")
    assert json.loads("".join(delta.function.arguments for delta in deltas[:3])) == {"city": "Oslo"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert upstream.requests[0].body["tools"] == [tool]


def test_the_sdks_helper_assembles_a_stream(client, upstream):
    upstream.answer = Events(tool_call_chunks())
    with client.chat.completions.stream(model="small", messages=MESSAGES) as stream:
        events = [event.type for event in stream]
        answer = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in events
    assert [call.function.name for call in answer.choices[0].message.tool_calls] == ["weather", "time"]


def test_several_answers_and_log_probabilities_stream_interleaved(client, upstream):
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}

    def choice(index, content, finish=None):
        delta = {"content": content} if content else {}
        logprobs = {"content": [token]} if content else None
        return {"index": index, "delta": delta, "finish_reason": finish, "logprobs": logprobs}

    upstream.answer = Events(
        [
            chunk(choices=[choice(0, "a")]),
            chunk(choices=[choice(1, "b")]),
            chunk(choices=[choice(0, None, "stop")]),
            chunk(choices=[choice(1, "c")]),
            chunk(choices=[choice(1, None, "length")]),
        ]
    )
    chunks = list(client.chat.completions.create(model="small", messages=MESSAGES, stream=True, n=2, logprobs=True))
    texts = {0: "", 1: ""}
    for c in chunks:
        texts[c.choices[0].index] += c.choices[0].delta.content or ""
    assert texts == {0: "a", 1: "bc"}
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop", "length"]
    assert chunks[0].choices[0].logprobs.content[0].logprob == -0.5
    assert "bantam" in chunks[-1].model_extra


def test_a_failure_before_the_first_chunk_escalates(serve, upstream):
    client = serve(fake="retries_max = 0").client()
    broken = Json({"error": {"message": "out of order"}}, status=500)
    upstream.answer = lambda request: broken if request.body["model"] == "fake-small" else Events(words("from above"))
    chunks = list(client.chat.completions.create(model="auto", messages=MESSAGES, stream=True))
    assert text_of(chunks) == "from above"
    assert chunks[-1].model_extra["bantam"]["escalated"] == ["error"]


def test_a_truncated_stream_ends_with_an_error(gateway, upstream):
    upstream.answer = Events(words("hel", "lo")[:3], done=False)
    seen = []
    with pytest.raises(openai.APIError) as caught:
        for c in gateway.client().chat.completions.create(model="auto", messages=MESSAGES, stream=True):
            seen.append(c)
    assert text_of(seen) == "hello"
    assert caught.value.code == "stream_broken"
    assert len(upstream.requests) == 1, "nothing escalates after the first byte"
    gateway.settled(requests=1, failed=1)


def test_an_error_in_mid_stream_is_reported_without_the_upstreams_text(client, upstream):
    upstream.answer = Events([*words("hel")[:2], {"error": {"message": "secret words of the upstream"}}])
    with pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(model="small", messages=MESSAGES, stream=True))
    assert caught.value.code == "stream_broken"
    assert "secret words" not in str(caught.value)


def test_an_endless_stream_is_cut_off_at_the_limit(serve, upstream):
    gateway = serve(fake="response_bytes_max = 65_536")
    upstream.answer = Endless()
    with pytest.raises(openai.APIError) as caught:
        list(gateway.client().chat.completions.create(model="small", messages=MESSAGES, stream=True))
    assert caught.value.code == "stream_broken"
    assert upstream.left.wait(30), "the gateway did not disconnect from the upstream"
    gateway.settled(failed=1)


def test_a_disconnect_in_mid_stream_stops_the_upstream_and_settles_the_request(gateway, upstream):
    upstream.answer = Endless()
    client = gateway.client()
    with client.chat.completions.create(model="small", messages=MESSAGES, stream=True) as stream:
        next(iter(stream))
    client.close()
    assert upstream.left.wait(30), "the gateway did not disconnect from the upstream"
    usage = gateway.settled(requests=1, cancelled=1)
    assert usage["requests_unpriced"] == 1, "uncounted tokens are never treated as free"


def test_a_completion_instead_of_a_stream_is_streamed(client, upstream):
    upstream.answer = Json(completion("all at once"))
    chunks = list(client.chat.completions.create(model="small", messages=MESSAGES, stream=True))
    assert text_of(chunks) == "all at once"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_stream_instead_of_a_completion_is_put_together(client, upstream):
    upstream.answer = Events(words("hel", "lo"))
    answer = client.chat.completions.create(model="small", messages=MESSAGES)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("hello", "stop")
    assert answer.usage.total_tokens == USAGE["total_tokens"]


def test_a_caller_who_waits_gets_the_head_and_comments_in_time(serve, upstream):
    gateway = serve(server="stream_keep_alive_ms = 50")
    release = threading.Event()
    upstream.answer = Held(release, Events(words("hel", "lo")))
    connection = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=30)
    request = json.dumps({"model": "small", "messages": MESSAGES, "stream": True})
    connection.request("POST", "/v1/chat/completions", request, {"content-type": "application/json"})
    response = connection.getresponse()
    # The upstream has sent nothing, and will not before it is released.
    assert response.status == 200 and response.getheader("x-bantam-tier") is None
    assert [response.readline() for _ in range(4)] == [b": keep-alive\n", b"\n"] * 2
    release.set()
    rest = response.read().decode()
    assert rest.endswith("data: [DONE]\n\n") and '"tier":"mid"' in rest
    connection.close()
    gateway.settled(requests=1, failed=0)


def test_the_sdk_reads_a_late_answer_and_a_late_failure(serve, upstream):
    gateway = serve(server="stream_keep_alive_ms = 50", fake="retries_max = 0")
    for late, fails in [(Events(words("hel", "lo")), False), (Json({"error": {"message": "x"}}, status=500), True)]:
        release = threading.Event()
        upstream.answer = Held(release, late)
        stream = gateway.client().chat.completions.create(model="small", messages=MESSAGES, stream=True)
        release.set()
        if fails:
            with pytest.raises(openai.APIError) as caught:
                list(stream)
            assert caught.value.code == "upstream_failed"
        else:
            assert text_of(stream) == "hello"
    gateway.settled(requests=2, failed=1)
