"""Compares `bantam serve` with llama.cpp's server (PyPI llama-cpp-python) over HTTP, in alternation.

    python bench/http_peers.py --peer-python VENV/bin/python [--bantam target/release/bantam] [--threads 2]
        [--rounds 3] [--levels 1,4,16] [--counts 1,8] [--peer-requests 6] [--peer-seconds 45] [--json FILE]
        MODEL.gguf [ADAPTER.gguf ...]

VENV contains PyPI llama-cpp-python[server]; this script itself needs only Python. Both servers load the same model and use
the same number of threads. Each round measures one server and then the other, in alternating order; one is idle while the
other is measured. All requests share a system message of about 300 tokens and each has about 60 tokens of its own.

With adapters, requests cycle through the first N adapters, for each N of `--counts`. llama-cpp-python keeps one model at a
time and reloads it to switch adapters, so its column shows the cost of such a switch. To keep the run short, it gets at most
`--peer-requests` requests per case and no more after `--peer-seconds`; the table says how many it answered. The figures are
the median time of a request and the request rate.
"""

import argparse
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

LABELS = ["refund", "delivery", "invoice", "password", "address", "complaint", "praise", "other"]
EXTRACT = {
    "type": "object",
    "properties": {
        "product": {"type": "string", "maxLength": 24},
        "kind": {"enum": LABELS},
        "count": {"type": "integer", "minimum": 0, "maximum": 999},
    },
    "required": ["product", "kind", "count"],
    "additionalProperties": False,
}
FREE = {"type": "string", "minLength": 400, "maxLength": 4000}
# For each case, the answer's schema and its maximum number of tokens.
CASES = {
    "chat": (None, 32),
    "extraction by a schema": (EXTRACT, 64),
    "classification by a schema": ({"enum": LABELS}, 12),
}
LEVELS = [1, 4, 16]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def words(generator: random.Random, count: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return " ".join("".join(generator.choices(letters, k=generator.randint(2, 7))) for _ in range(count))


class Server:
    """A running server; `models` are its model names, one for the base or one per adapter."""

    def __init__(self, name, command, port, models, style):
        self.name, self.port, self.models, self.style = name, port, models, style
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 120
        while True:
            try:
                connection = HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/v1/models")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                sys.exit(f"{name} did not start:\n{self.log.read()}")
            time.sleep(0.1)

    def ask(self, model, system, user, schema, tokens):
        """Returns the seconds until each chunk of text, the seconds until the end, and the number of tokens."""
        body = {
            "model": model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "max_tokens": tokens, "temperature": 0, "stream": True, "stream_options": {"include_usage": True},
        }  # fmt: skip
        if schema is not None:
            openai = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
            peer = {"type": "json_object", "schema": schema}
            body["response_format"] = openai if self.style == "openai" else peer
        started = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            sys.exit(f"{self.name} answered {response.status}: {response.read()[:500]}")
        chunks, counted = [], None
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                sys.exit(f"{self.name} failed: {chunk}")
            counted = (chunk.get("usage") or {}).get("completion_tokens") or counted
            if chunk.get("choices") and chunk["choices"][0].get("delta", {}).get("content"):
                chunks.append(time.perf_counter() - started)
        end = time.perf_counter() - started
        connection.close()
        return chunks or [end], end, counted or len(chunks)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def bantam(options, folder):
    port = free_port()
    names = [f"adapter-{number}" for number in range(len(options.adapters))] or ["base"]
    lines = [f'[server]\nbind = "127.0.0.1:{port}"\n[ledger]\npath = "{folder}/ledger.sqlite"\n']
    lines.append(f"[students]\nthreads = {options.threads}\n")
    for number, name in enumerate(names):
        lines.append(f'[models.{name}]\nfile = "{Path(options.model).resolve()}"\nkv_tokens = 16_384\n')
        if options.adapters:
            lines.append(f'adapter = "{Path(options.adapters[number]).resolve()}"\n')
    config = Path(folder) / "bantam.toml"
    config.write_text("".join(lines))
    return Server("bantam", [options.bantam, "serve", "--config", config], port, names, "openai")


def peer(options, folder):
    port = free_port()
    names = [f"adapter-{number}" for number in range(len(options.adapters))] or ["base"]
    common = {"model": str(options.model), "n_threads": options.threads, "n_threads_batch": options.threads}
    common |= {"n_ctx": 4096, "verbose": False}
    models = [common | {"model_alias": name} for name in names]
    for model, adapter in zip(models, options.adapters):
        model["lora_path"] = str(adapter)
    config = {"host": "127.0.0.1", "port": port, "interrupt_requests": False, "models": models}
    path = Path(folder) / "peer.json"
    path.write_text(json.dumps(config))
    command = [options.peer_python, "-m", "llama_cpp.server", "--config_file", path]
    return Server("llama.cpp", command, port, names, "llama")


def measure(server, system, generator, case, level, requests, names, seconds_max=None):
    """Sends requests, `level` at a time, cycling through the model names; sends none after `seconds_max`."""
    schema, tokens = CASES[case]
    users = [words(generator, 22) for _ in range(requests)]
    started = time.perf_counter()

    def one(index):
        # Send at least `level` requests, so that there is something to measure.
        if index >= level and seconds_max is not None and time.perf_counter() - started > seconds_max:
            return None
        return server.ask(names[index % len(names)], system, users[index], schema, tokens)

    with ThreadPoolExecutor(level) as pool:
        timed = [found for found in pool.map(one, range(requests)) if found]
    seconds = time.perf_counter() - started
    return {
        "requests": len(timed),
        "first_ms": 1e3 * statistics.median(chunks[0] for chunks, _, _ in timed),
        "total_ms": 1e3 * statistics.median(total for _, total, _ in timed),
        "requests_per_s": len(timed) / seconds,
        "tokens_per_s": sum(count for _, _, count in timed) / seconds,
    }


def constrained(server, system, generator, times):
    """Returns how much longer a chunk of text takes under a schema that does not restrict the text than without a schema,
    by the medians over answers. An answer's first chunk does not count, because the part that the schema forces arrives
    before the prompt is read. Only Bantam is measured, because llama-cpp-python's server crashed on this schema."""
    each = {False: [], True: []}
    for number in range(times):
        for has_schema in (number % 2 == 0, number % 2 != 0):
            schema = FREE if has_schema else None
            chunks, _, _ = server.ask(server.models[0], system, words(generator, 22), schema, 96)
            each[has_schema].append((chunks[-1] - chunks[1]) / (len(chunks) - 2))
    return statistics.median(each[True]) / statistics.median(each[False]) - 1


def autocomplete(server, generator, times):
    """Returns the sorted seconds to the first token of `times` editor completions: each has a few more letters typed than
    the last, and all have the same text after the cursor."""
    before, after = words(generator, 110), words(generator, 25)
    firsts = []
    for _ in range(times + 1):
        before += words(generator, 1)
        body = {"model": server.models[0], "prompt": before, "suffix": after, "max_tokens": 16, "temperature": 0}
        started = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", server.port, timeout=600)
        body = json.dumps(body | {"stream": True})
        connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            sys.exit(f"{server.name} answered {response.status}: {response.read()[:500]}")
        first = None
        for line in response:
            if first is None and line.startswith(b"data: {"):
                first = time.perf_counter() - started
        connection.close()
        firsts.append(first)
    # The first request has to read the whole prompt.
    return sorted(firsts[1:])


def show(results):
    print("| adapters | case | concurrency | requests: bantam / llama.cpp | first token, ms | total, ms | requests/s |")
    print("|---|---|---|---|---|---|---|")
    for (count, case, level), sides in results.items():
        ours, theirs = sides["bantam"], sides["llama.cpp"]
        middle = lambda side, key: statistics.median(each[key] for each in side)

        def pair(key, digits, is_rate=False):
            ratio = statistics.median(b[key] / a[key] for a, b in zip(ours, theirs))
            ratio = 1 / ratio if is_rate else ratio
            return f"{middle(ours, key):,.{digits}f} / {middle(theirs, key):,.{digits}f} (×{ratio:.1f})"

        sent = " / ".join(str(sum(each["requests"] for each in side)) for side in (ours, theirs))
        print(f"| {count or '–'} | {case} | {level} | {sent} | {pair('first_ms', 0)} | {pair('total_ms', 0)} "
              f"| {pair('requests_per_s', 2, True)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("adapters", nargs="*")
    parser.add_argument("--bantam", default="target/release/bantam")
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    numbers = lambda text: [int(part) for part in text.split(",")]
    parser.add_argument("--levels", type=numbers, default=LEVELS)
    parser.add_argument("--counts", type=numbers, help="how many of the adapters to use; default: all")
    parser.add_argument("--peer-requests", type=int, default=6, help="maximum per case with adapters")
    parser.add_argument("--peer-seconds", type=float, default=45, help="approximate maximum per case with adapters")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    counts = options.counts or [len(options.adapters)]
    if max(counts) > len(options.adapters):
        parser.error(f"--counts needs {max(counts)} adapters, but only {len(options.adapters)} are given")
    with tempfile.TemporaryDirectory() as folder:
        servers = [bantam(options, folder), peer(options, folder)]
        try:
            system, generator = words(random.Random(0), 110), random.Random(1)
            for server in servers:
                for case in CASES:
                    requests = 2 * len(server.models) if server is servers[0] else 1
                    measure(server, system, generator, case, 1, requests, server.models)
            results = {}
            cases = [(count, case, level) for count in counts for case in CASES for level in options.levels]
            for number in range(options.rounds):
                for count, case, level in cases:
                    for server in servers if number % 2 == 0 else reversed(servers):
                        requests, seconds = max(6, 2 * level, 2 * count), None
                        if count and server is servers[1]:
                            requests, seconds = max(options.peer_requests, level), options.peer_seconds
                        names = server.models[: max(count, 1)]
                        found = measure(server, system, generator, case, level, requests, names, seconds)
                        results.setdefault((count, case, level), {}).setdefault(server.name, []).append(found)
                    print(f"round {number + 1}: {case}, {count} adapters, concurrency {level}", file=sys.stderr)
            show(results)
            firsts = autocomplete(servers[0], generator, 20)
            print(f"\nautocomplete, bantam: first token p50 {1e3 * firsts[10]:.0f} ms, p95 {1e3 * firsts[18]:.0f} ms")
            slower = constrained(servers[0], system, generator, 15)
            print(f"time per token under a schema that does not restrict the text, bantam: {100 * slower:+.1f} %")
        finally:
            for server in servers:
                server.stop()
    if options.json:
        flat = [{"adapters": count, "case": case, "level": level, **sides}
                for (count, case, level), sides in results.items()]  # fmt: skip
        Path(options.json).write_text(json.dumps({"cases": flat, "constrained": slower}, indent=1))


if __name__ == "__main__":
    main()
