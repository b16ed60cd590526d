"""The channels of one life of an actor: which there are, what state each is in, who is at the other end. Pure.

A channel has two ends. Each keeps its own table and hears of the other only by what arrives, so the two may differ
while something is on its way; what came too late for a channel that is closed here is left out, without a word.

    at the end that opens    OPENING  -- accepted -->  OPEN  -- closed here, closed there, the other life over -->  gone
                                      -- refused, or no answer -->  gone
    at the end that is asked OFFERED  -- accepts -->   OPEN  -- likewise -->  gone
                                      -- refuses -->   gone

Whoever closes a channel hears no more of it. The other end is told exactly once, whether a close arrives, or the news
that the other life is over, or both: the first takes the channel out of the table.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from theater.errors import LimitExceeded, NotFound, WrongState

MOST: Final = 1000
"""Channels that one life of an actor may have at a time."""


class Party(NamedTuple):
    """Who is at the other end: one life of an actor, or with `actor` None somebody outside the system."""

    actor: str | None
    incarnation: int = 0


OUTSIDE: Final = Party(None)


class State(Enum):
    OPENING = "opening"
    """The other end has been asked."""
    OFFERED = "offered"
    """This end has been asked, and its handler runs."""
    OPEN = "open"


class Table:
    """The channels of one life.

    Args:
        most: how many there may be.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._channels: dict[str, tuple[State, Party]] = {}

    def __len__(self) -> int:
        return len(self._channels)

    def opening(self, channel: str, party: Party) -> None:
        """This end asks `party`.

        Raises:
            LimitExceeded: there are too many channels.
        """
        self._begin(channel, State.OPENING, party)

    def offered(self, channel: str, party: Party) -> None:
        """`party` asks this end.

        Raises:
            LimitExceeded: there are too many channels.
            WrongState: there is this channel already.
        """
        self._begin(channel, State.OFFERED, party)

    def accepted(self, channel: str) -> None:
        """The end that was asked has accepted."""
        self._channels[channel] = State.OPEN, self._channels[channel][1]

    def dropped(self, channel: str) -> Party | None:
        """Nothing came of asking, or being asked; returns who was at the other end, if it had come to that."""
        return self._channels.pop(channel, (None, None))[1]

    def other_end(self, channel: str) -> Party:
        """To whom a message on the channel goes.

        Raises:
            WrongState: it is being offered to this end.
            NotFound: there is no such channel, or no more.
        """
        state, party = self._channels.get(channel, (None, OUTSIDE))
        if state is State.OFFERED:
            raise WrongState(f"channel {channel} is not open before this call has answered that it is accepted")
        if state is not State.OPEN:
            raise NotFound(f"no open channel {channel!r}: it was closed, or belonged to an earlier life of this actor")
        return party

    def close(self, channel: str) -> Party:
        """This end closes the channel; returns who is to be told.

        Raises: as `other_end`.
        """
        party = self.other_end(channel)
        del self._channels[channel]
        return party

    def hears(self, channel: str, actor: str | None) -> bool:
        """Whether a message that `actor` sent on the channel is for the guest."""
        state, party = self._channels.get(channel, (None, OUTSIDE))
        return state is State.OPEN and party.actor == actor

    def closed_there(self, channel: str, actor: str | None) -> bool:
        """`actor` has closed the channel, or its life is over; whether the guest is to be told."""
        if not self.hears(channel, actor):
            return False
        del self._channels[channel]
        return True

    def of(self, party: Party) -> list[str]:
        """The channels with `party`, also those that are not open yet."""
        return [channel for channel, (_, other) in self._channels.items() if other == party]

    def _begin(self, channel: str, state: State, party: Party) -> None:
        if channel in self._channels:
            raise WrongState(f"there is a channel {channel} already")
        if len(self._channels) >= self._most:
            raise LimitExceeded(f"an actor may have {self._most} channels at a time; close some")
        self._channels[channel] = state, party
