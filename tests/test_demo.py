"""`bantam demo` as a newcomer runs it, on a small file of labelled rows."""

import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

import gateway
import rows

SIDE = {"p50_ms", "p95_ms", "cost_usd_per_1000", "requests_per_second", "accuracy", "accuracy_low", "accuracy_high"}


@pytest.fixture
def data(tmp_path):
    """900 rows: 540 are learned from, 180 certify, 180 are replayed."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows.make(900, seed=5)))
    return path


def environment(tmp_path):
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}


def test_the_story_is_told_in_numbers(data, tmp_path):
    command = [gateway.BINARY, "demo", "--json", "--error", "0.1", "--data", data]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for side in ("baseline", "bantam"):
        assert SIDE <= told[side].keys()
        assert told[side]["accuracy_low"] <= told[side]["accuracy"] <= told[side]["accuracy_high"]
    assert told["tiers"].keys() == {"local", "mid", "frontier"}
    assert sum(told["tiers"].values()) == pytest.approx(1.0)
    assert told["sensitive_sent"] == 0
    assert told["certificate"]["error_max"] == 0.1
    # More than half is answered here, so the median no longer waits for the simulated 600 ms.
    assert told["tiers"]["local"] > 0.5
    assert told["baseline"]["p50_ms"] >= 600 > told["bantam"]["p50_ms"]
    assert told["bantam"]["cost_usd_per_1000"] < told["baseline"]["cost_usd_per_1000"]


def test_the_printed_commands_work_as_printed(data, tmp_path):
    command = [gateway.BINARY, "demo", "--serve", "--error", "0.1", "--data", data]
    demo = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(tmp_path)
    )
    watchdog = threading.Timer(110, demo.kill)
    watchdog.start()
    try:
        printed = []
        for line in demo.stdout:
            printed.append(line.rstrip("\n"))
            if line.lstrip().startswith("print(client"):
                break
        text = "\n".join(printed)
        assert "simulated frontier" in text
        curl = re.search(r"curl .*?\}\]\}'", text, re.DOTALL).group(0)
        answer = json.loads(subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True).stdout)
        assert answer["choices"][0]["message"]["content"] in rows.ASKS
        assert answer["bantam"]["task"] == "intent"
        snippet = "\n".join(line.strip() for line in printed[printed.index("  from openai import OpenAI") :])
        done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "ChatCompletion" in done.stdout
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    finally:
        watchdog.cancel()
        demo.kill()
        demo.wait()
        demo.stdout.close()
