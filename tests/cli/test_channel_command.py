"""`theater channel`: in a pipe, on a terminal, and when one of those who talk goes away."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wasmtime
from commandline import Theater
from ready_commands import Command

from theater.client import Client
from theater.errors import ActorDown, ActorFailed, MessageTooLarge, NoServer, UnknownActor

ACTORS = Path(__file__).parents[1] / "actors"
PATIENCE = 30.0
MANIFEST = """\
name = "{name}"
component = "{component}.wasm"
[actor]
register = true
[[handler]]
type = "message-server"
[supervision]
restart = "temporary"
[limits]
mailbox = {mailbox}
call_timeout = "20s"
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theater]:
    """The command line with a real server, and the components of two actors."""
    theater = Theater(Path(tempfile.mkdtemp(prefix="tc")))
    for actor in ("talker", "probe"):
        component = wasmtime.wat2wasm((ACTORS / f"{actor}.wat").read_text())
        (theater.home / f"{actor}.wasm").write_bytes(bytes(component))
    with Command[str](["server"], stderr=subprocess.PIPE, text=True, env=theater.environment()) as process:
        assert process.stderr is not None
        try:
            assert any("serving" in line for line in process.stderr)
            yield theater
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


@pytest.fixture
def talker(live: Theater, request: pytest.FixtureRequest) -> str:
    """The name of a talker of this test alone."""
    return start(live, request.node.name[:60].replace("[", "-").replace("]", ""))


def start(live: Theater, name: str, component: str = "talker", mailbox: int = 1000) -> str:
    manifest = live.home / f"{name}.toml"
    manifest.write_text(MANIFEST.format(name=name, component=component, mailbox=mailbox))
    with Client(home=live.home) as client:
        client.start(manifest)
    return name


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def told(live: Theater, actor: str) -> list[str]:
    with Client(home=live.home) as client:
        calls = [event.data["function"] for event in client.read_events(actor, types=["call"])]
    return [call.removeprefix("handle-channel-") for call in calls if call.startswith("handle-channel-")]


# ---- in a pipe


def test_lines_become_messages_and_messages_lines(live: Theater, talker: str) -> None:
    done = live("channel", "open", talker, "--grace", "0", stdin=b"eone\netwo\nethree")
    assert (done.code, done.out, done.err) == (0, b"one\ntwo\nthree\n", "")
    assert told(live, talker) == ["open", "message", "message", "message", "close"]


def test_the_first_message_is_an_option_and_its_answer_the_first_line(live: Theater, talker: str) -> None:
    assert live("channel", "open", talker, "--message", "r hello", "--grace", "0").out == b"r hello\n"


def test_bytes_go_as_they_are(live: Theater, talker: str) -> None:
    data = b"e\0\xff\n" + bytes(range(256)) * 10
    assert live("channel", "open", talker, "--bytes", "--grace", "0", stdin=data).out == data[1:]


def test_it_ends_when_the_actor_closes_and_says_what_was_not_taken(live: Theater, talker: str) -> None:
    done = live("channel", "open", talker, stdin=b"eone\nK\n")
    assert (done.code, done.out) == (0, b"one\nadieu\n")


def test_late_answers_are_waited_for(live: Theater, talker: str) -> None:
    with live.running("channel", "open", talker, "--grace", "30") as process:
        assert process.stdin is not None
        process.stdin.close()
        with Client(home=live.home) as client:
            eventually(lambda: client.channels(talker), "the channel is open")
            channel = client.channels(talker)[0].channel
            client.request(talker, b"w" + channel.encode() + b"late")
            assert process.stdout is not None
            assert process.stdout.readline() == "late\n"
            client.request(talker, b"k" + channel.encode())
        assert process.wait(PATIENCE) == 0


def test_ten_thousand_lines_go_there_and_back_in_order(live: Theater, talker: str) -> None:
    lines = [b"%d" % number for number in range(10_000)]
    done = live("channel", "open", talker, "--grace", "0", stdin=b"".join(b"e%s\n" % each for each in lines))
    assert done.code == 0, done.err
    assert done.out.split() == lines


def test_a_reader_that_does_not_read_loses_nothing(live: Theater, talker: str) -> None:
    """It is slow in taking what the actor says, so the actor is given no more until it has."""
    source = live.home / "lines"
    source.write_bytes(b"".join(b"e%06d%s\n" % (number, b"." * 2000) for number in range(3000)))
    arguments = ["channel", "open", talker, "--grace", "0"]
    with (
        source.open("rb") as lines,
        Command[bytes](arguments, stdin=lines, stdout=subprocess.PIPE, env=live.environment()) as process,
    ):
        assert process.stdout is not None
        with Client(home=live.home) as client:
            eventually(lambda: [row for row in client.channels(talker) if row.to_client], "something waits")
        found = [int(line[:6]) for line in process.stdout]
        assert process.wait(PATIENCE) == 0
    assert found == list(range(3000))


