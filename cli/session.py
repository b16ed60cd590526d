"""A session on a channel: standard input is said, what the actor says is written, and nothing piles up in between.

Input is read only while the channel has room, and what comes is written before more is read. When the input ends, the
session waits until the actor has recorded all of it, and then for a time of silence, in which late answers come; then
it closes the channel, and writes what the actor says before it is told.
"""

from __future__ import annotations

import os
import select
import sys
import time
from typing import TYPE_CHECKING

from theater.errors import MessageTooLarge

from .output import flush, is_terminal, line, readable

if TYPE_CHECKING:
    from theater.client import Channel

_CHUNK = 1 << 16
_STEP_S = 60.0


class Session:
    """One session.

    Args:
        source: descriptor that is read.
        raw: what is read becomes messages as it comes, and messages are written one behind the other; otherwise every
            line is a message, and every message is written as a line.
        grace: seconds of silence after which the channel is closed when the input has ended.
    """

    def __init__(self, channel: Channel, source: int, *, raw: bool, grace: float) -> None:
        self._channel = channel
        self._source = source
        self._raw = raw
        self._grace = grace
        self._rest = b""
        self._left: list[bytes] = []
        self._has_ended = False
        self._silent_since: float | None = None

    def run(self) -> int:
        """Goes on until the channel is closed; returns how many messages of the input the actor did not take.

        Raises:
            ActorDown: the actor's life is over.
            MessageTooLarge: the input has a message that the actor does not take.
        """
        channel = self._channel
        while not channel.is_over:
            reads = not (self._has_ended or self._left) and channel.has_room
            channel.wait(self._patience(), (self._source,) if reads else ())
            self._write(channel.take())
            if reads and select.select([self._source], [], [], 0)[0]:
                self._read()
            del self._left[: channel.offer(self._left)]
            if self._has_ended and not (self._left or channel.on_way) and self._is_silent():
                channel.end()
        return len(self._left) + channel.untaken + channel.on_way

    def _patience(self) -> float:
        if self._silent_since is None:
            return _STEP_S
        return max(0.0, self._silent_since + self._grace - time.monotonic())

    def _is_silent(self) -> bool:
        """Whether nothing has come for as long as answers are waited for."""
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        is_silent = now >= self._silent_since + self._grace
        if is_silent:
            self._grace, self._silent_since = _STEP_S, now  # The channel is being closed; that takes what it takes.
        return is_silent

    def _read(self) -> None:
        limit = self._channel.message_limit
        data = os.read(self._source, min(_CHUNK, limit) if self._raw else _CHUNK)
        self._has_ended = not data
        if self._raw:
            self._left += [data] if data else []
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._left += lines
        if self._has_ended and self._rest:
            self._left.append(self._rest)
        longest = max(map(len, (*lines, self._rest)))
        if longest > limit:
            raise MessageTooLarge(
                f"a line has over {min(longest, limit)} bytes, the actor accepts {limit}; try --bytes"
            )

    def _write(self, messages: list[bytes]) -> None:
        if not messages:
            return
        if self._silent_since is not None:
            self._silent_since = time.monotonic()
        if is_terminal():
            for message in messages:
                line(readable(message))
            flush()
            return
        end = b"" if self._raw else b"\n"
        sys.stdout.flush()
        sys.stdout.buffer.write(b"".join(message + end for message in messages))
        sys.stdout.buffer.flush()
