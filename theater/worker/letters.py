"""What waits in a mailbox: each letter becomes one call of the guest, in the order of arrival.

A `Letter` is a message, with or without somebody who waits for its answer. A `Word` was said on a channel. An `Errand`
comes from a service: an HTTP request, the output of a program. `News` is the end of another actor that this one has
asked to hear of, or of a child. All are recorded as any call is; an `err` that a handler answers to a word or to news
has nobody to go to but the log, and the actor's life goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from theater.core.channels import Party
from theater.errors import TheaterError


class ReplyTo(Protocol):
    """Where the end of a request goes."""

    def answer(self, value: bytes | None, error: TheaterError | None, cause: bytes) -> None:
        """Sends the end; a receiver that is gone is not our business."""


class Opening(NamedTuple):
    """The channel that a letter opens, and who would be at its other end."""

    channel: str
    party: Party


@dataclass(slots=True)
class Letter:
    """A message.

    Attributes:
        sender: actor id; None for one from outside the system.
        reply: where the answer goes; None if nobody waits.
        deadline_ns: until when somebody waits; 0 if nobody does.
        path: the actors that wait for the answer.
        taken: of one that nobody waits for: called with None when it has been recorded, or with why it never will
            be; says whether its sender has been told of that.
        delivery: number of the supervisor's message that brought it and wants to know of that; 0 for others.
        opening: of one that asks for a channel, which is answered by whether it is accepted.
    """

    body: bytes
    sender: str | None = None
    cause: bytes | None = None
    reply: ReplyTo | None = None
    deadline_ns: int = 0
    path: tuple[str, ...] = ()
    taken: Callable[[TheaterError | None], bool] | None = None
    delivery: int = 0
    opening: Opening | None = None

    @property
    def function(self) -> str:
        """The handler that it is for."""
        if self.opening is not None:
            return "handle-channel-open"
        return "handle-send" if self.reply is None else "handle-request"


@dataclass(frozen=True, slots=True)
class Errand:
    """A call that a service wants made.

    Args:
        interface, function, params: the call.
        deadline_ns: until when the service waits.
        returned: called once with the handler's extra results, or with why there are none, and with the digest of the
            entry that records the outcome.
    """

    interface: str
    function: str
    params: tuple[Any, ...]
    deadline_ns: int
    returned: Callable[[Any, TheaterError | None, bytes], None]


@dataclass(frozen=True, slots=True)
class Word:
    """What was said on a channel.

    Args:
        body: None closes the channel.
        sender: actor id; None for somebody outside the system.
        taken: as of `Letter`; called also if the channel is closed already.
    """

    channel: str
    body: bytes | None
    sender: str | None
    cause: bytes | None = None
    taken: Callable[[TheaterError | None], bool] | None = None


class Asked(NamedTuple):
    """What somebody has asked to hear of, so that the news can be taken back: a monitor by its number, a link by the id
    of the other actor."""

    what: str
    key: int | str


@dataclass(frozen=True, slots=True)
class News:
    """The end of an actor's life, as a call of the guest.

    Args:
        interface, function, params: the call.
        asked: what was asked for; None for a child's end, which nobody need ask for.
    """

    interface: str
    function: str
    params: tuple[Any, ...]
    asked: Asked | None = None
