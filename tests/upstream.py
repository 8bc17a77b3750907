"""A scripted OpenAI-compatible upstream: it records requests and sends the answers that a test sets."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The longest wait anywhere, so that a stuck test fails instead of hanging.
PATIENCE_S = 30

USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def completion(content="hello", *, model="fake-1", usage=USAGE, **choice):
    """Returns a complete `chat.completion`."""
    first = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop", "logprobs": None}
    first.update(choice)
    return {
        "id": "chatcmpl-upstream",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [first],
        "usage": usage,
    }


def chunk(delta=None, *, finish=None, usage=None, choices=None, **choice):
    """Returns one `chat.completion.chunk`."""
    if choices is None:
        choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish, "logprobs": None, **choice}]
    return {
        "id": "chatcmpl-upstream",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "fake-1",
        "choices": choices,
        "usage": usage,
    }


def words(*pieces, usage=USAGE):
    """Returns the chunks of a streamed text, ending with its usage."""
    first = chunk({"role": "assistant", "content": ""})
    middle = [chunk({"content": piece}) for piece in pieces]
    return [first, *middle, chunk(finish="stop"), chunk(choices=[], usage=usage)]


@dataclass
class Json:
    """A non-streamed answer."""

    body: object
    status: int = 200
    headers: dict = field(default_factory=dict)


@dataclass
class Events:
    """A streamed answer. An item is a chunk, or an event to wait for before the next one."""

    items: list
    done: bool = True


@dataclass
class Raw:
    """A raw body; `announced` is its content length, if that differs from the real one."""

    body: bytes
    kind: str = "application/json"
    announced: int | None = None


@dataclass
class Held:
    """An answer that waits until the test sets an event."""

    release: threading.Event
    then: object


class Endless:
    """A stream that never ends on its own."""


@dataclass
class Request:
    """A received request."""

    path: str
    headers: dict
    body: dict
    text: str


class Upstream:
    """The server. `answer` is an answer, or a function from a request to one."""

    def __init__(self):
        self.answer = lambda request: Events(words("hel", "lo")) if request.body.get("stream") else Json(completion())
        # What is answered to GET, by path.
        self.pages = {}
        self.requests = []
        self.arrived = threading.Semaphore(0)
        self.left = threading.Event()
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body are written separately; Nagle's algorithm would delay the body by 40 ms.
            disable_nagle_algorithm = True

            def do_POST(self):
                text = self.rfile.read(int(self.headers["content-length"])).decode()
                request = Request(self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(text), text)
                upstream.requests.append(request)
                upstream.arrived.release()
                answer = upstream.answer(request) if callable(upstream.answer) else upstream.answer
                try:
                    upstream.reply(self, answer)
                except (BrokenPipeError, ConnectionResetError):
                    upstream.left.set()
                    self.close_connection = True

            def do_GET(self):
                page = upstream.pages.get(self.path)
                upstream.send_whole(self, json.dumps(page).encode(), 404 if page is None else 200, {})

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_):
                # Callers may disconnect between two requests.
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def wait_for_request(self):
        assert self.arrived.acquire(timeout=PATIENCE_S), "no request arrived"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(PATIENCE_S)

    def reply(self, handler, answer):
        match answer:
            case Held():
                released = answer.release.wait(PATIENCE_S)
                assert released, "the test did not release the answer"
                self.reply(handler, answer.then)
            case Json():
                self.send_whole(handler, json.dumps(answer.body).encode(), answer.status, answer.headers)
            case Raw():
                handler.send_response(200)
                handler.send_header("content-type", answer.kind)
                handler.send_header("content-length", str(answer.announced or len(answer.body)))
                handler.end_headers()
                handler.wfile.write(answer.body)
                handler.close_connection = True
            case Events():
                self.send_events(handler, answer)
            case Endless():
                self.begin_events(handler)
                while True:
                    self.send_event(handler, chunk({"content": "and on " * 100}))
            case _:
                raise AssertionError(f"unknown kind of answer: {answer}")

    def send_whole(self, handler, body, status, headers):
        handler.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def send_events(self, handler, answer):
        self.begin_events(handler)
        for item in answer.items:
            if isinstance(item, threading.Event):
                assert item.wait(PATIENCE_S), "the test did not resume the stream"
            else:
                self.send_event(handler, item)
        if answer.done:
            self.write_chunk(handler, b"data: [DONE]\n\n")
            self.write_chunk(handler, b"")
        else:
            handler.close_connection = True

    def begin_events(self, handler):
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()

    def send_event(self, handler, item):
        self.write_chunk(handler, b"data: " + json.dumps(item).encode() + b"\n\n")

    def write_chunk(self, handler, data):
        handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        handler.wfile.flush()
