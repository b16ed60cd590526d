"""What a hostile worker says, by name; each goes on until it is killed, or for ever."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from typing import Any

from theater.core.codec import pack
from theater.core.wire import (
    Answer,
    Ask,
    Handled,
    Lookup,
    Monitor,
    OpenChannel,
    Register,
    Send,
    Stop,
    Taken,
    Undelivered,
    Whereis,
    encode,
)

ALL_ANSWERED = 77
"""The status with which `late` ends when it has heard all that it asked for."""

CAUSE = bytes(32)
FAR_NS = 1 << 62
VICTIM = "victim"
ME: list[str] = []
BOLD = frozenset({"noise", "length", "nothing", "direction", "deep", "types", "descriptor", "forged", "hangs"})
"""Attacks after which the server ends the worker: no worker of ours says such a thing."""

PATIENT = frozenset({"lookups", "names", "monitors", "questions", "half", "long", "waits", "reports"})
"""Those that keep to the letter of the rules, and flood."""

ON_ACTORS = frozenset({"mail", "mailhalf", "mailnoise", "asks", "opens", "mailstop", "mailcount"})
"""Those on another actor, over the link that the server gives for it."""


def begin(actor: Any, name: str) -> None:
    """Attacks; does not come back."""
    line = actor.signals.link
    ME.append(actor._is.actor)
    if name in ON_ACTORS:
        link = actor._mail._link(VICTIM, time.monotonic_ns() + 10**10).link
        _ON_ACTOR[name](link.fileno())
    else:
        _ON_SERVER[name](line.fileno())
    while True:
        time.sleep(60)


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def repeat(fd: int, frame: Callable[[int], bytes], at_once: int = 100) -> None:
    """Sends frames as fast as they are taken, and reads nothing."""
    number = 1
    while True:
        write(fd, b"".join(framed(frame(number + each)) for each in range(at_once)))
        number += at_once


def noise(fd: int) -> None:
    dice = random.Random(os.getpid())
    while True:
        write(fd, dice.randbytes(10_000))


def half(fd: int, length: int = 1 << 20) -> None:
    """Half of a frame that is as long as one may be, and nothing more."""
    write(fd, length.to_bytes(4, "big") + b"TH\x01\x15" + bytes(length // 2))


def long(fd: int) -> None:
    body = encode(Handled(1, bytes(1 << 20), None))
    while True:
        write(fd, framed(body))


def descriptor(fd: int) -> None:
    with socket.socket(fileno=os.dup(fd)) as line:
        frame = framed(encode(Whereis(1, "x")))
        flagged = (int.from_bytes(frame[:4], "big") | 1 << 31).to_bytes(4, "big") + frame[4:]
        socket.send_fds(line, [flagged], [fd])


def late(fd: int, questions: int = 7_000) -> None:
    """Asks more than can be answered before anything is read, and then reads every answer."""
    write(fd, b"".join(framed(encode(Whereis(number, "x"))) for number in range(1, questions + 1)))
    time.sleep(1.0)
    heard = b""
    for _ in range(questions):
        while len(heard) < 4 or len(heard) < 4 + int.from_bytes(heard[:4], "big"):
            heard += os.read(fd, 1 << 16)
        heard = heard[4 + int.from_bytes(heard[:4], "big") :]
    os._exit(ALL_ANSWERED)


def hangs(fd: int) -> None:
    os.close(fd)


_ON_SERVER: dict[str, Callable[[int], None]] = {
    "noise": noise,
    "length": lambda fd: write(fd, b"\x7f\xff\xff\xff" + bytes(1000)),
    "nothing": lambda fd: write(fd, bytes(100_000)),
    "direction": lambda fd: write(fd, framed(encode(Stop()))),
    "deep": lambda fd: write(fd, framed(b"TH\x01\x11" + b"\x91" * 50_000)),
    "types": lambda fd: write(fd, framed(b"TH\x01\x11" + pack([b"1", 2, None]))),
    "descriptor": descriptor,
    "forged": lambda fd: write(fd, framed(encode(Undelivered([["a", "b", b"c", CAUSE, "not mine"]])))),
    "hangs": hangs,
    "lookups": lambda fd: repeat(fd, lambda n: encode(Lookup(n, VICTIM, FAR_NS))),
    "waits": lambda fd: repeat(fd, lambda n: encode(Lookup(n, "sleeper", FAR_NS))),
    "names": lambda fd: repeat(fd, lambda n: encode(Register(n, f"h{os.getpid()}.{n}"))),
    "monitors": lambda fd: repeat(fd, lambda n: encode(Monitor(n, VICTIM, n))),
    "questions": lambda fd: repeat(fd, lambda n: encode(Whereis(n, "x" * 10_000))),
    "reports": lambda fd: repeat(fd, lambda n: encode(Undelivered([[None, ME[0], bytes(1000), CAUSE, "mine"]]))),
    "half": half,
    "late": late,
    "long": long,
}

_ON_ACTOR: dict[str, Callable[[int], None]] = {
    "mail": lambda fd: repeat(fd, lambda n: encode(Send(n, [[CAUSE, b"x"]]))),
    "mailhalf": half,
    "mailnoise": noise,
    "asks": lambda fd: repeat(fd, lambda n: encode(Ask(n, CAUSE, b"e" + bytes(100_000), FAR_NS, []))),
    "opens": lambda fd: repeat(fd, lambda n: encode(OpenChannel(n, f"c{n}", CAUSE, b"", FAR_NS, []))),
    "mailstop": lambda fd: repeat(fd, lambda n: encode((Stop(), Taken(n), Answer(n, b"", None, None))[n % 3])),
    "mailcount": lambda fd: repeat(fd, lambda n: encode(Send((1 << 64) - 1, [[CAUSE, b""]] * 10_000))),
}
