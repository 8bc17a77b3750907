"""Bad input, refusals and broken upstreams: each raises the SDK's own class, and nothing is forwarded."""

import threading

import httpx2
import openai
import pytest

from gateway import wait_until
from upstream import Held, Json, Raw, completion

MESSAGES = [{"role": "user", "content": "say hello"}]
SENSITIVE = [{"role": "user", "content": "my mail is jane.roe@example.com, call me"}]


def ask(client, **changes):
    return client.chat.completions.create(**{"model": "small", "messages": MESSAGES, **changes})


@pytest.mark.parametrize(
    ("changes", "param", "code", "words"),
    [
        ({"extra_body": {"temprature": 1}}, "temprature", "unknown_parameter", "did you mean `temperature`"),
        ({"extra_body": {"zzz": 1}}, "zzz", "unknown_parameter", "zzz"),
        ({"temperature": "warm"}, "temperature", "invalid_value", "a number from 0 to 2"),
        ({"temperature": 3}, "temperature", "invalid_value", "a number from 0 to 2"),
        ({"n": 0}, "n", "invalid_value", "1 to 128"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value", "positive"),
        ({"seed": 1.5}, "seed", "invalid_value", "an integer"),
        ({"stream": "yes"}, "stream", "invalid_value", "a boolean"),
        ({"tools": {}}, "tools", "invalid_value", "an array"),
        ({"top_logprobs": 21}, "top_logprobs", "invalid_value", "0 to 20"),
        ({"messages": []}, "messages", "invalid_value", "at least one"),
        ({"messages": "hello"}, "messages", "invalid_value", "an array"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role", "invalid_value", ""),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_value", ""),
        ({"messages": [*MESSAGES, {"role": "user", "content": 5}]}, "messages[1].content", "invalid_value", ""),
        ({"model": ""}, "model", "invalid_value", "non-empty"),
        ({"model": 7}, "model", "invalid_value", "a non-empty string"),
    ],
)
def test_a_bad_parameter_is_named(client, upstream, changes, param, code, words):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **changes)
    error = caught.value
    assert (error.status_code, error.param, error.code, error.type) == (400, param, code, "invalid_request_error")
    assert words in error.message
    assert set(error.body) == {"message", "type", "param", "code"}
    assert error.request_id.startswith("req_")
    assert upstream.requests == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b"{}{}", b"\xff\xfe", b'{"model": "a", "model": "b"}', b"[" * 5000],
)
def test_a_body_that_is_not_an_object_is_refused(gateway, upstream, body):
    answer = httpx2.post(f"{gateway.url}/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_json"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert upstream.requests == []


def test_json_that_nests_too_deeply_is_refused(client):
    deep = {}
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, metadata=deep)
    assert caught.value.code == "invalid_json" and "deep" in caught.value.message


def test_a_body_over_the_size_limit_is_refused_and_the_limit_named(serve, upstream):
    client = serve(server="body_bytes_max = 2048").client()
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, messages=[{"role": "user", "content": "x" * 4000}])
    assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")
    assert "2048" in caught.value.message
    assert upstream.requests == []


def test_an_unknown_model_or_task_is_refused_with_the_nearest_names(serve, upstream):
    client = serve(tasks='[tasks.intent]\nkind = "generate"').client()
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, model="smal")
    assert caught.value.code == "model_not_found" and "nearest: `small`" in caught.value.message
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, model="task/intnt")
    assert caught.value.code == "task_not_found" and "`intent`" in caught.value.message
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, model="auto", extra_headers={"x-bantam-task": "Not A Name"})
    assert caught.value.param == "x-bantam-task"
    assert upstream.requests == []


def test_a_prompt_longer_than_any_context_is_refused_with_both_counts(serve, upstream):
    model = '[models.short]\nupstream = "fake"\ntier = "mid"\ncontext_tokens = 100'
    client = serve(more=model).client()
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, model="short", messages=[{"role": "user", "content": "a word " * 400}])
    assert caught.value.code == "context_length_exceeded"
    assert "100 tokens" in caught.value.message and "about 7" in caught.value.message
    assert upstream.requests == []


