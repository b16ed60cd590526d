"""The actor on a server of its own, with a home that is thrown away."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATIENCE = 60  # seconds; the first build on a machine takes longest


def theater(*arguments: str) -> str:
    """Runs a command of Theater and returns what it printed."""
    return subprocess.run(("theater", *arguments), cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture
def actor(monkeypatch):
    """The id of the actor, started on a server."""
    with tempfile.TemporaryDirectory() as home:
        monkeypatch.setenv("THEATER_HOME", home)
        monkeypatch.delenv("THEATER_ADDRESS", raising=False)
        theater("build")
        server = subprocess.Popen(("theater", "server"), env=os.environ)
        try:
            wait_for_server(server)
            yield theater("start", "manifest.toml", "--id-only").strip()
        finally:
            server.terminate()
            server.wait(PATIENCE)


def wait_for_server(server: subprocess.Popen) -> None:
    """Returns when the server answers."""
    until = time.monotonic() + PATIENCE
    while subprocess.run(("theater", "list"), capture_output=True).returncode != 0:
        assert server.poll() is None, "the server ended"
        assert time.monotonic() < until, "the server does not answer"
        time.sleep(0.05)


def ask(actor: str, message: object) -> object:
    """The reply of the actor."""
    return json.loads(theater("message", actor, json.dumps(message), "--request"))


def test_what_is_put_in_is_taken_out_in_order(actor):
    theater("message", actor, '{"put": "bread"}')
    theater("message", actor, '{"put": "salt"}')
    assert ask(actor, {"take": True}) == {"item": "bread"}
    assert ask(actor, {"take": True}) == {"item": "salt"}


def test_a_request_waits_until_there_is_something(actor):
    waiting = subprocess.Popen(
        ("theater", "message", actor, '{"take": true}', "--request"), cwd=HERE, stdout=subprocess.PIPE
    )
    theater("message", actor, '{"put": "bread"}')
    reply, _ = waiting.communicate(timeout=PATIENCE)
    assert json.loads(reply) == {"item": "bread"}
