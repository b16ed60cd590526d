"""Messages that could not be delivered: kept, listed, sent again or dropped by an operator.

Each is a file in the home, so that a restarted server has them still. When there are too many the oldest go, which
the server's log says: a dead letter nobody looks at for a thousand others is not looked at any more.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from theater.config import private_directory
from theater.core.codec import pack, unpack
from theater.core.secrets import Veil, redacted
from theater.errors import UnknownDeadLetter, WireError
from theater.log import Logger

MOST = 1000
"""Letters that are kept."""

MOST_BYTES = 256 << 20
"""Bytes of their bodies that are kept."""

SHOWN = 4096
"""Bytes of a body that a listing shows: all of them together must fit into a frame."""

_WHY_MAX = 1000
_LETTER_MAX = 80 << 20


class DeadLetter(NamedTuple):
    """One message.

    Args:
        number: its name.
        time_ns: wall time at which it was given up.
        sender: actor id, or None for one from outside.
        receiver: actor id.
        body: in the file, something stands in it for each secret of the two.
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

    def row(self) -> dict[str, Any]:
        """What a listing says of it, with names in place of secrets."""
        body = redacted(self.body)
        return {
            "number": self.number,
            "time_ns": self.time_ns,
            "sender": self.sender,
            "receiver": self.receiver,
            "why": self.why,
            "size": len(body),
            "body": body[:SHOWN],
        }


class DeadLetters:
    """The folder of letters, and what a listing says of each, by number, oldest first.

    Args:
        veil: what hides the secrets of some actors, in the files and in listings; None if they have none.
    """

    def __init__(
        self, folder: Path, log: Logger, veil: Callable[[str | None, str], Veil | None] = lambda *actors: None
    ) -> None:
        self._veil = veil
        self._folder = private_directory(folder)
        self._log = log
        self._rows: dict[int, dict[str, Any]] = {}
        self._bytes = 0
        for number in sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()):
            try:
                self._note(self._read(number))
            except UnknownDeadLetter:
                log.warning("a dead letter cannot be read", number=number)
        self._last = max(self._rows, default=0)

    def add(self, sender: str | None, receiver: str, body: bytes, cause: bytes, why: str) -> None:
        """Keeps a letter."""
        number = self._last = self._last + 1
        veil = self._veil(sender, receiver)
        hidden, why = (body, why) if veil is None else (veil.hide(body), veil.redact(why))
        letter = DeadLetter(number, time.time_ns(), sender, receiver, hidden, cause, why[:_WHY_MAX])
        fresh = self._folder / f"{number}.new"
        try:
            fresh.write_bytes(pack(list(letter)))
            os.replace(fresh, self._folder / str(number))
        except OSError as error:
            self._log.error("a dead letter could not be kept", actor=receiver, why=str(error))
            with contextlib.suppress(OSError):
                fresh.unlink()
            return
        self._note(letter)
        self._log.warning("dead letter", actor=receiver, number=number, sender=sender, why=letter.why)
        while len(self._rows) > MOST or self._bytes > MOST_BYTES:
            oldest = next(iter(self._rows))
            self._log.warning("too many dead letters; the oldest is dropped", number=oldest)
            self.drop(oldest)

    def get(self, number: int) -> DeadLetter:
        """The letter as it was sent.

        Raises:
            UnknownDeadLetter: there is none of this number.
            IntegrityError: the home has lost secrets that stand in it.
        """
        letter = self._read(number)
        if isinstance(letter.body, bytes):
            return letter
        veil = self._veil(letter.sender, letter.receiver) or Veil(())
        return letter._replace(body=veil.show(letter.body))

    def _read(self, number: int) -> DeadLetter:
        """The letter as it is in its file."""
        try:
            data = (self._folder / str(number)).read_bytes()
            return DeadLetter(*unpack(data, max_len=_LETTER_MAX, references=True))
        except (OSError, WireError, TypeError) as error:
            raise _unknown(number) from error

    def drop(self, number: int) -> None:
        """Forgets a letter; raises UnknownDeadLetter if there is none."""
        row = self._rows.pop(number, None)
        if row is None:
            raise _unknown(number)
        self._bytes -= row["size"]
        (self._folder / str(number)).unlink(missing_ok=True)

    def count_for(self, receiver: str) -> int:
        return sum(row["receiver"] == receiver for row in self._rows.values())

    def rows(self) -> list[dict[str, Any]]:
        """All letters, oldest first, as plain values; of a long body only its first `SHOWN` bytes."""
        return list(self._rows.values())

    def _note(self, letter: DeadLetter) -> None:
        self._rows[letter.number] = letter.row()
        self._bytes += self._rows[letter.number]["size"]


def _unknown(number: int) -> UnknownDeadLetter:
    return UnknownDeadLetter(f"there is no dead letter {number}; `theater dead-letters` lists them")
