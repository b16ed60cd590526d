"""What holds for every command: speed, errors, exit codes, pipes and terminals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner
from commandline import Scripted, Theater
from theater_cli.main import run
from theater_cli.main import theater as command_line

from theater import errors

HEAVY = ("wasmtime", "zmq", "rich", "msgpack", "blake3", "tomlkit", "structlog", "theater.client", "theater.build")


def commands() -> list[str]:
    return command_line.list_commands(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [["--help"], ["list", "--help"], ["store", "--help"], ["completion", "bash"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys; from theater_cli.main import run; code = run(sys.argv[2:]);"
        "print(code, sorted(set(sys.argv[1].split(',')) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, ",".join(HEAVY), *arguments], capture_output=True, text=True, timeout=30
    )
    assert done.stderr == "0 []\n"


@pytest.mark.parametrize("name", commands())
def test_every_command_explains_itself_in_one_whole_sentence(name: str) -> None:
    help_line = command_line.get_command(None, name).get_short_help_str()  # type: ignore[union-attr, arg-type]
    assert not help_line.endswith("...")
    assert CliRunner().invoke(command_line, [name, "--help"]).exit_code == 0


def test_without_a_server_every_command_says_so_in_one_line(theater: Theater) -> None:
    for words in (["list"], ["inspect", "a"], ["stop", "a"], ["stop", "--server"], ["message", "a", "b"], ["tree"]):
        done = theater(*words)
        assert (done.code, done.out) == (5, b"")
        assert done.err == f"theater: no server at {theater.address}; start one with `theater server`\n"


def test_an_error_is_an_object_too_when_json_was_asked_for(theater: Theater) -> None:
    done = theater("list", "--json")
    assert done.code == errors.NoServer.exit_code
    assert json.loads(done.out)["error"] == "NoServer"
    assert json.loads(done.out)["details"] == {"address": theater.address}


def test_the_exit_code_is_that_of_the_errors_class(theater: Theater, server: Scripted) -> None:
    assert theater("inspect", "nobody").code == errors.UnknownActor.exit_code
    assert theater("message", "counter", "fail", "--request").code == errors.ActorFailed.exit_code
    assert theater("message", "counter", "die", "--request").code == errors.NoServer.exit_code


def test_a_wrong_use_ends_with_2_and_points_to_the_help(theater: Theater) -> None:
    done = theater("inspect")
    assert done.code == 2
    assert done.err.startswith("theater: Missing argument 'ACTOR'")
    assert "theater inspect --help" in done.err


def test_a_command_that_is_none_is_a_wrong_use_with_a_guess(theater: Theater) -> None:
    done = theater("strat")
    assert done.code == 2
    assert done.err.startswith("theater: there is no command 'strat'; did you mean state or start?\n")
    assert theater("xyzzy").err.startswith("theater: there is no command 'xyzzy'\n")


def test_alone_it_shows_its_help(theater: Theater) -> None:
    assert theater().out == theater("--help").out


def test_an_address_that_is_none_is_invalid_input(theater: Theater) -> None:
    assert theater("--address", "http://x", "list").code == errors.InvalidInput.exit_code
    assert theater("--home", "/tmp/" + "x" * 120, "list").code == errors.SocketPathTooLong.exit_code


def test_the_home_may_be_named_before_the_command_or_after_it(
    theater: Theater, server: Scripted, tmp_path: Path
) -> None:
    elsewhere = {"THEATER_HOME": str(tmp_path)}
    assert theater("list", **elsewhere).code == 5
    assert theater("--home", str(theater.home), "list", **elsewhere).code == 0
    assert theater("list", "--home", str(theater.home), **elsewhere).code == 0
    assert theater("list", "--address", theater.address, **elsewhere).code == 0
    assert theater("list", **elsewhere, THEATER_ADDRESS=theater.address).code == 0


def test_a_defect_of_ours_is_one_line_and_a_traceback_only_on_demand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(command_line, "get_command", fail)
    assert run(["list"]) == 1
    assert capsys.readouterr().err == "theater: unexpected KeyError: 'x'; THEATER_DEBUG=1 shows where\n"
    monkeypatch.setenv("THEATER_DEBUG", "1")
    assert run(["list"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_ends_quietly_with_130(theater: Theater, server: Scripted) -> None:
    with theater.running("subscribe", "counter") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, "", "")


def test_a_reader_that_goes_away_is_no_complaint(theater: Theater, server: Scripted) -> None:
    with theater.running("subscribe", "counter") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert theater("message", "counter", "x").code == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(10) == 141


def test_an_error_that_nobody_reads_is_no_complaint_either(theater: Theater) -> None:
    with theater.running("list", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(10) in (5, 141)


def test_what_is_no_text_is_no_defect(theater: Theater, server: Scripted) -> None:
    assert theater("inspect", "-", stdin=b"\xff\n").code == errors.UnknownActor.exit_code
    assert theater("inspect", os.fsdecode(b"\xff")).code == errors.InvalidInput.exit_code


def test_ids_come_from_standard_input_one_a_line(theater: Theater, server: Scripted) -> None:
    done = theater("restart", "-", stdin=b"counter\n\n  f0000000 \n")
    assert [line.split()[0] for line in done.text.splitlines()] == ["restarted", "restarted"]
    done = theater("inspect", "-", "--json", stdin=b"c000\n")
    assert json.loads(done.out)["name"] == "counter"


def test_no_id_on_standard_input_is_a_wrong_use(theater: Theater, server: Scripted) -> None:
    done = theater("subscribe", "-")
    assert done.code == 2
    assert "standard input has no actor ids" in done.err


def test_one_failure_does_not_keep_the_others_from_their_turn(theater: Theater, server: Scripted) -> None:
    done = theater("stop", "nobody", "counter")
    assert done.code == errors.UnknownActor.exit_code
    assert "stopped counter" in done.text
    assert done.err.startswith("theater: no actor 'nobody'")


def test_a_terminal_gets_colours_unless_no_color_is_set_and_a_pipe_none(theater: Theater, server: Scripted) -> None:
    assert b"\x1b[3" in theater.on_terminal("list").out
    assert b"\x1b[3" not in theater.on_terminal("list", NO_COLOR="1").out
    assert b"\x1b" not in theater("list").out


def test_version_is_that_of_the_package(theater: Theater) -> None:
    assert theater("--version").text == f"theater {version('theater')}\n"
