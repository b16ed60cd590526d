"""The actor on a server of its own, with a home that is thrown away."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
THEATER = ("theater",) if shutil.which("theater") else (sys.executable, "-m", "theater_cli")
PATIENCE = 120  # seconds; the first build on a machine takes longest


def theater(*arguments, check=True):
    """Runs a command of Theater; unless told otherwise, it has to succeed."""
    done = subprocess.run((*THEATER, *arguments), cwd=HERE, check=False, capture_output=True, text=True)
    assert done.returncode == 0 or not check, done.stderr
    return done


@pytest.fixture(scope="module")
def actor():
    """The id of the actor, on a server of its own; all tests here share it."""
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("THEATER_HOME", home)
        patch.delenv("THEATER_ADDRESS", raising=False)
        theater("build")
        theater("build", "worker")
        server = subprocess.Popen((*THEATER, "server"), env=os.environ)
        try:
            wait_for(server)
            yield theater("start", "manifest.toml", "--id-only").stdout.strip()
        finally:
            server.terminate()
            server.wait(PATIENCE)


def wait_for(server):
    """Returns when the server answers."""
    until = time.monotonic() + PATIENCE
    while theater("list", check=False).returncode != 0:
        assert server.poll() is None, "the server ended"
        assert time.monotonic() < until, "the server does not answer"
        time.sleep(0.05)


def ask(actor, message, check=True):
    """The reply of the actor; None if it failed."""
    done = theater("message", actor, json.dumps(message), "--request", check=check)
    return json.loads(done.stdout) if done.returncode == 0 else None


def test_it_gives_work_to_its_workers(actor):
    assert ask(actor, {"work": "bread"}) == {"done": "BREAD"}
    assert ask(actor, {"work": "salt"}) == {"done": "SALT"}


def test_a_worker_that_crashes_is_started_again_and_counted(actor):
    before = ask(actor, {"report": True})
    assert before["workers"] == 2
    assert ask(actor, {"crash": True}, check=False) is None
    until = time.monotonic() + PATIENCE
    while (after := ask(actor, {"report": True}))["failures"] == before["failures"]:
        assert time.monotonic() < until, "nobody told it of the crash"
        time.sleep(0.05)
    assert after == {"workers": 2, "failures": before["failures"] + 1}
    assert ask(actor, {"work": "more"}) == {"done": "MORE"}


def test_its_workers_are_listed(actor):
    listed = json.loads(theater("list", "--json").stdout)
    assert str(listed).count("{{name}}-worker") == 2
