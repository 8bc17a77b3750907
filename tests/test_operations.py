"""Operating the gateway: reloads, the ledger, discovered tasks and shutdown."""

import concurrent.futures
import random
import signal
import threading

import httpx2
import openai
import pytest

from gateway import Gateway, wait_until
from upstream import Events, Held, Json, completion, words

MESSAGES = [{"role": "user", "content": "say hello"}]


def ask(client, **changes):
    return client.chat.completions.create(**{"model": "small", "messages": MESSAGES, **changes})


def test_a_changed_configuration_is_reloaded_while_requests_run(gateway, upstream):
    client = gateway.client()
    stop = threading.Event()

    def keep_asking():
        asked = 0
        while not stop.is_set():
            assert ask(client).choices[0].message.content == "hello"
            asked += 1
        return asked

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(keep_asking) for _ in range(4)]
        try:
            added = '\n[models.extra]\nupstream = "fake"\ntier = "mid"\n'
            gateway.config.write_text(gateway.config.read_text() + added)
            wait_until(lambda: "extra" in [model.id for model in client.models.list()], lambda: "the new model")
        finally:
            stop.set()
        asked = sum(caller.result() for caller in callers)
    assert ask(client, model="extra").choices[0].message.content == "hello"
    assert asked > 0
    usage = gateway.settled(requests=asked + 1, answered=asked + 1)
    assert usage["requests_unpriced"] == 1, "a model without a price is not counted as free"


def test_a_running_request_finishes_under_the_old_configuration(gateway, upstream):
    release = threading.Event()
    upstream.answer = Held(release, Json(completion("late")))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, gateway.client())
        upstream.wait_for_request()
        gateway.config.write_text(gateway.config.read_text().replace("[models.small]", "[models.tiny]").replace('"small"', '"tiny"'))
        gateway.wait_for_line("the configuration was reloaded")
        release.set()
        assert answer.result().choices[0].message.content == "late"
    with pytest.raises(openai.NotFoundError):
        ask(gateway.client())


def test_an_invalid_configuration_is_refused_and_the_old_one_stays(gateway):
    client = gateway.client()
    good = gateway.config.read_text()
    gateway.config.write_text(good.replace("[models.small]", "[models.small]\ntire = 1").replace("mid", "middle"))
    gateway.wait_for_line("the changed configuration was refused; the one before stays in force")
    output = "\n".join(gateway.lines)
    assert "tire" in output and "middle" in output, "every mistake is named"
    assert ask(client).choices[0].message.content == "hello"
    seen = len(gateway.lines)
    gateway.config.write_text(good + "\n# fixed\n")
    gateway.wait_for_line("the configuration was reloaded", after=seen)
    assert ask(client).choices[0].message.content == "hello"


def test_usage_shows_spend_baseline_and_savings_by_any_column(gateway, upstream):
    client = gateway.client()
    for _ in range(3):
        ask(client, model="small")
    ask(client, model="large")
    usage = gateway.settled(requests=4, answered=4)
    # 100 input and 20 output tokens cost $0.00014 with the small model and $0.0014 with the large one.
    assert float(usage["spend_usd"]) == pytest.approx(3 * 0.00014 + 0.0014)
    assert float(usage["savings"]["baseline_usd"]) == pytest.approx(4 * 0.0014)
    assert float(usage["savings"]["saved_usd"]) == pytest.approx(3 * (0.0014 - 0.00014))
    assert usage["unpriced_share"] == 0 and usage["p50_ms"] > 0
    by_model = gateway.json("usage", "--by", "model")["rows"]
    assert {row["key"]: row["requests"] for row in by_model} == {"fake-small": 3, "fake-large": 1}
    by_tier = gateway.json("usage", "--by", "tier")["rows"]
    assert {row["key"]: row["requests"] for row in by_tier} == {"mid": 3, "frontier": 1}
    assert len(gateway.json("usage", "--by", "day")["rows"]) >= 1
    table = gateway.run("usage", "--by", "model")
    assert "saved $0.003780 of $0.005600 on 4 compared requests" in table


