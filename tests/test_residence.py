"""A model that Ollama passes on to another machine is never local."""

import openai
import pytest

from upstream import Json, completion

MODEL = """
[upstreams.ollama]
kind = "{kind}"
base_url = "{url}"

[models.mine]
upstream = "ollama"
name = "mine"
"""


@pytest.mark.parametrize("kind", ["ollama", "auto"])
def test_a_restricted_text_stays_here_when_its_model_moves_elsewhere(serve, upstream, kind):
    here = {"name": "mine:latest", "model": "mine:latest"}
    elsewhere = {**here, "remote_model": "gpt-oss:120b", "remote_host": "https://ollama.com:443"}
    upstream.pages = {"/api/version": {"version": "0.40.1"}, "/api/tags": {"models": [here]}}
    upstream.answer = Json(completion())
    gateway = serve(more=MODEL.format(kind=kind, url=upstream.url))
    client = gateway.client()
    secret = [{"role": "user", "content": "my card is 4111 1111 1111 1111"}]
    assert client.chat.completions.create(model="mine", messages=secret).choices[0].message.content == "hello"
    assert len(upstream.requests) == 1
    upstream.pages["/api/tags"] = {"models": [elsewhere]}
    for stream in (False, True):
        with pytest.raises(openai.ConflictError) as refused:
            client.chat.completions.create(model="mine", messages=secret, stream=stream)
        assert refused.value.code == "model_runs_elsewhere"
    assert len(upstream.requests) == 1, "nothing was sent"
    found = gateway.json("engines", "--at", upstream.url)
    assert found[0]["elsewhere"] == ["mine:latest"]
    assert 'tier = "frontier"' in found[0]["toml"] and 'tier = "local"' not in found[0]["toml"]
    upstream.pages["/api/tags"] = {"models": [here]}
    client.chat.completions.create(model="mine", messages=secret)
    assert len(upstream.requests) == 2
