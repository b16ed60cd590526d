"""The actor on a server of its own, with a home that is thrown away."""

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
def actors():
    """The ids of two of the actor, `one` and `two`, on a server of their own; all tests here share them."""
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("THEATER_HOME", home)
        patch.delenv("THEATER_ADDRESS", raising=False)
        theater("build")
        server = subprocess.Popen((*THEATER, "server"), env=os.environ)
        try:
            wait_for(server)
            yield [start("one"), start("two")]
        finally:
            server.terminate()
            server.wait(PATIENCE)


def start(name):
    """The id of a new actor."""
    return theater("start", "manifest.toml", "--name", name, "--id-only").stdout.strip()


def wait_for(server):
    """Returns when the server answers."""
    until = time.monotonic() + PATIENCE
    while theater("list", check=False).returncode != 0:
        assert server.poll() is None, "the server ended"
        assert time.monotonic() < until, "the server does not answer"
        time.sleep(0.05)


def ask(actor, words):
    """The reply of the actor."""
    return theater("message", actor, words, "--request").stdout


def test_it_says_who_it_is(actors):
    one, two = actors
    assert ask(one, "who") == one
    assert ask(two, "who") == two


def test_it_asks_another_and_passes_the_answer_on(actors):
    one, two = actors
    assert ask(one, "ask two who") == two


def test_it_answers_those_who_wait_when_a_message_comes(actors):
    one, two = actors
    command = (*THEATER, "message", two, "wait", "--request")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        # A message that comes before the request releases nobody, so one of them may not be enough.
        while waiting.poll() is None:
            assert ask(one, "tell two good morning") == "told"
        assert waiting.stdout.read() == "good morning"


def test_it_answers_what_it_does_not_understand_with_an_error(actors):
    one, _ = actors
    answer = theater("message", one, "hello", "--request", check=False)
    assert answer.returncode == 6
    assert "ask" in answer.stderr


def test_a_failure_of_the_other_is_passed_on(actors):
    one, _ = actors
    assert theater("message", one, "ask nobody who", "--request", check=False).returncode == 6