def test_much_is_read_no_faster_than_the_actor_takes_it(live: Theater, talker: str) -> None:
    """A line that ends nobody: the actor is busy for a while, and the pipe fills."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with Command[bytes](
        ["channel", "open", talker, "--bytes"], stdin=reading, stdout=subprocess.DEVNULL, env=live.environment()
    ) as process:
        os.close(reading)
        eventually(lambda: told(live, talker) == ["open"], "the channel is open")
        os.write(writing, b"b")  # A loop without end, which is cut after 20 s.
        eventually(lambda: len(told(live, talker)) == 2, "the actor is busy")
        written, full_since = 0, time.monotonic()
        while time.monotonic() < full_since + 2:
            try:
                written += os.write(writing, b"#" * 65536)
                full_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
        os.close(writing)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    assert written < 8 << 20


# ---- failures


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("TALKER", "--message", "nno"), ActorFailed),
        (("TALKER", "--message", "xno"), ActorFailed),
        (("TALKER", "--message", "u"), ActorDown),
        (("nobody",), UnknownActor),
    ],
)
def test_what_cannot_be_opened(live: Theater, talker: str, arguments: tuple[str, ...], error: type) -> None:
    done = live("channel", "open", *(talker if word == "TALKER" else word for word in arguments))
    assert done.code == error.exit_code  # type: ignore[attr-defined]
    assert done.err.startswith("theater: ")


def test_without_a_server(theater: Theater) -> None:
    assert theater("channel", "open", "a").code == NoServer.exit_code


def test_the_death_of_the_actor_is_an_error(live: Theater, talker: str) -> None:
    done = live("channel", "open", talker, stdin=b"eone\nu\netwo\n")
    assert done.code == ActorDown.exit_code
    assert "went down" in done.err


def test_a_line_that_is_too_long_is_refused_before_it_is_read(live: Theater, talker: str) -> None:
    done = live("channel", "open", talker, stdin=b"x" * (5 << 20))
    assert done.code == MessageTooLarge.exit_code
    assert "--bytes" in done.err


def test_a_killed_session_closes_its_channel(live: Theater, talker: str) -> None:
    with live.running("channel", "open", talker) as process:
        eventually(lambda: told(live, talker) == ["open"], "the channel is open")
        process.kill()
        eventually(lambda: told(live, talker) == ["open", "close"], "the actor is told")


def test_ctrl_c_closes_in_order(live: Theater, talker: str) -> None:
    with live.running("channel", "open", talker) as process:
        eventually(lambda: told(live, talker) == ["open"], "the channel is open")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    assert told(live, talker) == ["open", "close"]


# ---- on a terminal


def test_a_session_on_a_terminal_shows_what_comes_and_obeys_nothing_in_it(live: Theater, talker: str) -> None:
    master, slave = pty.openpty()
    with Command[bytes](
        ["channel", "open", talker, "--grace", "0"], stdin=slave, stdout=slave, stderr=slave, env=live.environment()
    ) as process:
        os.close(slave)
        seen = b""
        while b"Ctrl-D ends it" not in seen:
            seen += os.read(master, 4096)
        os.write(master, b"ehello\n")
        with Client(home=live.home) as client:
            channel = client.channels(talker)[0].channel
            client.request(talker, b"w" + channel.encode() + b"\x1b[31mred")
        # The answer to what was typed and what somebody else says come in any order.
        while b"\\u001b[31mred" not in seen or b"\r\nhello\r\n" not in seen:
            seen += os.read(master, 4096)
        os.write(master, b"\x04")
        assert process.wait(PATIENCE) == 0
        os.close(master)
    assert b"\x1b[31mred" not in seen


# ---- listing


def test_open_channels_are_listed(live: Theater, talker: str) -> None:
    with live.running("channel", "open", talker):
        eventually(lambda: told(live, talker) == ["open"], "the channel is open")
        (row,) = json.loads(live("channel", "list", talker, "--json").out)
        assert (row["name"], row["to_actor"], row["to_client"]) == (talker, 0, 0)
        listed = live("channel").text
        assert "TO ACTOR" in listed
        assert row["channel"] in listed


def test_a_program_talks_over_the_session(live: Theater, talker: str) -> None:
    """Nothing waits in a buffer while the input is open."""
    with live.running("channel", "open", talker) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(20):
            process.stdin.write(f"e{number}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{number}\n"
