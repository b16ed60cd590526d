"""What processes print on standard error: a line of the log with its process and actor, bounded, escaped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from house import House, eventually

from theater import log
from theater.server.loop import Loop
from theater.server.overheard import Overheard

Name = Callable[[], str]


class Lines:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def warning(self, event: str, **facts: Any) -> None:
        self.said.append({"event": event, **facts})

    error = warning

    def texts(self) -> list[str]:
        return [each["text"] for each in self.said if "text" in each]


@pytest.fixture
def heard() -> Iterator[tuple[Loop, Overheard, Lines]]:
    loop, lines = Loop(), Lines()
    overheard = Overheard(loop, lines)  # type: ignore[arg-type]
    yield loop, overheard, lines
    overheard.close()
    loop.close()


def printing(overheard: Overheard, program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", f"import os,sys\n{program}"], stderr=overheard.descriptor)


def run(loop: Loop, until: Callable[[], object]) -> None:
    def turned() -> object:
        loop.after(0.01, lambda: None)
        loop.turn()
        return until()

    eventually(turned)


def test_the_kernel_says_who_has_printed_what(heard: tuple[Loop, Overheard, Lines]) -> None:
    loop, overheard, lines = heard
    both = [printing(overheard, f"for n in range(5): os.write(2, b'{who}\\n')") for who in "ab"]
    for process, who in zip(both, "ab", strict=True):
        overheard.know(process.pid, process="worker", actor=who)
    assert [process.wait() for process in both] == [0, 0]
    run(loop, lambda: len(lines.said) == 10)
    assert all(each["text"] == each["actor"] for each in lines.said)


def test_a_line_without_end_is_said_too_and_a_long_one_in_pieces(heard: tuple[Loop, Overheard, Lines]) -> None:
    loop, overheard, lines = heard
    printing(overheard, "os.write(2, b'x' * 4500)").wait()
    run(loop, lambda: len(lines.said) == 3)
    assert list(map(len, lines.texts())) == [2000, 2000, 500]


def test_who_floods_is_cut_short_and_what_is_left_out_is_counted(heard: tuple[Loop, Overheard, Lines]) -> None:
    loop, overheard, lines = heard
    flood = printing(overheard, "for n in range(100): os.write(2, b'more\\n' * 1000)")
    other = printing(overheard, "os.write(2, b'quiet\\n')")
    run(loop, lambda: flood.poll() is not None and other.poll() is not None)
    run(loop, lambda: any("lines" in each for each in lines.said))
    assert "quiet" in lines.texts()
    assert len(lines.texts()) < 100
    left_out = sum(each["lines"] for each in lines.said if "lines" in each)
    assert left_out > 99_000


def test_bytes_that_are_no_text_are_shown_as_such(heard: tuple[Loop, Overheard, Lines]) -> None:
    loop, overheard, lines = heard
    printing(overheard, "os.write(2, b'\\xff\\xfe\\n')").wait()
    run(loop, lambda: lines.said)
    assert lines.texts() == ["\\xff\\xfe"]


def test_a_secret_of_the_actor_stands_there_by_its_name(heard: tuple[Loop, Overheard, Lines]) -> None:
    loop, overheard, lines = heard
    overheard.redact = lambda actor, text: text.replace("s3cret", f"<{actor}'s>")
    process = printing(overheard, "sys.stdin.read() if 0 else os.write(2, b's3cret\\n')")
    overheard.know(process.pid, actor="c0")
    run(loop, lambda: lines.said)
    process.wait()
    assert lines.texts() == ["<c0's>"]


def test_who_shuts_the_line_down_does_not_keep_the_loop_busy(heard: tuple[Loop, Overheard, Lines]) -> None:
    loop, overheard, lines = heard
    printing(overheard, "import socket; socket.socket(fileno=os.dup(2)).shutdown(socket.SHUT_RDWR)").wait()
    run(loop, lambda: lines.said)
    assert [each["event"] for each in lines.said] == ["nothing is heard any more of what processes print"]
    assert overheard._ours.fileno() not in loop.readers


def test_descriptors_that_are_sent_along_do_not_get_in(heard: tuple[Loop, Overheard, Lines]) -> None:
    loop, overheard, lines = heard
    before = len(os.listdir("/proc/self/fd"))
    program = "import socket; socket.send_fds(socket.socket(fileno=os.dup(2)), [b'take\\n'], [0, 1, 2] * 20)"
    printing(overheard, program).wait()
    run(loop, lambda: lines.said)
    assert lines.texts() == ["take"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_last_words_of_a_worker_are_a_line_with_its_actor(closed_house: House, name: Name) -> None:
    house = closed_house
    house.server = house.popen(PYTHONFAULTHANDLER="1")  # An interpreter that dies of a signal says where it was.
    house.await_server()
    row = house.start(name(), supervision={"intensity": 10, "period": 1})
    house.kill_worker(row.id, signal.SIGABRT)

    def lines() -> list[dict[str, Any]]:
        said = [json.loads(line) for line in house.log_text().splitlines() if line.startswith("{")]
        return [each for each in said if each["event"] == "printed on standard error"]

    eventually(lambda: any("Fatal Python error: Aborted" in each["text"] for each in lines()), house.log_text)
    (first,) = [each for each in lines() if "Fatal Python error" in each["text"]]
    assert (first["actor"], first["name"], first["incarnation"]) == (row.id, row.name, 1)
    assert (first["process"], first["pid"]) == ("worker", row.pid)
    assert not [line for line in house.log_text().splitlines() if not line.startswith("{")], "nothing comes through raw"


def test_every_line_about_an_actor_names_it_its_life_and_its_place(house: House, name: Name) -> None:
    row = house.start(name(), supervision={"intensity": 10, "period": 1})
    house.client.request(row.id, b"e")
    house.kill_worker(row.id)

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in house.log_text().splitlines(keepends=True) if line.endswith("\n")]

    eventually(lambda: any(each["event"] == "ended" and each["actor"] == row.id for each in lines()))
    said = lines()
    mine = [each for each in said if each.get("actor") == row.id]
    assert [each["event"] for each in mine][:2] == ["running", "ended"]
    assert all({"actor", "name", "incarnation", "entry"} <= each.keys() for each in said if "actor" in each)
    (ended,) = [each for each in mine if each["event"] == "ended"]
    event = house.client.events(row.id, ended["entry"], limit=1).events[0]
    assert (event.type, ended["incarnation"], ended["level"]) == ("outcome", 1, "warning")
    assert log.chosen()[0] == "console", "this process is another"