def test_wrong_methods_and_paths_are_refused(gateway):
    answer = httpx2.get(f"{gateway.url}/v1/chat/completions")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    answer = httpx2.post(f"{gateway.url}/v1/responses", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_path")


@pytest.mark.parametrize("stream", [False, True])
def test_a_sensitive_request_is_refused_without_retries_and_never_leaves(gateway, upstream, stream):
    # The SDK retries conflicts unless a header tells it not to.
    client = gateway.client(max_retries=3)
    for model in ["auto", "small", "large"]:
        with pytest.raises(openai.ConflictError) as caught:
            ask(client, model=model, messages=SENSITIVE, stream=stream)
        assert (caught.value.code, caught.value.type) == ("sensitive_request", "policy_error")
        assert "email" in caught.value.message
        assert "jane" not in caught.value.message and "example.com" not in caught.value.message
    assert upstream.requests == []
    usage = gateway.settled(requests=3, refused=3)
    assert usage["attempts"] == 0


def test_the_policy_can_allow_a_label_on_one_tier_but_not_on_another(serve, upstream):
    client = serve(more='[privacy]\nmid = "restricted"').client()
    assert ask(client, model="small", messages=SENSITIVE).choices[0].message.content == "hello"
    with pytest.raises(openai.ConflictError):
        ask(client, model="large", messages=SENSITIVE)
    upstream.answer = Json({"error": {}}, status=400)
    with pytest.raises(openai.ConflictError):
        ask(client, model="auto", messages=SENSITIVE)
    assert {request.body["model"] for request in upstream.requests} == {"fake-small"}, "a fallback widened the label"


def test_words_of_the_configured_dictionary_never_leave(serve, upstream):
    client = serve(more='[[privacy.dictionary]]\nterm = "Project Falcon"').client()
    with pytest.raises(openai.ConflictError) as caught:
        ask(client, messages=[{"role": "user", "content": "summarise project falcon"}])
    assert "falcon" not in caught.value.message.lower()
    assert upstream.requests == []


def test_a_full_queue_is_a_rate_limit_with_a_retry_delay(serve, upstream):
    gateway = serve(server="concurrent_requests_max = 1\nqueue_requests_max = 0")
    release = threading.Event()
    upstream.answer = Held(release, Json(completion("at last")))
    answers = []
    first = threading.Thread(target=lambda: answers.append(ask(gateway.client())))
    first.start()
    upstream.wait_for_request()
    with pytest.raises(openai.RateLimitError) as caught:
        ask(gateway.client())
    assert (caught.value.code, caught.value.response.headers["retry-after"]) == ("queue_full", "1")
    # The SDK waits as told, and then there is room.
    patient = threading.Thread(target=lambda: answers.append(ask(gateway.client(max_retries=5))))
    patient.start()
    release.set()
    first.join()
    patient.join()
    assert [answer.choices[0].message.content for answer in answers] == ["at last", "at last"]


BROKEN = {
    "a server error": (Json({"error": {"message": "words of the upstream"}}, status=500), 502),
    "a redirect": (Json({}, status=302, headers={"location": "http://127.0.0.1:9/"}), 502),
    "an error body with status 200": (Json({"error": {"message": "words of the upstream"}}), 502),
    "a completion without choices": (Json({"choices": []}), 502),
    "garbage": (Raw(b"<html>words of the upstream</html>", kind="text/html"), 502),
    "bytes that are not text": (Raw(b"\xff\xfe\x00"), 502),
    "a body cut short": (Raw(b'{"choices": [', announced=5000), 502),
    "a body over the limit": (Raw(b" " * 100_000), 502),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_upstream_costs_one_clear_error(serve, upstream, name):
    upstream.answer, status = BROKEN[name]
    gateway = serve(fake="retries_max = 0\nresponse_bytes_max = 65_536")
    with pytest.raises(openai.InternalServerError) as caught:
        ask(gateway.client())
    assert (caught.value.status_code, caught.value.code) == (status, "upstream_failed")
    assert caught.value.type == "upstream_error"
    assert "small (" in caught.value.message, "the message names what was tried"
    assert "words of the upstream" not in caught.value.message
    gateway.settled(requests=1, failed=1, attempts=1)


WORDS = "words of the upstream"
KNOWN = {
    "a long prompt": (400, {}, {"code": "context_length_exceeded"}, openai.BadRequestError, "context_length_exceeded"),
    "a filter": (400, {}, {"code": "content_filter"}, openai.BadRequestError, "content_filter"),
    "a bad request": (422, {}, {"code": None}, openai.BadRequestError, "upstream_refused_request"),
    "a large request": (413, {}, {"type": "request_too_large"}, openai.APIStatusError, "upstream_request_too_large"),
    "a refused key": (401, {}, {"code": "invalid_api_key"}, openai.InternalServerError, "upstream_key_refused"),
    "a forbidden model": (403, {}, {}, openai.InternalServerError, "upstream_forbidden"),
    "a missing model": (404, {}, {}, openai.InternalServerError, "upstream_model_not_found"),
    "a used-up quota": (429, {}, {"code": "insufficient_quota"}, openai.RateLimitError, "insufficient_quota"),
    "a long pause": (429, {"retry-after": "50"}, {}, openai.RateLimitError, "rate_limit_exceeded"),
    "a rate limit": (429, {"retry-after-ms": "5"}, {}, openai.RateLimitError, "rate_limit_exceeded"),
    "an overload": (529, {"retry-after-ms": "5"}, {}, openai.InternalServerError, "upstream_overloaded"),
    "a failure": (500, {}, {}, openai.InternalServerError, "upstream_failed"),
}
REPEATED = ["a long pause", "a rate limit", "an overload", "a failure"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known_of_a_failure_reaches_the_sdk_and_bounds_its_retries(serve, upstream, name, stream):
    status, headers, error, raised, code = KNOWN[name]
    upstream.answer = Json({"error": {"message": WORDS, **error}}, status=status, headers=headers)
    gateway = serve()
    with pytest.raises(raised) as caught:
        ask(gateway.client(max_retries=0), stream=stream)
    assert caught.value.code == code
    assert WORDS not in caught.value.message
    told = caught.value.response.headers
    assert told.get("retry-after") == ("50" if name == "a long pause" else "1" if "retry-after-ms" in headers else None)
    # Bantam repeats what was not taken up twice, and says so; what may have been billed is the SDK's to repeat.
    # A stream that is refused without a reason is asked for once more without `stream_options`, which some do not know.
    calls = 3 if name in ["a rate limit", "an overload"] else 2 if stream and name == "a bad request" else 1
    assert len(upstream.requests) == calls
    assert told["x-should-retry"] == ("true" if name in REPEATED and calls == 1 else "false")


def test_the_sdk_does_not_come_back_early_from_a_pause_that_it_would_not_keep(serve, upstream):
    upstream.answer = Json({"error": {"message": WORDS}}, status=429, headers={"retry-after": "300"})
    with pytest.raises(openai.RateLimitError) as caught:
        ask(serve().client(max_retries=2))
    assert caught.value.response.headers["retry-after"] == "300"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_one_call_of_the_sdk_is_at_most_three_calls_of_the_upstream(serve, upstream, status):
    upstream.answer = Json({"error": {"message": WORDS}}, status=status, headers={"retry-after-ms": "5"})
    with pytest.raises(openai.APIStatusError):
        ask(serve().client(max_retries=2))
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    ("is_up", "parts"),
    [
        (True, ["fake-small", "key_refused", "status=401", "duration_ms=", "api_key_env"]),
        (False, ["fake-small", "connection_refused", "duration_ms=", "check the port in `base_url`"]),
    ],
)
def test_the_log_says_what_failed_and_what_would_help(serve, upstream, is_up, parts):
    upstream.answer = Json({"error": {"message": WORDS}}, status=401)
    gateway = serve(fake="retries_max = 0")
    if not is_up:
        upstream.close()
    with pytest.raises(openai.InternalServerError):
        ask(gateway.client(max_retries=0))
    failures = wait_until(lambda: [line for line in gateway.lines if "a call failed" in line], lambda: gateway.lines)
    assert all(part in failures[0] for part in ['upstream="fake"', *parts]), failures
    assert WORDS not in "".join(gateway.lines)


def test_an_upstream_that_hangs_times_out(serve, upstream):
    release = threading.Event()
    upstream.answer = Held(release, Json(completion()))
    gateway = serve(fake="retries_max = 0\nfirst_byte_timeout_ms = 200")
    with pytest.raises(openai.InternalServerError) as caught:
        ask(gateway.client())
    release.set()
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")


def test_an_unreachable_upstream_is_an_error(serve, upstream):
    gateway = serve(fake="retries_max = 0")
    upstream.close()
    with pytest.raises(openai.InternalServerError) as caught:
        ask(gateway.client())
    assert caught.value.code == "upstream_unreachable"


def test_a_transient_failure_is_retried_and_hidden_from_the_caller(serve, upstream):
    gateway = serve(fake="retries_max = 2")
    failures = iter([503, 429])
    upstream.answer = lambda _: Json({}, status=status) if (status := next(failures, None)) else Json(completion())
    assert ask(gateway.client()).choices[0].message.content == "hello"
    assert len(upstream.requests) == 3
    gateway.settled(requests=1, answered=1, attempts=1)


def test_an_upstream_that_keeps_failing_is_no_longer_called(serve, upstream):
    gateway = serve(fake="retries_max = 0")
    upstream.answer = Json({}, status=500)
    client = gateway.client()

    def failure():
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client)
        return caught.value

    wait_until(lambda: failure().code == "upstreams_unavailable", lambda: "the breaker to open")
    requests = len(upstream.requests)
    error = failure()
    assert (error.status_code, len(upstream.requests)) == (503, requests)
    assert int(error.response.headers["retry-after"]) > 0


def test_a_request_whose_caller_gives_up_is_settled_as_cancelled(gateway, upstream):
    release = threading.Event()
    upstream.answer = Held(release, Json(completion()))
    client = gateway.client(timeout=0.5)
    with pytest.raises(openai.APITimeoutError):
        ask(client)
    client.close()
    gateway.settled(requests=1, cancelled=1)
    release.set()


KEY = "a-key-of-thirty-two-characters-00"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models"])
def test_a_configured_key_is_required(serve, upstream, path):
    gateway = serve(server='api_key_envs = ["CALLER_KEY"]', env={"CALLER_KEY": KEY})
    for key in ["wrong", KEY + "x", KEY[:-1]]:
        with pytest.raises(openai.AuthenticationError) as caught:
            client = gateway.client(api_key=key)
            client.models.list() if path == "/v1/models" else ask(client)
        assert caught.value.code == "invalid_api_key"
        assert key not in caught.value.message
    answer = httpx2.request("GET" if path == "/v1/models" else "POST", gateway.url + path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "missing_api_key")
    assert upstream.requests == []
    assert ask(gateway.client(api_key=KEY)).choices[0].message.content == "hello"
    assert KEY not in "".join(gateway.lines)


def test_foreign_hosts_and_origins_are_refused(gateway, upstream):
    url = f"{gateway.url}/v1/chat/completions"
    body = {"model": "small", "messages": MESSAGES}
    for headers, code in [
        ({"host": "evil.example"}, "host_not_allowed"),
        ({"origin": "https://evil.example"}, "origin_not_allowed"),
    ]:
        answer = httpx2.post(url, json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, code)
    with pytest.raises(openai.PermissionDeniedError):
        ask(gateway.client(default_headers={"origin": "null"}))
    assert upstream.requests == []
