"""What a spare does while it waits: it plays two short lives on a stage of its own, and clears everything away.

A forked process shares its memory with its template until it writes, and the first run of any Python code writes to
most of the pages that it uses (reference counts). Copying them costs most of the time between an assignment and the
first answer. A spare has nothing to do, so it pays that price before anybody waits for it. It plays a first life and
one that goes on from it, each with one message, since the two begin differently. An understudy answers in the guest's
place: the guest is not entered, nothing is sent, and nothing remains.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from theater.core.chain import Mark
from theater.core.codec import pack, unpack
from theater.core.pulse import SIZE, Pulse
from theater.core.values import Ok
from theater.core.wire import Answer, Ask, Deliver, Handled, Ready, Send, decode, encode
from theater.errors import TheaterError
from theater.worker.actor import Actor
from theater.worker.assignment import REHEARSAL, Assignment, Limits
from theater.worker.hollow import HollowLink
from theater.worker.letters import Letter
from theater.worker.signals import Signals
from theater.worker.warm import Player, Warm

_NOBODY = "00000000-0000-4000-8000-000000000000"
_NO_DIGEST = bytes(32)
_MIB = 1 << 20
_FAR_AWAY_NS = 1 << 62
_BY_HEART = 8


def rehearse(warm: Warm, folder: Path) -> None:
    """Plays it, without a line to anybody: on its own an assignment may arrive meanwhile.

    Args:
        folder: where a folder for the duration of the rehearsal can be made.
    """
    stage = folder / f"{REHEARSAL}{os.getpid()}"
    cast = Warm(_Understudy(warm.guest), warm.host, warm.seam, warm.artefact)
    pulse = Pulse(memoryview(bytearray(SIZE)))
    link = HollowLink()
    try:
        stage.mkdir(mode=0o700)
        for incarnation in (1, 2):
            plain = pack(_assignment(stage, incarnation, pulse.read_mark()).to_plain())
            assignment = Assignment.from_plain(unpack(plain, max_len=_MIB))
            actor = Actor(assignment, cast, pulse, Signals(link))
            actor.rehearse(Letter(b"", reply=_Nobody(), deadline_ns=_FAR_AWAY_NS))
        for message in (
            Send(1, [[_NO_DIGEST, b""]]),
            Ask(1, _NO_DIGEST, b"", 0, [_NOBODY]),
            Answer(1, _NO_DIGEST, b"", None),
            Deliver(1, True, b"", 0),
            Ready(1),
        ):
            decode(encode(message))
    except (OSError, TheaterError):
        pass  # The disk is full, say. Then the first call pays the price, and a life is not lost for its rehearsal.
    finally:
        link.close()
        shutil.rmtree(stage, ignore_errors=True)


def learn_by_heart(warm: Warm, folder: Path) -> None:
    """Rehearses in a template, again and again, without a thread.

    Python adapts code that has run a few times, and remembers what it looked up. It writes both into the code and the
    classes, which all workers that are forked later then share, instead of each writing them into a copy of its own.

    Args:
        folder: as for `rehearse`.
    """
    for _ in range(_BY_HEART):
        rehearse(warm, folder)


class _Understudy:
    """Stands in for the guest, and answers every call with a state."""

    def __init__(self, guest: Player) -> None:
        self.exports = guest.exports
        self.prepare_deadlines = guest.prepare_deadlines
        self.limit_memory, self.memory_bytes = guest.limit_memory, guest.memory_bytes
        self.set_fuel, self.fuel_consumed = guest.set_fuel, guest.fuel_consumed
        self.prepare_state_roots = guest.prepare_state_roots
        self.state_root, self.keep, self.unportable = guest.state_root, guest.keep, guest.unportable

    def shaped(self, interface: str, function: str, params: tuple[Any, ...]) -> tuple[Any, ...]:
        return params

    def call(self, interface: str, function: str, args: tuple[Any, ...], timeout: float | None = None) -> Ok:
        return Ok((b"state", (b"",)) if function != "init" else (b"state",))


class _Nobody:
    """Waits for the answer."""

    def answer(self, value: bytes | None, error: TheaterError | None, cause: bytes) -> None:
        decode(encode(Handled(1, value, None)))


def _assignment(stage: Path, incarnation: int, known: Mark | None) -> Assignment:
    limits = Limits(
        memory=4096 * _MIB,
        call_timeout=30.0,
        request_timeout=5.0,
        fuel=None,
        mailbox=1000,
        state=_MIB,
        message=_MIB,
        record=_MIB,
        log=_MIB,
    )
    return Assignment(
        actor=_NOBODY,
        name="nobody",
        parent=None,
        incarnation=incarnation,
        folder=str(stage),
        content=str(stage / "content"),
        labels=str(stage / "labels"),
        handlers=("identity", "message-server", "runtime"),
        state_policy="last",
        durability="process",
        limits=limits,
        known=known,
        manifest_digest=_NO_DIGEST,
        randomness=bytes(16),
        component=_NO_DIGEST.hex(),
        program=None,
        init_state=None,
        poison=(),
    )
