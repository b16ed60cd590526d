"""Links carry frames whole and in order, whoever is at the other end, and hold no more than they say."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.bus.ends import Full, Gone
from theater.bus.links import Allowance, Link, Poll, Sheaf, pair

LARGEST = 1 << 18
LONG = 100_000
"""More than one read takes."""


class Ends:
    """Both ends of one connection: a link, and what says to it whatever a test likes."""

    def __init__(self, **keys: object) -> None:
        ours, theirs = pair()
        self.link = Link(ours, largest=LARGEST, **keys)  # type: ignore[arg-type]
        self.other = socket.socket(fileno=theirs)

    def __enter__(self) -> Ends:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()
        self.other.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with Ends() as made:
        yield made


def framed(frame: bytes) -> bytes:
    return len(frame).to_bytes(4, "big") + frame


# ---- receiving


@given(st.lists(st.integers(8, 150_000), max_size=4), st.lists(st.integers(1, 70_000), min_size=1))
def test_frames_arrive_whole_and_in_order_however_they_are_cut(lengths: list[int], pieces: list[int]) -> None:
    """And after each read the link says whether `next` has a frame: who looks no further would wait for ever."""
    frames = [bytes([number]) * length for number, length in enumerate(lengths)]
    stream, got, turn = b"".join(map(framed, frames)), [], 0
    with Ends() as ends:
        while stream:
            piece = pieces[turn % len(pieces)]
            turn += 1
            ends.other.sendall(stream[:piece])
            stream = stream[piece:]
            while ends.link.read():
                said = ends.link.has_frames
                frame = ends.link.next()
                assert said or frame is None
                while frame is not None:
                    got.append(frame)
                    frame = ends.link.next()
                assert not ends.link.has_frames
        assert got == frames
        assert not ends.link.ended


@pytest.mark.parametrize("length", [0, 3, LARGEST + 1, (1 << 31) - 1])
def test_a_frame_of_a_length_that_is_not_allowed_ends_the_link(ends: Ends, length: int) -> None:
    ends.other.sendall(length.to_bytes(4, "big") + b"x" * 8)
    assert ends.link.receive() is None
    assert ends.link.fault is not None
    assert f"a frame of {length} bytes" in ends.link.fault
    assert ends.link.ended
    with pytest.raises(Gone):
        ends.link.send(b"x" * 8)


def test_a_descriptor_that_nobody_asked_for_ends_the_link(ends: Ends) -> None:
    ends.other.sendall((8 | 1 << 31).to_bytes(4, "big") + b"x" * 8)
    assert ends.link.receive() is None
    assert ends.link.fault == "a frame with a descriptor, and none is allowed"


def test_what_was_said_before_the_end_is_heard(ends: Ends) -> None:
    ends.other.sendall(framed(b"last word") + framed(b"cut off")[:-1])
    ends.other.close()
    assert ends.link.receive() == b"last word"
    assert ends.link.receive() is None
    assert ends.link.ended
    assert ends.link.fault is None


def test_a_descriptor_comes_with_its_frame() -> None:
    ours, theirs = pair()
    sender, receiver = Link(ours, largest=LARGEST), Link(theirs, largest=LARGEST, takes_descriptors=True)
    sender.send(b"before it")
    for length in (8, LONG):
        there = os.memfd_create("given")
        os.write(there, b"%d" % length)
        sender.send(b"x" * length, descriptor=there)
        sender.send(b"after it")
    assert receiver.receive() == b"before it"
    assert receiver.take_descriptor() is None
    for length in (8, LONG):
        assert receiver.receive() == b"x" * length
        came = receiver.take_descriptor()
        assert came is not None
        assert os.pread(came, 10, 0) == b"%d" % length
        os.close(came)
        assert receiver.receive() == b"after it"
        assert receiver.take_descriptor() is None
    sender.close()
    receiver.close()


def test_long_frames_take_turns_where_room_is_shared() -> None:
    allowance = Allowance(LONG)
    with Ends(allowance=allowance) as one, Ends(allowance=allowance) as two:
        for number, each in enumerate((one, two)):
            each.other.sendall(framed(bytes([number]) * LONG)[: LONG - 10])
        assert one.link.receive() is None
        assert two.link.receive() is None
        assert (one.link.held, two.link.held) == (False, True)
        assert allowance.holders == (one.link,)
        for number, each in enumerate((one, two)):
            each.other.sendall(bytes([number]) * 14)
        assert two.link.receive() is None
        assert one.link.receive() == b"\0" * LONG
        assert two.link.receive() == b"\1" * LONG
        assert not two.link.held
        assert allowance.holders == ()


def test_half_a_long_frame_of_one_that_is_gone_takes_no_room() -> None:
    allowance = Allowance(LONG)
    with Ends(allowance=allowance) as one:
        one.other.sendall(framed(b"x" * LONG)[: LONG - 10])
        assert one.link.receive() is None
        assert allowance.holders == (one.link,)
        one.other.close()
        assert one.link.receive() is None
        assert allowance.holders == ()


# ---- sending


def test_what_a_slow_peer_has_no_room_for_waits_up_to_a_bound_and_leaves_in_order() -> None:
    told = []
    with Ends(frames=5, size=1 << 30) as ends:
        ends.link.on_unsent = told.append
        count = 0
        while ends.link.unsent_frames < 5:
            ends.link.send(b"%08d" % count + b"x" * LONG)
            count += 1
        with pytest.raises(Full):
            ends.link.send(b"x" * LONG)
        assert told == [ends.link]
        assert ends.link.unsent_frames == 5
        assert not ends.link.flush()
        reader = Link(os.dup(ends.other.fileno()), largest=LARGEST)
        for number in range(count):
            while (frame := reader.receive()) is None:
                ends.link.flush()
            assert frame[:8] == b"%08d" % number
        assert ends.link.flush()
        assert (ends.link.unsent_frames, ends.link.unsent_bytes) == (0, 0)
        reader.close()


def test_two_who_say_a_lot_to_each_other_at_once_are_both_heard() -> None:
    """Each takes in, while it waits for room, what the other says."""
    ours, theirs = pair()
    one, two = Link(ours, largest=1 << 23), Link(theirs, largest=1 << 23)
    pid = os.fork()
    if pid == 0:
        one.close()
        two.send(b"2" * (1 << 22), patience=10.0)
        said = two.receive_within(10.0)
        os._exit(0 if said == b"1" * (1 << 22) else 1)
    two.close()
    one.send(b"1" * (1 << 22), patience=10.0)
    assert one.receive_within(10.0) == b"2" * (1 << 22)
    assert os.waitpid(pid, 0)[1] == 0
    one.close()


def test_nothing_can_be_said_to_one_that_is_gone(ends: Ends) -> None:
    ends.other.close()
    kept, given_away = os.pipe()
    ends.link.send(b"too late", descriptor=given_away)
    assert not ends.link.has_unsent
    with pytest.raises(Gone):
        ends.link.send(b"too late")
    os.close(kept)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(given_away)


# ---- waiting for many


def test_a_sheaf_gives_each_link_its_turn_and_tells_of_those_that_end() -> None:
    gone: list[Link] = []
    sheaf = Sheaf(gone.append)
    with Ends() as busy, Ends() as quiet:
        sheaf.add(busy.link)
        sheaf.add(quiet.link)
        busy.other.sendall(framed(b"from the busy one") * 10)
        quiet.other.sendall(framed(b"from the quiet one"))
        heard = [sheaf.receive() for _ in range(3)]
        assert (quiet.link, b"from the quiet one") in heard
        quiet.other.close()
        while sheaf.receive() is not None:
            pass
        assert gone == [quiet.link]
        sheaf.remove(busy.link)
        sheaf.close()


def test_a_wait_ends_for_what_has_been_read_already(ends: Ends) -> None:
    """A frame whose last part was read and which nobody has taken yet is in no kernel's buffer."""
    poll = Poll(ends.link)
    ends.other.sendall(framed(b"x" * LONG))
    assert ends.link.read()
    assert ends.link.next() is None
    assert ends.link.read()
    assert list(poll.wait(0.0)) == [ends.link]
    assert ends.link.next() == b"x" * LONG
    assert list(poll.wait(0.0)) == []


def test_what_waits_leaves_during_a_wait() -> None:
    with Ends() as ends:
        poll = Poll(ends.link)
        ends.link.on_unsent = poll.let_out
        ends.link.send(b"x" * (1 << 21))
        assert poll.has_unsent
        left = 4 + (1 << 21)
        while left:
            left -= len(ends.other.recv(1 << 20))
            list(poll.wait(0.0))
        assert not poll.has_unsent
