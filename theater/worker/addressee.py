"""The sending side of mail: what goes to one life of one actor, and what comes back from it.

Letters are counted through on each link; the receiver confirms how far it has recorded them. What it has not confirmed
is kept, since somebody must be told of it when the receiver dies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from theater.bus.ends import Full, Gone
from theater.bus.links import Link
from theater.core.wire import Answer, Send, SendAgain, Taken, decode, encode
from theater.errors import WireError

CONFIRM_EVERY = 64
"""Sends of one connection that are confirmed together when the actor is busy; an idle one confirms at once."""

BATCH_BYTES = 32 * 1024
"""Bytes of bodies that go out in one frame, unless a single one is longer; well within `ENVELOPE`."""

ENVELOPE = 65536
"""Bytes that a message may have around its body."""


@dataclass(slots=True)
class Addressee:
    """One life of an actor that this one writes to.

    Attributes:
        keep: what this life does not confirm is for the next one.
        unconfirmed: (number, letter) of what has been taken for it; letters as in `Send`.
        outbox: those that have not left; the first `again` of them were sent to an earlier life.
        asked: number of the question whose answer is waited for, and `answer` it, once it is there.
        returned: the queue did not take some, so that there may be more than go into one frame.
    """

    actor: str
    incarnation: int
    link: Link
    message_limit: int
    mailbox: int
    keep: bool
    sent: int = 0
    unconfirmed: deque[tuple[int, list[Any]]] = field(default_factory=deque)
    asked: int = 0
    answer: Answer | None = None
    down: str | None = None
    outbox: list[list[Any]] = field(default_factory=list)
    outbox_bytes: int = 0
    again: int = 0
    returned: bool = False

    def put(self, letter: list[Any]) -> None:
        """Takes a letter for the receiver."""
        self.sent += 1
        self.unconfirmed.append((self.sent, letter))
        self.outbox.append(letter)
        self.outbox_bytes += len(letter[1] or b"")

    @property
    def is_due(self) -> bool:
        """Whether so much waits that it is time to send it."""
        return len(self.outbox) >= CONFIRM_EVERY or self.outbox_bytes > BATCH_BYTES

    def post(self) -> list[list[Any]]:
        """Sends what is in the outbox; returns what the queue did not take. One that is gone takes all: the news of its
        end says what becomes of that."""
        outbox, again = self.outbox, self.again
        number = self.sent - len(outbox) + 1
        self.outbox, self.outbox_bytes, self.again = [], 0, 0
        taken = 0
        try:
            if not again and not self.returned:
                self.link.send(encode(Send(number, outbox)))
                return []
            for kind, letters in ((SendAgain, outbox[:again]), (Send, outbox[again:])):
                for batch in _batches(letters):
                    self.link.send(encode(kind(number + taken, batch)))
                    taken += len(batch)
        except Full:
            self.returned = True
            return outbox[taken:]
        except Gone:
            pass
        self.returned = False
        return []

    def drain(self) -> None:
        """Takes in all that the receiver has sent."""
        while self.take_one():
            pass

    def take_one(self) -> bool:
        """Takes in one message of the receiver's; False if there is none."""
        return self._take(self.link.receive())

    def wait_one(self, seconds: float) -> bool:
        """As `take_one`, but waits for it."""
        return self._take(self.link.receive_within(seconds))

    def _take(self, frame: bytes | None) -> bool:
        if frame is None:
            return False
        try:
            message = decode(frame)
        except WireError as error:
            self.link.hang_up(error.message)
            return True
        if type(message) is Taken:
            while self.unconfirmed and self.unconfirmed[0][0] <= message.number:
                self.unconfirmed.popleft()
        elif type(message) is not Answer:
            self.link.hang_up(f"a receiver does not say {type(message).__name__}")
        elif message.number == self.asked:  # Else it is late: the question was given up.
            self.answer = message
        return True


def _batches(letters: list[list[Any]]) -> Iterator[list[list[Any]]]:
    """The letters in groups, each for one frame: a long one alone, short ones together."""
    batch: list[list[Any]] = []
    size = 0
    for letter in letters:
        length = len(letter[1] or b"")
        if batch and (len(batch) >= CONFIRM_EVERY or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += length
    if batch:
        yield batch
