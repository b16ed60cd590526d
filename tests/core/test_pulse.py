"""The page between a worker and the supervisor."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import subprocess
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from theater.core.chain import Mark
from theater.core.exit_reason import ExitReason
from theater.core.pulse import SIZE, Pulse

OFFSETS = st.integers(0, 2**60)
MARKS = st.builds(
    Mark,
    OFFSETS,
    st.binary(min_size=32, max_size=32),
    OFFSETS,
    st.none() | OFFSETS,
    st.integers(0, 2**32),
    st.none() | OFFSETS,
    st.none() | OFFSETS,
)


def both_sides() -> tuple[Pulse, Pulse, bytearray]:
    page = bytearray(SIZE)
    return Pulse(memoryview(page)), Pulse(memoryview(page)), page


@given(st.lists(MARKS, min_size=1, max_size=5))
def test_the_supervisor_reads_the_last_mark_that_was_written(marks: list[Mark]) -> None:
    worker, supervisor, _ = both_sides()
    for mark in marks:
        worker.mark(mark)
    assert supervisor.read_mark() == marks[-1]


def test_a_new_page_says_nothing() -> None:
    _, supervisor, _ = both_sides()
    assert supervisor.read_mark() is None
    assert supervisor.call_since() is None
    assert supervisor.last_call() is None
    assert supervisor.read_last_words() is None
    assert supervisor.read_gauges() == (0, 0, 0)
    assert not supervisor.watched


@given(MARKS)
def test_a_mark_whose_writer_died_on_the_way_is_not_believed(mark: Mark) -> None:
    worker, supervisor, page = both_sides()
    worker.mark(mark)
    (generation,) = struct.unpack_from("=Q", page, 0)
    struct.pack_into("=Q", page, 0, generation + 1)
    assert supervisor.read_mark() is None


def test_a_call_is_seen_from_its_beginning_to_its_end_and_remembered() -> None:
    worker, supervisor, _ = both_sides()
    worker.begin(now_ns=5, offset=0)
    assert (supervisor.call_since(), supervisor.last_call()) == (5, 0)
    worker.end()
    assert (supervisor.call_since(), supervisor.last_call()) == (None, 0)


@given(st.text(max_size=20_000))
def test_last_words_arrive_whatever_they_are_and_keep_their_kind(text: str) -> None:
    worker, supervisor, _ = both_sides()
    worker.last_words(ExitReason.error(text.encode("utf-8", "replace").decode()).to_dict())
    words = supervisor.read_last_words()
    assert words is not None
    assert ExitReason.from_dict(words).kind == "error"


@given(st.lists(st.tuples(st.integers(0, SIZE - 64), st.binary(max_size=64)), max_size=12))
def test_a_page_full_of_anything_harms_nobody(writes: list[tuple[int, bytes]]) -> None:
    """A worker may write what it likes; it can only misinform about itself."""
    page = bytearray(SIZE)
    for at, data in writes:
        page[at : at + len(data)] = data
    supervisor = Pulse(memoryview(page))
    found: list[Any] = [supervisor.read_mark(), supervisor.call_since(), supervisor.last_call()]
    found += [supervisor.read_gauges(), supervisor.read_last_words(), supervisor.last_delivery(100)]
    assert len(found) == 6


def test_a_message_from_outside_is_taken_when_its_call_is_in_the_chain() -> None:
    worker, supervisor, _ = both_sides()
    assert supervisor.last_delivery(1000) == 0
    worker.takes(3, 500)
    worker.takes(7, 1000)
    assert supervisor.last_delivery(1000) == 3  # The other call was to be written behind the end, and was not.
    assert supervisor.last_delivery(1001) == 7


TAKER = """
import mmap, sys
from theater.core.pulse import SIZE, Pulse

page = mmap.mmap(int(sys.argv[1]), SIZE)
pulse, length = Pulse(memoryview(page)), memoryview(page)[3072:3080].cast("Q")
delivery = 0
while True:
    delivery += 1
    pulse.takes(delivery, 10 * delivery)
    length[0] = 10 * (delivery + 1)
"""


def test_it_is_known_what_a_worker_had_taken_whenever_it_was_killed() -> None:
    """It is stopped 300 times while it takes one message after the other: what the page says then is what it would say
    if the worker had been killed there. A call's entry is ten bytes, and the chain's length stands at byte 3072."""
    page = os.memfd_create("pulse")
    os.ftruncate(page, SIZE)
    wrong = []
    with mmap.mmap(page, SIZE) as shared, memoryview(shared) as view:
        supervisor, length = Pulse(memoryview(shared)), view[3072:3080].cast("Q")
        worker = subprocess.Popen([sys.executable, "-c", TAKER, str(page)], pass_fds=(page,))
        os.close(page)
        try:
            for _ in range(300):
                before = length[0]
                while length[0] == before:
                    assert worker.poll() is None
                worker.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, worker.pid, os.WSTOPPED)
                if supervisor.last_delivery(length[0]) != length[0] // 10 - 1:
                    wrong.append((supervisor.last_delivery(length[0]), length[0]))
                worker.send_signal(signal.SIGCONT)
                os.waitid(os.P_PID, worker.pid, os.WCONTINUED)
        finally:
            worker.kill()
            worker.wait()
            supervisor.release()
            length.release()
    assert wrong == []


def test_the_wish_to_be_told_reaches_the_worker() -> None:
    worker, supervisor, _ = both_sides()
    supervisor.watch(True)
    assert worker.watched
    supervisor.watch(False)
    assert not worker.watched


def test_every_step_of_a_call_is_progress() -> None:
    worker, supervisor, _ = both_sides()
    seen = {supervisor.progress()}
    worker.begin(1, 100)
    seen.add(supervisor.progress())
    worker.step(120)
    seen.add(supervisor.progress())
    worker.begin(2, 200)
    seen.add(supervisor.progress())
    assert len(seen) == 4