def test_the_ledger_contains_discarded_failed_and_unpriced_attempts(serve, upstream):
    unpriced = '[models.gift]\nupstream = "fake"\ntier = "mid"'
    gateway = serve(fake="retries_max = 0", more=unpriced)
    client = gateway.client()
    upstream.answer = lambda request: Json(completion() if request.body["model"] != "fake-small" else {}, status=200)
    ask(client, model="auto")
    ask(client, model="gift")
    with pytest.raises(openai.InternalServerError):
        ask(client, model="small")
    usage = gateway.settled(requests=3, answered=2, failed=1)
    assert usage["attempts"] == 4
    assert usage["escalations"] == {"error": 2}
    assert usage["attempts_unpriced"] >= 1 and usage["savings"]["excluded_requests"] >= 1


def test_the_ledger_contains_the_tokens_of_streams(gateway, upstream):
    upstream.answer = Events(words("hel", "lo"))
    list(ask(gateway.client(), stream=True))
    usage = gateway.settled(requests=1, answered=1)
    assert (usage["input_tokens"], usage["output_tokens"]) == (100, 20)


def test_a_repeated_prompt_becomes_a_discovered_task(serve):
    gateway = serve(ledger="keep_prompt_previews = true")
    client = gateway.client()
    generator = random.Random(5)
    system = "You are the triage desk of a shop. Answer with one word."
    for number in range(60):
        text = f"ticket: {''.join(generator.choices('abcdefghijklmnop', k=8))} number {number} is here"
        ask(client, messages=[{"role": "system", "content": system}, {"role": "user", "content": text}])
    gateway.settled(requests=60)
    tasks = gateway.json("task", "list")["tasks"]
    [found] = [task for task in tasks if task["state"] == "discovered"]
    assert found["requests"] >= 20 and found["input_tokens"] == 100 * found["requests"]
    assert "triage desk" in found["prompt"] and len(found["name"]) == 16
    assert float(found["spend_usd"]) > 0 and found["p50_ms"] > 0
    # Once named in the configuration, it is a task from the next request on.
    task = f'\n[tasks.triage]\nkind = "generate"\ntemplates = ["{found["name"]}"]\n'
    gateway.config.write_text(gateway.config.read_text() + task)
    gateway.wait_for_line("the configuration was reloaded")
    text = "ticket: somethingnew number 99 is here"
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    answer = ask(client, model="auto", messages=messages)
    assert answer.model_extra["bantam"]["task"] == "triage"


def files_of(folder):
    return [file for file in folder.rglob("*") if file.is_file()]


def ask_from_a_template(client):
    """Asks often enough for the prompt to be discovered; every request has a word of its own."""
    system = "You are the clerk of Kestrel Harbour. Answer with one word."
    for number in range(60):
        text = f"parcel: plumage{number:03} for pier {number} is here"
        ask(client, messages=[{"role": "system", "content": system}, {"role": "user", "content": text}])


@pytest.mark.parametrize("keeps_previews", [False, True])
def test_no_text_of_a_prompt_is_at_rest_unless_the_owner_asks_for_it(serve, keeps_previews):
    gateway = serve(ledger=f"keep_prompt_previews = {str(keeps_previews).lower()}")
    ask_from_a_template(gateway.client())
    gateway.settled(requests=60)
    while_it_runs = b"".join(file.read_bytes() for file in files_of(gateway.folder))
    gateway.stop()
    files = files_of(gateway.folder)
    assert {"ledger.sqlite", "bantam.toml"} <= {file.name for file in files}
    for kept in [while_it_runs, b"".join(file.read_bytes() for file in files)]:
        assert b"plumage0" not in kept, "what changes from request to request is never kept"
        assert (b"Kestrel Harbour" in kept) == keeps_previews
    log = "\n".join(gateway.lines)
    assert "plumage" not in log and "Kestrel" not in log
    if keeps_previews:
        # Who no longer wants the texts gets rid of those that were kept before.
        text = gateway.config.read_text().replace("keep_prompt_previews = true", "")
        again = Gateway(gateway.folder, text)
        again.stop()
        assert not any(b"Kestrel Harbour" in file.read_bytes() for file in files_of(gateway.folder))


