"""How a program's output is cut into calls of the actor. Bytes in, pieces out; nothing waits here and nothing is read.

No piece is longer than the size that a cutter is made with, and none is empty. What is fed in is not over that size by
much, so a cutter holds little: at most one unfinished piece.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Protocol


class Cutter(Protocol):
    """One stream's way of being cut."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces that are complete with `data`."""

    def finish(self) -> Iterator[bytes]:
        """The pieces that are left when the stream has ended."""


class Raw:
    """As it comes."""

    def __init__(self, size: int) -> None:
        self._size = size

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), self._size):
            yield data[start : start + self._size]

    def finish(self) -> Iterator[bytes]:
        return iter(())


class Chunks:
    """Pieces of exactly `size` bytes; the last one has what is left."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._kept += data
        while len(self._kept) >= self._size:
            yield bytes(self._kept[: self._size])
            del self._kept[: self._size]

    def finish(self) -> Iterator[bytes]:
        if self._kept:
            yield bytes(self._kept)
            self._kept.clear()


class Lines:
    """Whole lines, each with its end of line. One that is longer than `size` comes in pieces of that size, of which
    only the last has an end; the last line may have none."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        for line in _lines(data):
            self._kept += line
            while len(self._kept) > self._size:
                yield bytes(self._kept[: self._size])
                del self._kept[: self._size]
            if line.endswith(b"\n") and self._kept:
                yield bytes(self._kept)
                self._kept.clear()

    def finish(self) -> Iterator[bytes]:
        if self._kept:
            yield bytes(self._kept)
            self._kept.clear()


class JsonLines:
    """JSON values, one in each line and one for each piece, without what is around it. Lines without one are left out:
    empty ones silently; what is no JSON, or longer than `size`, is told to `refused`.

    Args:
        refused: called with the length of such a line.
    """

    def __init__(self, size: int, refused: Callable[[int], None]) -> None:
        self._size = size
        self._refused = refused
        self._kept = bytearray()
        self._lost = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        for line in _lines(data):
            self._keep(line)
            if line.endswith(b"\n"):
                yield from self.finish()

    def finish(self) -> Iterator[bytes]:
        value, lost = bytes(self._kept).strip(), self._lost
        self._kept.clear()
        self._lost = 0
        if lost:
            self._refused(lost)
        elif value and _is_json(value):
            yield value
        elif value:
            self._refused(len(value))

    def _keep(self, part: bytes) -> None:
        if self._lost or len(self._kept) + len(part.removesuffix(b"\n")) > self._size:
            self._lost += len(self._kept) + len(part)
            self._kept.clear()
        else:
            self._kept += part


def _lines(data: bytes) -> Iterator[bytes]:
    """Lines with their ends; only a line feed ends one."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield data[start : end + 1]
        start = end + 1
    if start < len(data):
        yield data[start:]


def _is_json(value: bytes) -> bool:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True
