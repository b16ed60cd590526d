"""Messages that could not be delivered: kept, listed, sent again or dropped by an operator.

Each is a file in the home, so that a restarted server has them still. When there are too many the oldest go, which
the server's log says: a dead letter nobody looks at for a thousand others is not looked at any more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from theater.config import private_directory
from theater.core.codec import pack, unpack
from theater.errors import UnknownDeadLetter, WireError
from theater.log import Logger

MOST = 1000
_LETTER_MAX = 80 << 20


class DeadLetter(NamedTuple):
    """One message.

    Args:
        number: its name.
        time_ns: wall time at which it was given up.
        sender: actor id, or None for one from outside.
        receiver: actor id.
        cause: digest of the sender's entry that recorded it; empty if there is none.
        why: a sentence.
    """

    number: int
    time_ns: int
    sender: str | None
    receiver: str
    body: bytes
    cause: bytes
    why: str


class DeadLetters:
    """The folder of letters."""

    def __init__(self, folder: Path, log: Logger) -> None:
        self._folder = private_directory(folder)
        self._log = log
        self._numbers = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())

    def add(self, sender: str | None, receiver: str, body: bytes, cause: bytes, why: str) -> int:
        """Keeps a letter; returns its number."""
        number = self._numbers[-1] + 1 if self._numbers else 1
        letter = DeadLetter(number, time.time_ns(), sender, receiver, body, cause, why)
        fresh = self._folder / f"{number}.new"
        try:
            fresh.write_bytes(pack(list(letter)))
            os.replace(fresh, self._folder / str(number))
        except OSError as error:
            self._log.error("a dead letter could not be kept", receiver=receiver, error=str(error))
            return number
        self._numbers.append(number)
        self._log.warning("dead letter", number=number, sender=sender, receiver=receiver, why=why)
        while len(self._numbers) > MOST:
            self._log.warning("too many dead letters; the oldest is dropped", number=self._numbers[0])
            self.drop(self._numbers[0])
        return number

    def get(self, number: int) -> DeadLetter:
        """Raises UnknownDeadLetter if there is none of this number."""
        try:
            return DeadLetter(*unpack((self._folder / str(number)).read_bytes(), max_len=_LETTER_MAX))
        except (OSError, WireError, TypeError) as error:
            raise UnknownDeadLetter(f"there is no dead letter {number}; `theater dead-letters` lists them") from error

    def drop(self, number: int) -> None:
        """Forgets a letter; raises UnknownDeadLetter if there is none."""
        if number not in self._numbers:
            raise UnknownDeadLetter(f"there is no dead letter {number}; `theater dead-letters` lists them")
        self._numbers.remove(number)
        (self._folder / str(number)).unlink(missing_ok=True)

    def count_for(self, receiver: str) -> int:
        return sum(letter.receiver == receiver for letter in self._all())

    def rows(self) -> list[dict[str, Any]]:
        """All letters, oldest first, as plain values."""
        return [
            {
                "number": letter.number,
                "time_ns": letter.time_ns,
                "sender": letter.sender,
                "receiver": letter.receiver,
                "why": letter.why,
                "size": len(letter.body),
                "body": letter.body,
            }
            for letter in self._all()
        ]

    def _all(self) -> Sequence[DeadLetter]:
        letters = []
        for number in list(self._numbers):
            try:
                letters.append(self.get(number))
            except UnknownDeadLetter:
                self._numbers.remove(number)
        return letters