def test_everything_that_a_gateway_keeps_is_for_its_owner_alone(serve):
    gateway = serve()
    ask(gateway.client())
    gateway.settled(requests=1)
    kept = [path for path in gateway.folder.rglob("*") if path != gateway.config]
    assert len(kept) >= 4, kept
    for path in kept:
        assert path.stat().st_mode & 0o077 == 0, f"{path} is open to others: {path.stat().st_mode:o}"


def test_usage_tells_callers_and_endpoints_apart_and_counts_refusals(serve):
    keys = {"DESK_KEY": "d" * 32, "SHOP_KEY": "s" * 32}
    gateway = serve(server='api_key_envs = ["DESK_KEY", "SHOP_KEY"]', env=keys)
    ask(gateway.client(api_key=keys["DESK_KEY"]))
    shop = gateway.client(api_key=keys["SHOP_KEY"])
    ask(shop)
    with pytest.raises(openai.NotFoundError):
        ask(shop, model="nobody")
    with pytest.raises(openai.BadRequestError):
        ask(shop, extra_body={"temprature": 1})
    gateway.settled(requests=4, answered=2, refused=2)
    rows = gateway.json("usage", "--by", "caller")["rows"]
    assert [(row["key"], row["requests"], row["refused"]) for row in rows] == [("DESK_KEY", 1, 0), ("SHOP_KEY", 3, 2)]
    [row] = gateway.json("usage", "--by", "endpoint")["rows"]
    assert (row["key"], row["requests"]) == ("/v1/chat/completions", 4)
    table = gateway.run("usage", "--by", "caller")
    assert max(map(len, table.splitlines())) <= 80, table


def test_the_ledger_survives_a_kill_and_counts_every_answer_once(serve, upstream):
    gateway = serve()
    client = gateway.client()
    for _ in range(20):
        ask(client)
    gateway.kill()
    serve().settled(requests=20, answered=20)


def test_a_stop_lets_running_requests_finish(gateway, upstream):
    release = threading.Event()
    upstream.answer = Held(release, Json(completion("to the end")))
    client = gateway.client()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, client)
        upstream.wait_for_request()
        gateway.process.send_signal(signal.SIGTERM)

        def is_closed():
            try:
                httpx2.get(f"{gateway.url}/healthz")
            except httpx2.TransportError:
                return True

        wait_until(is_closed, lambda: "the port to close")
        assert gateway.process.poll() is None, "the gateway did not wait for the request"
        release.set()
        assert answer.result().choices[0].message.content == "to the end"
    assert gateway.process.wait(30) == 0
    gateway.settled(requests=1, answered=1)


def test_a_stop_lets_a_stream_finish(gateway, upstream):
    resume = threading.Event()
    first, *rest = words("to the ", "end")
    upstream.answer = Events([first, rest[0], resume, *rest[1:]])
    stream = iter(ask(gateway.client(), stream=True))
    text = next(stream).choices[0].delta.content
    gateway.process.send_signal(signal.SIGTERM)
    resume.set()
    text += "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    assert text == "to the end"
    assert gateway.process.wait(30) == 0


def test_an_interrupt_stops_the_gateway(gateway):
    assert gateway.stop(signal.SIGINT) == 0


def test_a_stop_waits_only_until_the_drain_timeout(serve, upstream):
    gateway = serve(server="drain_timeout_ms = 200")
    release = threading.Event()
    upstream.answer = Held(release, Json(completion()))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, gateway.client())
        upstream.wait_for_request()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0
        release.set()
        with pytest.raises(openai.APIConnectionError):
            answer.result()
    gateway.settled(requests=1, cancelled=1)
