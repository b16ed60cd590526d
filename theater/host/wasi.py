"""What a guest gets from WASI, through the same seam as everything else.

theater/wasm/wasi.py knows the interfaces; here is where their answers are recorded, where standard output goes,
and how long a guest may sleep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from theater.core.randomness import Draw, Source
from theater.host.base import Binding

_STREAMS = "wasi:io/streams"
_POLL = "wasi:io/poll"
_RANDOM = "wasi:random/"

_DRAWN: Mapping[str, Callable[..., Any]] = {
    "get-random-bytes": lambda draw, count: draw.bytes(count),
    "get-insecure-random-bytes": lambda draw, count: draw.bytes(count),
    "get-random-u64": lambda draw: draw.u64(),
    "get-insecure-random-u64": lambda draw: draw.u64(),
    "insecure-seed": lambda draw: (draw.u64(), draw.u64()),
}
"""What the functions of wasi:random answer to an actor that has a seed."""


class Outside(Protocol):
    """What WASI calls reach in the actor's process."""

    def write(self, stream: str, data: bytes) -> None:
        """Takes what the guest wrote to `stdout` or `stderr`."""

    def sleep(self, seconds: float) -> None:
        """Lets the guest sleep, no longer than its call may last."""


class WasiAnswers:
    """The recorded side of WASI: `host.wasi` of a guest."""

    def __init__(self, seam: Binding) -> None:
        self._seam = seam
        self._outside: Outside | None = None
        self._draw: Draw | None = None
        self._early: list[tuple[str, bytes]] = []

    def attach(self, outside: Outside, randomness: Source | None = None) -> None:
        """Gives the guest its actor; what it wrote before goes to the actor's log now.

        Args:
            randomness: where random bytes come from now; None for the operating system.
        """
        self._outside = outside
        self._draw = Draw(randomness) if randomness is not None else None
        for stream, data in self._early:
            outside.write(stream, data)

    def answer(self, interface: str, function: str, args: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        draw = self._draw
        if draw is not None and interface.startswith(_RANDOM):
            return self._seam.answer(interface, function, args, lambda: _DRAWN[function](draw, *args))
        return self._seam.answer(interface, function, args, compute)

    def output(self, stream: str, data: bytes) -> None:
        self._seam.answer(_STREAMS, "write", (stream, data), lambda: self._write(stream, data))

    def sleep(self, ns: int) -> None:
        self._seam.answer(_POLL, "block", (ns,), lambda: self._sleep(ns / 1e9))

    def _write(self, stream: str, data: bytes) -> None:
        if self._outside is None:
            self._early.append((stream, data))
        else:
            self._outside.write(stream, data)

    def _sleep(self, seconds: float) -> None:
        if self._outside is None:
            time.sleep(min(seconds, 1.0))
        else:
            self._outside.sleep(seconds)


class GuestHost:
    """Everything that a guest is linked with (theater/wasm/guest.py)."""

    def __init__(self, seam: Binding) -> None:
        self.bind = seam.bind
        self.wasi = WasiAnswers(seam)
