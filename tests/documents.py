"""The shell blocks of README and the book, and a home folder in which a page's blocks run one after the other.

A page says what its blocks need in comments that nobody sees, `<!-- test: WORDS -->`:

- `upstream NAME`: what `[upstreams.NAME]` leads to is simulated from here on.
- `files PATH ...`: these files are there, made by `MAKERS` below.
- `traffic COUNT`: so many requests were sent to the task `intent`.
- `expect TEXT`: the block before has printed this.
- `eventually TEXT`: it prints this when it is run again after a moment, as a person would.

A block that cannot run is fenced as `sh no-run: REASON`.
"""

import concurrent.futures
import itertools
import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import models
import rows
from gateway import BINARY, ROOT
from upstream import Json, Upstream, completion

# No block may take longer, and no server may take longer to start or to stop.
PATIENCE_S = 150

ADDRESS = "127.0.0.1:5454"


@dataclass
class Step:
    """A block to run, a block that says why not, or a mark for the tests."""

    kind: str
    text: str
    line: int


def steps(path):
    """Returns what a page has for the tests, in its order."""
    found, fence, block, opened = [], None, [], 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if fence is not None:
            if line.strip() != "```":
                block.append(line)
                continue
            if fence.startswith("sh no-run:"):
                found.append(Step("no-run", fence.removeprefix("sh no-run:").strip(), opened))
            elif fence == "sh":
                found.append(Step("run", "\n".join(block) + "\n", opened))
            fence, block = None, []
        elif line.lstrip().startswith("```"):
            fence, opened = line.strip()[3:].strip(), number
        elif mark := re.fullmatch(r"<!-- test: (.*) -->", line.strip()):
            found.append(Step("mark", mark.group(1), number))
    return found


def pages():
    """Returns README, the page for contributors, and all pages of the book."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def is_run(page):
    return any(step.kind == "run" for step in steps(page))


# What a page may ask for as files.


def write_lines(path, values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def bookings(part):
    """Returns rows of a booking desk: texts with their slots. Different parts have no text in common."""
    places = ["Nonna", "Bistro Sud", "The Anchor", "Kantine", "Sakura"]
    days = ["monday", "tuesday", "friday", "sunday", "tomorrow"]
    forms = ["a table for {people} at {place} on {day}", "{day} at {place}, {people} of us", "book {place} for {people} on {day}"]
    endings = ["", " please", ", thanks", " if you can", "!", " - we are hungry"]
    every = list(itertools.product(forms, endings, map(str, range(2, 10)), places, days))
    random.Random(7).shuffle(every)
    found = []
    for form, ending, people, place, day in every[300 * part : 300 * part + 300]:
        text = form.format(people=people, place=place, day=day) + ending
        found.append({"text": text, "slots": {"people": [people], "place": [place], "day": [day]}})
    return found


def tickets(seed):
    """Returns rows of a ticket desk: texts with the JSON that they mean."""
    pick = random.Random(seed)
    found = []
    for number in range(240):
        product, urgent = pick.choice(["lamp", "tent", "mug", "desk"]), pick.random() < 0.5
        ending = "help at once" if urgent else "no hurry"
        text = f"the {product} of order {seed}{number} is broken, {ending}"
        found.append({"text": text, "answer": {"product": product, "urgent": urgent}})
    return found


def texts(path):
    write_lines(path, [{"text": "where is the lamp that I ordered"}, {"text": "a table for 4 at Nonna on friday"}])


MAKERS = {
    "rows.jsonl": lambda path: rows.write(path, rows.make(800, seed=1)),
    "prove.jsonl": lambda path: rows.write(path, rows.make(800, seed=2)),
    "texts.jsonl": texts,
    "slots.jsonl": lambda path: write_lines(path, bookings(0)),
    "more-slots.jsonl": lambda path: write_lines(path, bookings(1)),
    "answers.jsonl": lambda path: write_lines(path, tickets(1)),
    "more-answers.jsonl": lambda path: write_lines(path, tickets(2)),
    "sample.txt": lambda path: path.write_text("The lamp is on the desk, and the tent is in the garden. " * 20),
    "desk.gguf": models.language_model,
    "model": models.encoder,
}

# The shell runs `bantam` by this name. A server is left running in the background, as in a second terminal.
SHIM = """\
#!/usr/bin/env bash
if [ "${1:-}" != serve ]; then exec BINARY "$@"; fi
: > FOLDER/serve.log
nohup BINARY "$@" $(cat FOLDER/serve-flags) > FOLDER/serve.log 2>&1 < /dev/null &
echo $! >> FOLDER/serve.pids
for _ in $(seq 600); do
  if grep -q 'serving on http://' FOLDER/serve.log; then exit 0; fi
  if ! kill -0 $!; then break; fi
  sleep 0.05
