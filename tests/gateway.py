"""Runs the real `bantam` binary: its commands, and the gateway on a free port."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import openai

# The longest wait anywhere, so that a stuck test fails instead of hanging.
PATIENCE_S = 30

ROOT = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("BANTAM_BIN", ROOT / "target/debug/bantam"))


def config_text(upstream, *, server="", ledger="", fake="", tasks="", more=""):
    """Returns a bantam.toml with two priced models behind `upstream`; the other arguments add lines to its tables."""
    return f"""\
[server]
bind = "127.0.0.1:0"
{server}

[ledger]
path = "ledger.sqlite"
{ledger}

[routing]
ladder = ["small", "large"]
baseline = "large"

[upstreams.fake]
dialect = "openai"
base_url = "{upstream.url}"
{fake}

[models.small]
upstream = "fake"
name = "fake-small"
tier = "mid"
price = {{ input = 1.0, cached_input = 0.5, output = 2.0, as_of = "2026-11-01" }}

[models.large]
upstream = "fake"
name = "fake-large"
tier = "frontier"
price = {{ input = 10.0, cached_input = 5.0, output = 20.0, as_of = "2026-11-01" }}

{tasks}
{more}
"""


def wait_until(condition, what):
    """Polls until `condition()` is true and returns its value; `what()` describes it if the wait times out."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"timed out after {PATIENCE_S} s waiting for {what()}"
        time.sleep(0.02)
    return found


class Bantam:
    """The command line in a separate folder, isolated from this machine's settings."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.config = self.folder / "bantam.toml"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}

    def run(self, *arguments, code=0):
        """Runs a command, checks its exit code, and returns its standard output, or its standard error if it failed."""
        finished = subprocess.run(
            [BINARY, *map(str, arguments), "--config", self.config],
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        output = f"{finished.stdout}\n{finished.stderr}"
        assert finished.returncode == code, f"{arguments} exited with {finished.returncode}\n{output}"
        return finished.stdout if code == 0 else finished.stderr

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "--json"))

    def usage(self):
        """Returns the usage totals; just zero requests if none is settled yet."""
        return self.json("usage")["total"] or {"requests": 0}

    def settled(self, **expected):
        """Waits until the ledger shows these totals. Requests of disconnected callers are settled with a delay."""

        def matching_usage():
            usage = self.usage()
            return usage if all(usage.get(key) == value for key, value in expected.items()) else None

        return wait_until(matching_usage, lambda: f"{expected} in {self.usage()}")


class Gateway(Bantam):
    """A running `bantam serve`."""

    def __init__(self, folder, text, env=None):
        super().__init__(folder)
        self.env |= env or {}
        self.config.write_text(text)
        self.lines = []
        self.process = subprocess.Popen(
            [BINARY, "serve", "--config", self.config],
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.reader = threading.Thread(target=self.read_lines, daemon=True)
        self.reader.start()
        line = self.wait_for_line("serving on http://")
        self.url = re.search(r"http://\S+", line).group()
        self.clients = []

    def read_lines(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def wait_for_line(self, text, after=0):
        """Waits for a line on standard error that contains `text`, ignoring the first `after` lines."""

        def found():
            match = next((line for line in self.lines[after:] if text in line), None)
            assert match or self.process.poll() is None, "\n".join(["bantam exited:", *self.lines])
            return match

        return wait_until(found, lambda: f"`{text}` in {self.lines}")

    def client(self, kind=openai.OpenAI, **options):
        """Returns a client of the official SDK, by default without retries."""
        options = {"api_key": "unused", "max_retries": 0, "timeout": PATIENCE_S, **options}
        client = kind(base_url=f"{self.url}/v1", **options)
        if kind is openai.OpenAI:
            self.clients.append(client)
        return client

    def async_client(self, **options):
        return self.client(openai.AsyncOpenAI, **options)

    def stop(self, signal_number=signal.SIGTERM):
        """Stops the gateway, checks that it has not panicked, and returns its exit code."""
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.kill()
            assert not any("panicked" in line for line in self.lines), "\n".join(self.lines)

    def kill(self):
        """Kills the gateway without a shutdown."""
        self.process.kill()
        self.process.wait()
        self.reader.join(PATIENCE_S)
        self.process.stderr.close()
