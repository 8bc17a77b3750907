"""Runs `bantam demo` as a new user would, on a small file of labelled rows."""

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
    """A file of 900 rows: 540 for training, 180 for certification and 180 to replay."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows.make(900, seed=5)))
    return path


def environment(tmp_path):
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}


def test_the_demo_reports_both_sides_in_numbers(data, tmp_path):
    command = [gateway.BINARY, "demo", "--json", "--error", "0.1", "--data", data]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=110, env=environment(tmp_path))
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)
    for side in ("baseline", "bantam"):
        assert SIDE <= report[side].keys()
        assert report[side]["accuracy_low"] <= report[side]["accuracy"] <= report[side]["accuracy_high"]
    assert report["tiers"].keys() == {"local", "mid", "frontier"}
    assert sum(report["tiers"].values()) == pytest.approx(1.0)
    assert report["sensitive_sent"] == 0
    assert report["certificate"]["error_max"] == 0.1
    # More than half is answered locally, so the median is below the simulated 600 ms.
    assert report["tiers"]["local"] > 0.5
    assert report["baseline"]["p50_ms"] >= 600 > report["bantam"]["p50_ms"]
    assert report["bantam"]["cost_usd_per_1000"] < report["baseline"]["cost_usd_per_1000"]


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
        finished = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr
        assert "ChatCompletion" in finished.stdout
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    finally:
        watchdog.cancel()
        demo.kill()
        demo.wait()
        demo.stdout.close()
