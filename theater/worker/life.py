"""One life of one actor: its loop, its calls, its end.

The worker is born knowing its component and waits to be told who it is. Then it is one thread that takes one
message at a time: records the call, lets the guest run, records the outcome, and only then lets effects out (D3,
D4). Whatever ends it, its last words say why; the supervisor reads them from the pulse.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from theater.bus.links import Link
from theater.core.codec import unpack
from theater.core.exit_reason import ExitReason
from theater.core.pulse import SIZE, Pulse
from theater.core.wire import MAX_FRAME, Ready
from theater.errors import DiskFull, Diverged, LimitExceeded, TheaterError
from theater.tether import die_with
from theater.wasm.guest import Trap, TrapKind
from theater.worker import bounds, confine
from theater.worker.actor import Actor, Ended
from theater.worker.assignment import Assignment
from theater.worker.rehearsal import rehearse
from theater.worker.signals import Signals
from theater.worker.warm import Warm

_COLLECT_EVERY = 20_000
"""Allocations between two collections. A call leaves next to no circles behind, and looking for them costs it dear."""

_LARGEST_ASSIGNMENT = 1 << 18
_LONG_S = 1e9
_LINGER_S = 1.0
"""How long what was sent last may take to leave: an answer, a dead letter."""


def run(line: int, warm: Warm, supervisor: int, stages: Path, *, spare: bool) -> NoReturn:
    """Waits for an assignment on `line` and plays it to its end. Never returns.

    Args:
        line: this worker's end of its link to the supervisor, the only one that it is born with: others are handed to
            it over this one, and it makes none.
        stages: where spares rehearse.
        spare: nobody waits for this worker yet, so it has time for a rehearsal.
    """
    status = 1
    try:
        die_with(supervisor)
        confine.own_nothing_but(line)
        confine.default_signals()
        gc.set_threshold(_COLLECT_EVERY, 10, 100)
        signals = Signals(Link(line, largest=MAX_FRAME, takes_descriptors=True))
        if spare:
            warm.guest.prepare_deadlines()
            rehearse(warm, stages)
        data = signals.link.receive_within(_LONG_S)
        page = signals.take_descriptor()
        if data is None or page is None:
            os._exit(0)
        pulse = Pulse(memoryview(mmap.mmap(page, SIZE)))
        os.close(page)
        assignment = Assignment.from_plain(unpack(data, max_len=_LARGEST_ASSIGNMENT))
        reason = _play(assignment, warm, pulse, signals)
        signals.link.let_out(_LINGER_S)  # The end of the process closes it, and not this: who closes it has no excuse.
        pulse.last_words(reason.to_dict())
        status = 0 if reason.is_normal else 1
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(status)


def _play(assignment: Assignment, warm: Warm, pulse: Pulse, signals: Signals) -> ExitReason:
    """The life itself; returns why it ended."""
    actor: Actor | None = None
    try:
        actor = Actor(assignment, warm, pulse, signals)
        bounds.impose(assignment.limits, warm.guest.memory_bytes())
        signal.signal(signal.SIGTERM, actor.on_sigterm)
        actor.seal()
        actor.begin()
        actor.signals.tell(Ready(assignment.incarnation))
        actor.serve()
    except Ended as ended:
        reason = ended.reason
    except Trap as trap:
        reason = _of_trap(trap, assignment)
    except DiskFull as error:
        reason = ExitReason.error(f"disk full: {error.message}")
    except LimitExceeded as error:
        reason = ExitReason.trap("limit", error.message)
    except Diverged as error:
        reason = ExitReason.error("\n".join(["its memory could not be made again: " + error.message, *_diff(error)]))
    except TheaterError as error:
        reason = ExitReason.error(f"{type(error).__name__}: {error.message}")
    except MemoryError:
        reason = ExitReason.out_of_memory("its process could not allocate any more")
    except Exception as error:
        words = traceback.format_exc()
        print(words if actor is None else actor.redact(words), file=sys.stderr)
        reason = ExitReason.error(f"a defect of the worker: {type(error).__name__}: {error}")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if actor is not None:
        if reason.detail is not None:
            reason = replace(reason, detail=actor.redact(reason.detail))
        try:
            actor.close(reason)
        except Exception as error:
            print(f"worker {assignment.actor}: while it closed: {error}", file=sys.stderr)
    return reason


def _diff(error: Diverged) -> list[str]:
    diff = error.details.get("diff")
    return list(map(str, diff)) if isinstance(diff, list) else []


def _of_trap(trap: Trap, assignment: Assignment) -> ExitReason:
    if trap.kind is TrapKind.TIMEOUT:
        return ExitReason.deadline(f"a call lasted over {assignment.limits.call_timeout:g} s ([limits] call_timeout)")
    if trap.kind is TrapKind.OUT_OF_MEMORY:
        return ExitReason.out_of_memory(f"{trap.message} ([limits] memory is {assignment.limits.memory} bytes)")
    return ExitReason.trap(trap.kind.value, trap.message, "\n".join(trap.backtrace))
