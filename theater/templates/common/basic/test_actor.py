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
def server():
    """A server of its own, which all tests here share."""
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("THEATER_HOME", home)
        patch.delenv("THEATER_ADDRESS", raising=False)
        theater("build")
        process = subprocess.Popen((*THEATER, "server"), env=os.environ)
        try:
            wait_for(process)
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE)


@pytest.fixture
def actor(server):
    """The id of a new actor."""
    return theater("start", "manifest.toml", "--id-only").stdout.strip()


def wait_for(server):
    """Returns when the server answers."""
    until = time.monotonic() + PATIENCE
    while theater("list", check=False).returncode != 0:
        assert server.poll() is None, "the server ended"
        assert time.monotonic() < until, "the server does not answer"
        time.sleep(0.05)


def ask(actor, message):
    """The reply of the actor."""
    return json.loads(theater("message", actor, json.dumps(message), "--request").stdout)


def test_it_counts(actor):
    assert ask(actor, {"add": 2}) == {"count": 2}
    assert ask(actor, {"add": -3}) == {"count": -1}


def test_it_answers_what_it_does_not_understand_with_an_error(actor):
    answer = theater("message", actor, '"hello"', "--request", check=False)
    assert answer.returncode == 6
    assert "add" in answer.stderr


def test_it_goes_on_with_its_last_state_after_a_crash(actor):
    assert ask(actor, {"add": 2}) == {"count": 2}
    assert theater("message", actor, '{"crash": true}', "--request", check=False).returncode != 0
    assert ask(actor, {"add": 1}) == {"count": 3}
