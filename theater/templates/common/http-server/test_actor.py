"""The actor on a server of its own, with a home that is thrown away."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

HERE = Path(__file__).parent
THEATER = ("theater",) if shutil.which("theater") else (sys.executable, "-m", "theater_cli")
SITE = "http://127.0.0.1:8080"
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


def fetch(method, path, body=None):
    """The status and the body of an answer."""
    data = None if body is None else body.encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(SITE + path, data, method=method), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


def test_it_counts_its_visits(actor):
    assert fetch("PUT", "/visits", '{"visits": 41}') == (204, "")
    assert fetch("GET", "/") == (200, "visit 42\n")
    assert fetch("GET", "/") == (200, "visit 43\n")


def test_it_greets_whom_the_path_names(actor):
    assert fetch("GET", "/hello/Ann%20B") == (200, "Hello, Ann B!\n")


def test_it_answers_what_it_does_not_understand_with_an_error(actor):
    assert fetch("PUT", "/visits", "many")[0] == 400
    assert fetch("PUT", "/visits", '{"visits": "many"}')[0] == 400
    assert fetch("GET", "/nowhere")[0] == 404
    assert fetch("DELETE", "/visits")[0] == 405


def test_it_says_where_it_listens(actor):
    assert SITE in theater("inspect", actor).stdout