done
cat FOLDER/serve.log >&2
exit 1
"""


class Home:
    """An empty home folder with `bantam` on its PATH."""

    def __init__(self, folder):
        self.folder = folder
        self.work = folder / "home/work"
        self.work.mkdir(parents=True)
        self.state = folder / "state.sh"
        self.state.write_text("")
        self.block, self.output = "", ""
        self.upstream = None
        (folder / "serve-flags").write_text("")
        (folder / "serve.pids").write_text("")
        shim = folder / "bin/bantam"
        shim.parent.mkdir()
        shim.write_text(SHIM.replace("BINARY", shlex.quote(str(BINARY))).replace("FOLDER", shlex.quote(str(folder))))
        shim.chmod(0o755)
        # The port that the documents name may be taken on this machine, so that it alone is another one here.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.env = {
            "HOME": str(folder / "home"),
            "PATH": f"{shim.parent}:{os.environ['PATH']}",
            "BANTAM_SERVER_BIND": self.address,
        }

    def follow(self, page):
        """Does every step of a page."""
        for step in steps(page):
            where = f"{page.relative_to(ROOT)}:{step.line}"
            if step.kind == "run":
                self.run(step.text, where)
            elif step.kind == "mark":
                self.mark(step.text, where)

    def run(self, block, where):
        """Runs a block as it is printed. Variables and functions are those that the blocks before have left."""
        self.block = block
        script = (
            f"set -euo pipefail\nsource {shlex.quote(str(self.state))}\n"
            f"{block.replace(ADDRESS, self.address)}\n"
            f"{{ declare -px; declare -f; }} > {shlex.quote(str(self.state))}\n"
        )
        done = subprocess.run(
            ["bash", "-c", script],
            env=self.env, cwd=self.work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        self.output = done.stdout + done.stderr
        assert done.returncode == 0, f"{where} ended with {done.returncode}\n{block}\n{self.output}"

    def mark(self, words, where):
        name, _, rest = words.partition(" ")
        match name:
            case "upstream":
                self.simulate(rest)
            case "files":
                for path in rest.split():
                    target = self.work / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    MAKERS[target.name](target)
            case "traffic":
                self.send(int(rest))
            case "expect":
                assert rest in self.output, f"{where} expects {rest}\n{self.output}"
            case "eventually":
                deadline = time.monotonic() + 20
                while rest not in self.output:
                    assert time.monotonic() < deadline, f"{where} expects {rest}\n{self.output}"
                    time.sleep(0.1)
                    self.run(self.block, where)
            case _:
                raise AssertionError(f"{where}: no such mark: {words}")

    def simulate(self, name):
        """Lets an upstream of the configuration lead to a simulated one."""
        self.upstream = Upstream()
        self.upstream.answer = lambda request: Json(completion(label(request.body["messages"][-1]["content"])))
        flag = f"--set upstreams.{name}.base_url={self.upstream.url}"
        (self.folder / "serve-flags").write_text(flag)

    def send(self, count):
        """Sends so many requests to the task `intent`, as an application would."""

        def ask(text):
            body = {"model": "task/intent", "messages": [{"role": "user", "content": text}]}
            request = urllib.request.Request(
                f"http://{self.address}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, (row["text"] for row in clear_rows(count)))) == {200}

    def close(self):
        """Stops what runs, and says what the server had to say."""
        for pid in map(int, (self.folder / "serve.pids").read_text().split()):
            stop(pid)
        if self.upstream:
            self.upstream.close()
        log = self.folder / "serve.log"
        said = log.read_text() if log.exists() else ""
        assert "panicked" not in said, said


def stop(pid):
    """Asks a server to stop and waits until it has; it is not a child of this process."""
    deadline = time.monotonic() + 30
    if is_running(pid):
        os.kill(pid, signal.SIGTERM)
    while is_running(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def is_running(pid):
    state = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        # In a container nobody may reap an orphan that has ended.
        return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def label(text):
    """Returns what a support desk with the labels of README would say."""
    if re.search(r"money back|refund|reimbursed", text):
        return "refund"
    return "order_status" if re.search(r"where is|shipped|arrive|track|delivery", text) else "other"


def clear_rows(count):
    """Returns rows whose label anybody could tell."""
    vague = [text.split("{")[0].strip() for text in rows.VAGUE]
    made = (row for row in rows.make(3 * count, seed=3) if not any(text in row["text"] for text in vague))
    return [row for row, _ in zip(made, range(count), strict=False)]
