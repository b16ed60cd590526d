"""Which websockets an actor has been told of and not yet of their end, beside its chain: a gateway that is started
again after its death finds there whose end is still to be told.

A line for each beginning, one for each end that has been told; when nothing is open any more the file begins anew.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from theater.durable import replace
from theater.log import Logger

_LONG = 64 * 1024
"""Bytes from which on the file is written anew without what has ended."""


@dataclass(frozen=True, slots=True)
class Open:
    """A websocket.

    Args:
        epoch: which of its actor's inits knows of it.
        handler: whom its end is told.
        number: its id.
    """

    epoch: int
    handler: int
    number: int


class OpenSockets:
    """The file.

    Args:
        path: it need not be there.
        log: told once when it cannot be written; an end may then stay untold if the gateway dies.
    """

    def __init__(self, path: Path, log: Logger) -> None:
        self._path = path
        self._log = log
        self._open: dict[int, Open] = {}
        self._length = 0
        self._complained = False

    def read(self) -> list[Open]:
        """What an earlier gateway has left."""
        try:
            lines = self._path.read_text().splitlines()
        except (FileNotFoundError, UnicodeDecodeError):
            return []
        for line in lines:
            try:
                begun, *numbers = json.loads(line)
                if begun:
                    found = Open(*numbers)
                    self._open[found.number] = found
                else:
                    self._open.pop(numbers[0], None)
            except (ValueError, TypeError, IndexError):
                continue  # The last line of one that was killed while it wrote.
        return list(self._open.values())

    def add(self, socket: Open) -> None:
        """A websocket's beginning is told in a moment."""
        self._open[socket.number] = socket
        self._write([1, socket.epoch, socket.handler, socket.number])

    def remove(self, number: int) -> None:
        """Its end has been told, or need not be."""
        if self._open.pop(number, None) is not None:
            self._write([0, number])

    def clear(self) -> None:
        """All of them are forgotten."""
        self._open.clear()
        self._begin_anew()

    def _write(self, line: list[int]) -> None:
        data = f"{json.dumps(line)}\n".encode()
        self._length += len(data)
        if not self._open or self._length > max(_LONG, 200 * len(self._open)):
            self._begin_anew()
            return
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, data)
            finally:
                os.close(file)
        except OSError as error:
            self._complain(error)

    def _begin_anew(self) -> None:
        lines = [f"{json.dumps([1, one.epoch, one.handler, one.number])}\n" for one in self._open.values()]
        self._length = sum(map(len, lines))
        try:
            if lines:
                replace(self._path, "".join(lines).encode(), durable=False, mode=0o600)
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            self._log.error("cannot write down which websockets are open", path=str(self._path), why=str(error))
