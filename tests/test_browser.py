"""Web pages in a real Chromium call the gateway: allowed origins can, and read answers, streams and errors; others cannot."""

import json
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gateway import wait_until

NAMES = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"]
CHROMIUM = os.environ.get("BANTAM_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
KEY = "browser-key-browser-key-browser-key"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: install it (Debian: apt install chromium-headless-shell) or set BANTAM_CHROMIUM"
)

# What a page does: each call becomes its status, text and headers, or the kind of exception that `fetch` throws.
PAGE = """<!doctype html><script type="module">
const gateway = new URLSearchParams(location.search).get("gateway"), key = "KEY";
const sent = {
  "authorization": `Bearer ${key}`, "content-type": "application/json", "x-stainless-lang": "js",
};
async function call(path, method, headers, body) {
  try {
    const response = await fetch(gateway + path, { method, headers, body: body && JSON.stringify(body) });
    return { status: response.status, text: await response.text(), headers: Object.fromEntries(response.headers) };
  } catch (error) {
    return { exception: error.name };
  }
}
const chat = { model: "small", messages: [{ role: "user", content: "say hello" }] };
const done = {
  models: await call("/v1/models", "GET", sent),
  answer: await call("/v1/chat/completions", "POST", sent, chat),
  stream: await call("/v1/chat/completions", "POST", sent, { ...chat, stream: true }),
  without_key: await call("/v1/chat/completions", "POST", { "content-type": "application/json" }, chat),
  unknown_path: await call("/v1/chat/completion", "POST", sent, chat),
  wrong_method: await call("/v1/models", "DELETE", sent),
  without_preflight: await call("/healthz", "GET", {}),
};
await fetch("/report", { method: "POST", body: JSON.stringify(done) });
</script>""".replace("KEY", KEY)


class Site(ThreadingHTTPServer):
    """A web site on a free port, which is an origin of its own; it serves the page and keeps what the page reports."""

    daemon_threads = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.report = None
        self.origin = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    def close(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(PAGE.encode())

    def do_POST(self):
        self.server.report = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.answer(b"")

    def answer(self, body):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    server = Site()
    yield server
    server.close()


@pytest.fixture
def gateway(serve, site):
    server = f'allowed_origins = ["{site.origin}"]\napi_key_envs = ["BROWSER_KEY"]'
    return serve(server=server, env={"BROWSER_KEY": KEY})


def visit(site, gateway, tmp_path):
    """Opens the page of `site` in Chromium and returns what came of its calls to the gateway."""
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--remote-debugging-port=0", f"--user-data-dir={tmp_path / 'profile'}", f"{site.origin}/?gateway={gateway.url}",
    ]  # fmt: skip
    with open(tmp_path / "chromium.log", "w") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": str(tmp_path)})
        try:
            return wait_until(lambda: site.report, lambda: "the page's report: " + (tmp_path / "chromium.log").read_text())
        finally:
            browser.kill()
            browser.wait()


def test_a_page_of_an_allowed_origin_reads_answers_streams_and_errors(site, gateway, tmp_path):
    report = visit(site, gateway, tmp_path)
    assert report["models"]["status"] == 200, report["models"]
    answer = report["answer"]
    assert json.loads(answer["text"])["choices"][0]["message"]["content"] == "hello"
    assert answer["headers"]["x-bantam-model"] == "small"
    assert answer["headers"]["x-request-id"] == json.loads(answer["text"])["bantam"]["request_id"]
    assert report["stream"]["status"] == 200 and report["stream"]["text"].endswith("data: [DONE]\n\n")
    assert report["stream"]["headers"]["x-bantam-tier"] == "mid"
    for call, status, code in [("without_key", 401, "missing_api_key"), ("unknown_path", 404, "unknown_path")]:
        assert report[call]["status"] == status, report[call]
        assert json.loads(report[call]["text"])["error"]["code"] == code
    # The preflight says that the path has no such method, so Chromium never sends the request.
    assert report["wrong_method"] == {"exception": "TypeError"}
    assert report["without_preflight"]["status"] == 200


def test_a_page_of_another_origin_reads_nothing_and_reaches_nothing(gateway, upstream, tmp_path):
    foreign = Site()
    try:
        report = visit(foreign, gateway, tmp_path)
    finally:
        foreign.close()
    assert all(call == {"exception": "TypeError"} for call in report.values()), report
    assert upstream.requests == []
