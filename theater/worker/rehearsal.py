"""What a spare does while it waits: it plays the beginning of a life once, on a stage of its own, and clears it away.

A forked process shares its memory with its template until it writes, and the first run of any Python code writes to
most of the pages that it uses (reference counts). Copying them costs most of the time between an assignment and the
first message. A spare has nothing to do, so it pays that price before anybody waits for it. The guest is not
entered, nothing is sent, and nothing remains.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from theater.bus.sockets import Context
from theater.core.chain import outcome_ok
from theater.core.codec import pack, unpack
from theater.core.pulse import SIZE, Pulse
from theater.core.wire import Answer, Ask, Deliver, Handled, Send, decode, encode
from theater.errors import TheaterError
from theater.worker.actor import Actor
from theater.worker.assignment import REHEARSAL, Assignment, Limits
from theater.worker.signals import Signals
from theater.worker.warm import Warm

_NOBODY = "00000000-0000-4000-8000-000000000000"
_NO_DIGEST = bytes(32)
_MIB = 1 << 20


def rehearse(warm: Warm, context: Context, signals: Signals, folder: Path) -> None:
    """Plays it.

    Args:
        folder: where a folder for the duration of the rehearsal can be made.
    """
    stage = folder / f"{REHEARSAL}{os.getpid()}"
    try:
        stage.mkdir(mode=0o700)
        assignment = Assignment.from_plain(unpack(pack(_assignment(stage).to_plain()), max_len=_MIB))
        actor = Actor(assignment, warm, Pulse(memoryview(bytearray(SIZE))), context, signals)
        actor.rehearse(outcome_ok([b""], b"", None))
        for message in (
            Send(_NOBODY, 1, [[_NO_DIGEST, b""]]),
            Ask(_NOBODY, 1, _NO_DIGEST, b"", 0, [_NOBODY]),
            Answer(1, _NO_DIGEST, b"", None),
            Deliver(1, True, b"", 0),
            Handled(1, b"", None),
        ):
            decode(encode(message))
    except (OSError, TheaterError):
        pass  # The disk is full, say. Then the first call pays the price, and a life is not lost for its rehearsal.
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _assignment(stage: Path) -> Assignment:
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
        incarnation=1,
        folder=str(stage),
        content=str(stage / "content"),
        labels=str(stage / "labels"),
        inbox=f"ipc://{stage / 'i'}",
        handlers=("identity", "message-server", "runtime"),
        state_policy="last",
        durability="process",
        limits=limits,
        known=None,
        manifest_digest=_NO_DIGEST,
        randomness=bytes(16),
        component=_NO_DIGEST.hex(),
        program=None,
        init_state=None,
        poison=(),
    )
