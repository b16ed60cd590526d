"""The table of channels of one life, and two of them that talk over a slow connection."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from theater.core.channels import MOST, OUTSIDE, Party, Table
from theater.core.ids import channel_id, child_id, is_id
from theater.errors import LimitExceeded, NotFound, WrongState

A = Party("a", 1)


def test_a_channel_can_be_spoken_on_once_it_is_accepted_and_until_it_is_closed() -> None:
    table = Table()
    table.opening("1", A)
    with pytest.raises(NotFound):
        table.other_end("1")
    table.accepted("1")
    assert table.other_end("1") == A
    assert table.close("1") == A
    with pytest.raises(NotFound, match="no open channel '1'"):
        table.other_end("1")


def test_who_is_asked_cannot_speak_before_the_answer() -> None:
    table = Table()
    table.offered("1", OUTSIDE)
    with pytest.raises(WrongState, match="is not open before this call"):
        table.close("1")
    assert table.dropped("1") == OUTSIDE
    assert table.dropped("1") is None


def test_only_the_other_end_is_heard() -> None:
    table = Table()
    table.offered("1", A)
    table.accepted("1")
    assert table.hears("1", "a")
    assert not table.hears("1", "b")
    assert not table.closed_there("1", None)
    assert table.closed_there("1", "a")
    assert not table.closed_there("1", "a")


def test_there_is_a_bound() -> None:
    table = Table()
    for number in range(MOST):
        table.offered(str(number), A)
    with pytest.raises(LimitExceeded, match="1000 channels at a time"):
        table.opening("more", A)
    with pytest.raises(WrongState):
        table.offered("1", A)


def test_the_id_of_a_channel_is_an_id_and_no_childs() -> None:
    assert is_id(channel_id(bytes(32), 1))
    assert channel_id(bytes(32), 1) == channel_id(bytes(32), 1) != child_id(bytes(32), 1)


# ---- two lives


class Said(NamedTuple):
    """A number that was said on a channel, or None for a close."""

    channel: str
    number: int | None


class End:
    """A life with a guest that notes what it is told, and with what is on its way to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.table = Table()
        self.coming: deque[Said] = deque()
        self.told: dict[str, list[int | None]] = {}
        self.said: dict[str, list[int | None]] = {}
        self.lives = True

    def take(self, other: End) -> None:
        said = self.coming.popleft()
        if said.number is None:
            if self.table.closed_there(said.channel, other.name):
                self.told[said.channel].append(None)
        elif self.table.hears(said.channel, other.name):
            self.told[said.channel].append(said.number)


class Conversation(RuleBasedStateMachine):
    """Two lives, a connection in each direction that delivers in order and late, and the death of either."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = End("a"), End("b")
        self.channels = 0
        self.number = 0

    @rule(opener=st.integers(0, 1), accepts=st.booleans())
    def opens(self, opener: int, accepts: bool) -> None:
        one, other = self.ends[opener], self.ends[1 - opener]
        if not (one.lives and other.lives):
            return
        self.channels += 1
        channel = str(self.channels)
        one.table.opening(channel, Party(other.name, 1))
        other.table.offered(channel, Party(one.name, 1))
        for end in self.ends:
            end.told[channel], end.said[channel] = [], []
            if accepts:
                end.table.accepted(channel)
            else:
                assert end.table.dropped(channel) is not None

    @rule(end=st.integers(0, 1), pick=st.integers(0, 1000), closes=st.booleans())
    def says(self, end: int, pick: int, closes: bool) -> None:
        one, other = self.ends[end], self.ends[1 - end]
        if not one.lives or not self.channels:
            return
        channel = str(pick % self.channels + 1)
        self.number += 1
        number = None if closes else self.number
        try:
            assert (one.table.close if closes else one.table.other_end)(channel) == Party(other.name, 1)
        except NotFound:
            return
        one.said[channel].append(number)
        other.coming.append(Said(channel, number))

    @rule(end=st.integers(0, 1), count=st.integers(1, 5))
    def arrives(self, end: int, count: int) -> None:
        one, other = self.ends[end], self.ends[1 - end]
        for _ in range(min(count, len(one.coming)) if one.lives else 0):
            one.take(other)

    @rule(end=st.integers(0, 1))
    def dies(self, end: int) -> None:
        one, other = self.ends[end], self.ends[1 - end]
        if not (one.lives and other.lives):
            return
        one.lives = False
        # The news comes behind everything that the dead one had said.
        other.coming.extend(Said(channel, None) for channel in other.table.of(Party(one.name, 1)))

    @invariant()
    def each_end_was_told_a_beginning_of_what_the_other_said(self) -> None:
        for one, other in (self.ends, self.ends[::-1]):
            for channel, told in one.told.items():
                numbers = [number for number in told if number is not None]
                assert numbers == [number for number in other.said[channel] if number is not None][: len(numbers)]

    @invariant()
    def nobody_is_told_twice_that_a_channel_is_closed_or_anything_after_it(self) -> None:
        for end in self.ends:
            for told in end.told.values():
                assert None not in told[:-1]

    @invariant()
    def who_closed_is_not_told_of_it(self) -> None:
        for end in self.ends:
            for channel, said in end.said.items():
                assert not (None in said and None in end.told[channel])

    def teardown(self) -> None:
        """When all has arrived, nobody who lives has a channel that the other does not have."""
        one, other = self.ends
        for end, opposite in ((one, other), (other, one)):
            while end.lives and end.coming:
                end.take(opposite)
        if one.lives and other.lives:
            assert set(one.table.of(Party("b", 1))) == set(other.table.of(Party("a", 1)))
        else:
            assert not any(len(end.table) for end in self.ends if end.lives)


TestConversation = Conversation.TestCase
