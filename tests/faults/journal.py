"""What a client has asked and what was acknowledged to it: a file of lines, on the disk before the client goes on.

Each request has a token, which is in its body and so in the record of whoever takes it: `<c3.17>` is number 17 of
client 3. A line is what was asked, or how that ended.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = re.compile(rb"<c\d+\.\d+>")
REPLY = "reply"
"""How a request ended whose answer was given."""


class Journal:
    """Writes one.

    Args:
        path: it is made if there is none, and goes on otherwise.
        client: the number of the client.
    """

    def __init__(self, path: Path, client: int) -> None:
        begun = sum(1 for line in lines(path) if line[1] == "asked") if path.exists() else 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._client = client
        self._number = begun + 1000 * bool(begun)  # the number of a line that was cut off is not used again

    def asked(self, how: str, actor: str) -> str:
        """Notes that something is about to be asked; returns the token for it."""
        self._number += 1
        token = f"<c{self._client}.{self._number}>"
        self._write([token, "asked", how, actor])
        return token

    def ended(self, token: str, how: str, value: object = None) -> None:
        """Notes how it ended; returns when that is on the disk."""
        self._write([token, "ended", how, value])
        os.fdatasync(self._file)

    def _write(self, row: list[object]) -> None:
        os.write(self._file, json.dumps(row).encode() + b"\n")


@dataclass(slots=True)
class Asked:
    """A request, as its client tells it.

    Args:
        ended: how; empty if the client does not know, since it died.
        value: of the answer.
    """

    token: str
    how: str
    actor: str
    ended: str = ""
    value: object = None


@dataclass(slots=True)
class Journals:
    """All that clients have written down, by token."""

    asked: dict[str, Asked] = field(default_factory=dict)

    def read(self, path: Path) -> None:
        for row in lines(path):
            if row[1] == "asked":
                self.asked[row[0]] = Asked(row[0], row[2], row[3])
            else:
                self.asked[row[0]].ended, self.asked[row[0]].value = row[2], row[3]


def lines(path: Path) -> Iterator[list[str]]:
    """The whole lines of a journal; one that its client's death has cut off is none."""
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            yield json.loads(line)
        except ValueError:
            continue  # A new client has gone on behind the cut.
