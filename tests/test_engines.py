"""A real external engine: llama-cpp-python's server is discovered and used as the local tier, quirks included.

Opt-in, because building llama.cpp takes minutes: set BANTAM_LLAMA_PYTHON to the Python of an environment with
`llama-cpp-python[server]`.
"""

import json
import os
import socket
import subprocess
from pathlib import Path

import openai
import pytest

from gateway import ROOT, Gateway, wait_until

PYTHON = os.environ.get("BANTAM_LLAMA_PYTHON")
DATA = Path(os.environ.get("BANTAM_SHARED_DATA", ROOT.parent / "shared/data"))
MODEL = DATA / "models/stories260Ktok512.gguf"

if not PYTHON:
    pytest.skip("set BANTAM_LLAMA_PYTHON to a Python with llama-cpp-python[server]", allow_module_level=True)
if not MODEL.exists():
    pytest.skip(f"{MODEL} does not exist", allow_module_level=True)

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["refund", "praise"]}, "urgent": {"type": "boolean"}},
    "required": ["kind", "urgent"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """The engine's address without `/v1`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("engine") / "log.txt"
    arguments = ["--model", MODEL, "--model_alias", "stories", "--port", port, "--n_ctx", 512, "--chat_format", "chatml"]
    with log.open("w") as sink:
        process = subprocess.Popen(
            [PYTHON, "-m", "llama_cpp.server", *map(str, arguments)], stdout=sink, stderr=subprocess.STDOUT
        )

    def listens():
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, log.read_text)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def gateway(engine, tmp_path):
    """A gateway with nothing but the configuration that `bantam engines` prints."""
    base = '[server]\nbind = "127.0.0.1:0"\n[ledger]\npath = "ledger.sqlite"\n'
    (tmp_path / "bantam.toml").write_text(base)
    gateway = Gateway(tmp_path, base)
    found = gateway.json("engines", "--at", engine)
    assert gateway.stop() == 0
    assert [(entry["engine"], entry["models"]) for entry in found] == [("llama-cpp-python", ["stories"])]
    assert found[0]["version"]
    gateway = Gateway(tmp_path, base + found[0]["toml"])
    yield gateway
    assert gateway.stop() == 0


def ask(client, content="Once upon a time", **more):
    messages = [{"role": "user", "content": content}]
    return client.chat.completions.create(model="stories", messages=messages, temperature=0, **more)


def test_the_engine_is_local_so_it_may_answer_sensitive_requests(gateway):
    client = gateway.client()
    answer = ask(client, max_completion_tokens=6)
    assert 0 < answer.usage.completion_tokens <= 6
    assert answer.model_extra["bantam"]["tier"] == "local"
    card = ask(client, "my card is 4111 1111 1111 1111", max_tokens=4)
    assert card.model_extra["bantam"]["tier"] == "local"
    chunks = list(client.chat.completions.create(
        model="stories", messages=[{"role": "user", "content": "Once"}], temperature=0, max_tokens=6, stream=True
    ))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_schema_is_sent_in_the_engines_format_and_enforced(gateway):
    format = {"type": "json_schema", "json_schema": {"name": "ticket", "schema": SCHEMA}}
    answer = ask(gateway.client(), "my lamp broke", max_tokens=200, response_format=format)
    ticket = json.loads(answer.choices[0].message.content)
    assert ticket["kind"] in ("refund", "praise") and isinstance(ticket["urgent"], bool)


def test_the_same_seed_gives_the_same_answer(gateway):
    client = gateway.client()
    messages = [{"role": "user", "content": "Once upon a time"}]

    def answer_with(seed):
        answer = client.chat.completions.create(
            model="stories", messages=messages, max_tokens=20, seed=seed, temperature=1
        )
        return answer.choices[0].message.content

    assert answer_with(1) == answer_with(1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n", 2), ("tools", [{"type": "function", "function": {"name": "f", "parameters": {}}}])],
)
def test_a_parameter_that_the_engine_would_ignore_is_refused_by_name(gateway, name, value):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(gateway.client(), max_tokens=4, **{name: value})
    assert refused.value.code == "unsupported_parameter" and refused.value.param == name


def test_the_engine_itself_silently_ignores_n(engine, tmp_path):
    """Shows why Bantam keeps a table of engines: this one accepts `n` and answers once."""
    client = openai.OpenAI(base_url=f"{engine}/v1", api_key="unused", max_retries=0)
    answer = ask(client, max_tokens=2, n=2)
    assert len(answer.choices) == 1
    client.close()
