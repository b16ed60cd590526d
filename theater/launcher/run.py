"""One program of an actor until `handle-exit`: its output cut and delivered, its time and output bounded."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from theater.core.permissions.process import Process
from theater.core.values import Case
from theater.errors import InvalidInput
from theater.launcher.cutting import Chunks, Cutter, JsonLines, Lines, Raw
from theater.launcher.delivery import Delivery
from theater.launcher.program import STDERR, STDOUT, Program

MOST_AT_ONCE = 65536
"""Bytes that are read at once, and what a piece has at most if the actor does not say."""

_HANDLERS = {STDOUT: "handle-stdout", STDERR: "handle-stderr"}


@dataclass(frozen=True, slots=True)
class Terms:
    """How a program is followed.

    Args:
        modes: how its outputs are cut.
        size: bytes of a piece at most.
        chunk: bytes of a chunk.
        timeout: seconds that it may run; None for any time.
        grace: seconds between SIGTERM and SIGKILL.
        output: bytes that it may write; None for any number.
    """

    modes: Mapping[int, str]
    size: int
    chunk: int
    timeout: float | None
    grace: float
    output: int | None

    @classmethod
    def of(cls, config: Mapping[str, Any], may: Process, message: int) -> Terms:
        """What an actor wants, within what it may.

        Args:
            config: its `process-config`.
            message: bytes of a message of the actor.

        Raises:
            InvalidInput: something that cannot be.
        """
        modes = {STDOUT: _mode(config["stdout-mode"]), STDERR: _mode(config["stderr-mode"])}
        size = min(config["buffer-size"] or MOST_AT_ONCE, message)
        chunk = config["chunk-size"]
        if "chunked" in modes.values():
            if not chunk:
                raise InvalidInput("the mode chunked needs a chunk-size of 1 or more")
            if chunk > message:
                raise InvalidInput(f"a chunk-size of {chunk} is over the actor's limit of a message, {message}")
        asked = config["execution-timeout"]
        bounds = [each for each in (asked or None, may.timeout / 1000 if may.timeout is not None else None) if each]
        return cls(modes, size, chunk or size, min(bounds, default=None), may.grace / 1000, may.output)

    def cutter(self, stream: int, refused: Callable[[int], None]) -> Cutter:
        """Cuts an output."""
        mode = self.modes[stream]
        if mode == "line-by-line":
            return Lines(self.size)
        if mode == "json":
            return JsonLines(self.size, refused)
        return Chunks(self.chunk) if mode == "chunked" else Raw(self.size)


def _mode(value: object) -> str:
    return value.name if isinstance(value, Case) else str(value)


class Run:
    """One program that runs, or has ended.

    Args:
        number: its id.
        name: of the program, for people.
        began: ms since 1970.
        say: a line for the log of the launcher.

    Attributes:
        code: its exit code once it has ended.
    """

    def __init__(
        self,
        number: int,
        name: str,
        began: int,
        program: Program,
        terms: Terms,
        delivery: Delivery,
        say: Callable[[str], None],
    ) -> None:
        self.number = number
        self.name = name
        self.began = began
        self.code: int | None = None
        self.program = program
        self._terms = terms
        self._delivery = delivery
        self._say = say
        self._written = 0
        self._is_over_output = False
        self._alarm: asyncio.TimerHandle | None = None

    async def follow(self) -> None:
        """Delivers all that the program writes, then its end."""
        loop = asyncio.get_running_loop()
        if self._terms.timeout is not None:
            self._alarm = loop.call_later(self._terms.timeout, self._time_is_over)
        self.program.ended.add_done_callback(self._ended)
        try:
            await asyncio.gather(self._pump(STDOUT), self._pump(STDERR))
            code = await self.program.ended
            await self._delivery.hand("handle-exit", [self.number, code])
        finally:
            self._delivery_is_over()

    def stop(self) -> None:
        """Ends the program with the life of its actor."""
        self.program.destroy()
        self._delivery.close()
        self._delivery_is_over()

    def _ended(self, ended: asyncio.Future[int]) -> None:
        if not ended.cancelled():
            self.code = ended.result()
        self.program.close_stdin()
        self._delivery_is_over()

    def _delivery_is_over(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _time_is_over(self) -> None:
        self._say(f"{self.name} ({self.number}) has run for its whole time and is ended")
        self.program.signal(signal.SIGTERM)
        kill = asyncio.get_running_loop().call_later
        self._alarm = kill(self._terms.grace, self.program.signal, signal.SIGKILL)

    async def _pump(self, stream: int) -> None:
        cutter = self._terms.cutter(stream, lambda count: self._refused(stream, count))
        while data := await self.program.read(stream, MOST_AT_ONCE):
            data = self._allowed(data)
            for piece in cutter.feed(data):
                await self._hand(stream, piece)
        for piece in cutter.finish():
            await self._hand(stream, piece)

    async def _hand(self, stream: int, piece: bytes) -> None:
        await self._delivery.hand(_HANDLERS[stream], [self.number, piece])

    def _allowed(self, data: bytes) -> bytes:
        """What of an output the actor gets: the program is ended when it has written more than it may."""
        most = self._terms.output
        if most is None or (self._written + len(data) <= most and not self._is_over_output):
            self._written += len(data)
            return data
        kept = data[: most - self._written]
        if not self._is_over_output:
            self._is_over_output = True
            self._say(f"{self.name} ({self.number}) has written more than {most} bytes and is ended")
            self.program.signal(signal.SIGKILL)
        self._written = most
        return kept

    def _refused(self, stream: int, count: int) -> None:
        what = "standard output" if stream == STDOUT else "standard error"
        self._say(f"a line of {count} bytes on the {what} of {self.name} ({self.number}) is no JSON and was left out")
