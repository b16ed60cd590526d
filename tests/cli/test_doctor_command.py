"""`theater doctor`."""

from __future__ import annotations

import json

from commandline import Scripted, Theater


def test_it_works_without_a_server(theater: Theater) -> None:
    theater.home.chmod(0o700)
    done = theater("doctor")
    assert done.code == 0, done.text
    assert "no server answers" in done.text
    assert done.text.splitlines()[0] == "kernel"
    assert "0 problems" in done.text.splitlines()[-1]


def test_a_problem_has_the_exit_code_of_its_kind_and_says_what_to_do(theater: Theater) -> None:
    theater.home.chmod(0o755)
    done = theater("doctor")
    assert done.code == 3
    assert f"`chmod go= {theater.home}`" in done.text


def test_a_server_is_asked_how_it_is(theater: Theater, server: Scripted) -> None:
    found = json.loads(theater("doctor", "--json").out)
    mine = {each["what"]: each for each in found["findings"] if each["area"] == "server"}
    assert "process" in mine["server"]["says"]
    assert mine["actors"]["verdict"] == "note"
    assert {each["verdict"] for each in found["findings"]} <= {"ok", "note", "problem"}


def test_on_a_terminal_it_is_shown_too(theater: Theater) -> None:
    theater.home.chmod(0o700)
    assert "in order" in theater.on_terminal("doctor").text
