"""`theater completion`."""

from __future__ import annotations

import pytest
from commandline import Scripted, Theater


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_calls_back(theater: Theater, shell: str) -> None:
    done = theater("completion", shell)
    assert done.code == 0
    assert f"_THEATER_COMPLETE={shell}_complete" in done.text


def test_commands_and_actors_are_completed(theater: Theater, server: Scripted) -> None:
    def complete(words: str) -> str:
        return theater(COMP_WORDS=words, COMP_CWORD=str(words.count(" ")), _THEATER_COMPLETE="bash_complete").text

    assert "plain,restart" in complete("theater re")
    assert "plain,counter" in complete("theater inspect co")


def test_without_a_server_no_actor_is_completed_and_nothing_said(theater: Theater) -> None:
    words = {"COMP_WORDS": "theater inspect c", "COMP_CWORD": "2", "_THEATER_COMPLETE": "bash_complete"}
    done = theater(**words)
    assert (done.text.strip(), done.err) == ("", "")
