"""The seam of a replay: answers from the record, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from theater.core.values import Ok
from theater.host.base import Refused
from theater.host.recorded import RecordedSeam
from theater.host.wasi import GuestHost


class Recording:
    """A record in memory: answers in order."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Any, ...]] = []

    def ask(self, interface: str, function: str, args: tuple[Any, ...]) -> Any:
        self.asked.append((interface, function, args))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def compute() -> Any:
    raise AssertionError("a replay computes nothing")


def test_a_host_function_answers_what_is_recorded_as_it_stands() -> None:
    recording = Recording(Ok("recorded"))
    assert RecordedSeam(recording).bind("house", "get-name", ((), ("result", "string", "string")))(7) == Ok("recorded")
    assert recording.asked == [("house", "get-name", (7,))]


def test_wasi_is_answered_without_looking_at_this_machine() -> None:
    recording = Recording(17, None, None)
    wasi = GuestHost(RecordedSeam(recording)).wasi
    assert wasi.answer("wasi:clocks/monotonic-clock", "now", (), compute) == 17
    wasi.output("stdout", b"hello")
    wasi.sleep(3600 * 10**9)
    assert recording.asked[1:] == [
        ("wasi:io/streams", "write", ("stdout", b"hello")),
        ("wasi:io/poll", "block", (3600 * 10**9,)),
    ]


def test_arguments_without_a_place_in_a_record_are_refused_in_the_words_of_the_seam() -> None:
    seam = RecordedSeam(Recording(ValueError("too deep")))
    with pytest.raises(Refused, match=r"^the arguments of get-name cannot be recorded: too deep$"):
        seam.bind("house", "get-name", ((), None))(1)


def test_what_ends_a_guest_comes_out_as_itself() -> None:
    seam = RecordedSeam(Recording(KeyboardInterrupt(), RuntimeError("no")))
    with pytest.raises(KeyboardInterrupt):
        seam.bind("house", "get-name", ((), None))()
    with pytest.raises(RuntimeError, match=r"^no$"):
        seam.answer("wasi:clocks/wall-clock", "now", (), compute)
