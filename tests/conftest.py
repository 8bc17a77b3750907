"""Fixtures: a scripted upstream, gateways in temporary folders, and a student that is trained once per session."""

import shutil
import signal
from types import SimpleNamespace

import pytest

import rows
from gateway import BINARY, Bantam, Gateway, config_text
from upstream import Upstream


def pytest_sessionstart():
    if not BINARY.exists():
        pytest.exit(f"{BINARY} does not exist: run cargo build, or set BANTAM_BIN to another binary", returncode=2)


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def serve(tmp_path, upstream):
    """Returns a function that starts a gateway; it takes the arguments of `config_text`."""
    running = []

    def start(*, env=None, **parts):
        gateway = Gateway(tmp_path, config_text(upstream, **parts), env)
        running.append(gateway)
        return gateway

    yield start
    for gateway in running:
        was_killed = gateway.process.returncode == -signal.SIGKILL
        assert was_killed or gateway.stop() == 0


@pytest.fixture
def gateway(serve):
    return serve()


@pytest.fixture
def client(gateway):
    return gateway.client()


@pytest.fixture(scope="session")
def desk(tmp_path_factory):
    """A student for the task `desk`, its held-out rows, and the certificate proved on them."""
    folder = tmp_path_factory.mktemp("desk")
    bantam = Bantam(folder)
    train, held_out = rows.make(800, seed=1), rows.make(800, seed=2)
    student = folder / "desk.student"
    data, evidence = rows.write(folder / "train.jsonl", train), rows.write(folder / "held_out.jsonl", held_out)
    trained = bantam.json("student", "train", "--kind", "linear", "--data", data, "--out", student)
    bantam.config.write_text('[tasks.desk]\nkind = "classify"\nstudent = "desk.student"\n')
    certified = bantam.json("certify", "desk", "--error", "0.02", "--confidence", "0.95", "--data", evidence)
    certificate = folder / "desk.certificate.json"
    return SimpleNamespace(
        student=student, certificate=certificate, trained=trained, certified=certified, held_out=held_out
    )


@pytest.fixture
def with_desk(serve, desk, tmp_path):
    """Returns a function that starts a gateway whose task `desk` has the student and, by default, its certificate."""

    def start(lines="", *, certified=True, **parts):
        shutil.copy(desk.student, tmp_path)
        if certified:
            shutil.copy(desk.certificate, tmp_path)
        tasks = f'[tasks.desk]\nkind = "classify"\nstudent = "desk.student"\n{lines}\n'
        return serve(tasks=tasks, **parts)

    return start
