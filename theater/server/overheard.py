"""What processes of the server print on standard error, as lines of the log.

A worker should print nothing; but an interpreter that dies, an allocator that gives up, a library that warns, they all
print, and mostly it is all that is left of a process. A terminal or a journal must not get such bytes as they are: they
hold what actors chose, and say not whose they are. So all descendants have one end of a socket as their standard error.
The kernel adds to everything that comes by it who wrote it (SCM_CREDENTIALS), so a process is known by its number and
not by its word. Lines are bounded in length and number, escaped (theater/log.py), and what is too much is counted.
"""

from __future__ import annotations

import socket
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from theater.log import Logger
from theater.server.loop import Alarm, Loop

_CREDENTIALS = struct.Struct("=iII")
_CHUNK = 1 << 16
_AT_ONCE = 8
"""Chunks that are read in one turn of the loop: who floods must not keep it from everything else."""

_LONGEST = 2000
_BURST = 50
_LINES_A_SECOND = 5.0
_UNFINISHED_S = 0.5
"""How long a line is waited for that has no end yet."""

_KNOWN = 4096
"""Processes that are remembered, the newest: the last words of one are read after its end is known."""

Facts = Mapping[str, Any]
Redact = Callable[[str, str], str]
"""Given an actor and a text, the text with names in place of the actor's secrets."""


@dataclass(slots=True)
class _Speaker:
    """One process that has printed something."""

    facts: Facts
    since: float
    rest: bytes = b""
    room: float = _BURST
    left_out: int = 0
    alarm: Alarm | None = field(default=None, repr=False)


class Overheard:
    """One socket for all."""

    def __init__(self, loop: Loop, log: Logger) -> None:
        self._loop = loop
        self._log = log
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._ours.setblocking(False)
        self._known: OrderedDict[int, Facts] = OrderedDict()
        self._speakers: OrderedDict[int, _Speaker] = OrderedDict()
        self.who: Callable[[int], Facts] = lambda pid: {}
        self.redact: Redact = lambda actor, text: text
        loop.reader(self._ours.fileno(), self._read)

    @property
    def descriptor(self) -> int:
        """What children get as their standard error."""
        return self._theirs.fileno()

    def know(self, pid: int, **facts: Any) -> None:
        """Says who a process is, from now on."""
        self._settle(pid)
        self._known.pop(pid, None)
        self._known[pid] = facts
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def facts(self, pid: int) -> Facts:
        """Who a process is, as far as that has been said."""
        return self._known.get(pid, {})

    def close(self) -> None:
        """Hears what was said last, and lets go of the socket."""
        self._read()
        for pid in list(self._speakers):
            self._settle(pid)
        self._loop.forget(self._ours.fileno())
        self._ours.close()
        self._theirs.close()

    # ---- hearing

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                # The credentials come first and there is room for nothing else, so no descriptor can be sent along.
                data, more, _, _ = self._ours.recvmsg(_CHUNK, socket.CMSG_LEN(_CREDENTIALS.size))
            except BlockingIOError:
                return
            if not data:
                # Only one of those that hold the other end can have shut it down.
                self._log.error("nothing is heard any more of what processes print")
                self._loop.forget(self._ours.fileno())
                return
            for level, kind, value in more:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    self._take(_CREDENTIALS.unpack(value[: _CREDENTIALS.size])[0], data)

    def _take(self, pid: int, data: bytes) -> None:
        speaker = self._speakers.get(pid) or self._meet(pid)
        *lines, speaker.rest = (speaker.rest + data).split(b"\n")
        while len(speaker.rest) > _LONGEST:
            lines.append(speaker.rest[:_LONGEST])
            speaker.rest = speaker.rest[_LONGEST:]
        for line in lines:
            self._say(pid, speaker, line)
        if speaker.alarm is None:
            speaker.alarm = self._loop.after(_UNFINISHED_S, lambda: self._finish(pid, speaker))

    def _meet(self, pid: int) -> _Speaker:
        facts = self._known.get(pid) or {"process": "worker", **self.who(pid)}
        speaker = self._speakers[pid] = _Speaker(facts, self._loop.now())
        if len(self._speakers) > _KNOWN:
            self._settle(next(iter(self._speakers)))
        return speaker

    def _finish(self, pid: int, speaker: _Speaker) -> None:
        speaker.alarm = None
        if self._speakers.get(pid) is speaker:
            self._settle(pid)

    def _settle(self, pid: int) -> None:
        """Says what is left of a process that has said nothing more for a while, or whose number is another's now."""
        speaker = self._speakers.get(pid)
        if speaker is None:
            return
        rest, speaker.rest = speaker.rest, b""
        if rest:
            self._say(pid, speaker, rest)
        self._refill(speaker)
        if speaker.left_out and speaker.room >= 1:
            speaker.room -= 1
            self._log.warning("a process printed more than is shown", pid=pid, lines=speaker.left_out, **speaker.facts)
            speaker.left_out = 0
        if not speaker.left_out and speaker.room >= _BURST:
            del self._speakers[pid]
        else:
            speaker.alarm = self._loop.after(_UNFINISHED_S, lambda: self._finish(pid, speaker))

    def _refill(self, speaker: _Speaker) -> None:
        now = self._loop.now()
        speaker.room = min(_BURST, speaker.room + (now - speaker.since) * _LINES_A_SECOND)
        speaker.since = now

    def _say(self, pid: int, speaker: _Speaker, line: bytes) -> None:
        if not line.strip():
            return
        self._refill(speaker)
        if speaker.room < 1:
            speaker.left_out += 1
            return
        speaker.room -= 1
        text = line[:_LONGEST].decode("utf-8", "backslashreplace")
        actor = speaker.facts.get("actor")
        if isinstance(actor, str):
            text = self.redact(actor, text)
        self._log.warning("printed on standard error", pid=pid, text=text, **speaker.facts)
