"""What a dead worker's chain says: how far it came, and which message it was handling."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from theater.chainlog.recovery import BLOCK, read_at, record_at
from theater.core.chain import START, Call, Kind, Mark, Scanner, Tracker
from theater.core.codec import Ref, content_digest
from theater.core.exit_reason import ExitKind, ExitReason
from theater.core.handlers import MESSAGE_SERVER_CLIENT
from theater.errors import TheaterError

_FOLLOWED = frozenset({Kind.GENESIS, Kind.CALL, Kind.OUTCOME, Kind.LIFECYCLE})
_GUESTS_DOING = frozenset({ExitKind.TRAP, ExitKind.DEADLINE, ExitKind.OUT_OF_MEMORY, ExitKind.STATUS})
_OUTSIDE_SIGNALS = frozenset({1, 2, 3, 9, 15})


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found.

    Args:
        mark: where the chain ends; None if there is none.
        last_message: content digest of the message that was being handled, or was handled last.
    """

    mark: Mark | None
    last_message: bytes | None


def examine(path: Path, known: Mark | None, last_call: int | None) -> Findings:
    """Reads what was written after `known`, and the call that began last.

    Args:
        known, last_call: what the dead worker said of itself: how far its chain goes, and the offset of that call.

    A chain that cannot be read gives what was known: whoever opens it next reports the damage. The worker may have
    lied, and said that its chain goes beyond what any file can hold.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return Findings(known, None)
    try:
        return _read(descriptor, str(path), known, last_call)
    except (TheaterError, OSError, OverflowError):
        return Findings(known, None)
    finally:
        os.close(descriptor)


def is_guests_doing(reason: ExitReason) -> bool:
    """Whether the guest ended itself, rather than somebody from outside."""
    if reason.commanded:
        return False
    if reason.kind is ExitKind.SIGNAL:
        return reason.signal not in _OUTSIDE_SIGNALS
    return reason.kind in _GUESTS_DOING


def _read(descriptor: int, where: str, known: Mark | None, call_at: int | None) -> Findings:
    scanner = Scanner(known.head if known is not None else START)
    tracker = Tracker(known)
    offset = scanner.head.offset
    while scanner.damage is None and (data := read_at(descriptor, BLOCK, offset)):
        offset += len(data)
        for record in scanner.feed(data):
            if record.kind_number in _FOLLOWED:
                payload = record.entry().read()
                tracker.note(payload, record.offset)
                call_at = record.offset if isinstance(payload, Call) else call_at
    message = _message(descriptor, where, call_at) if call_at is not None else None
    return Findings(tracker.mark(scanner.head), message)


def _message(descriptor: int, where: str, offset: int) -> bytes | None:
    call = record_at(descriptor, where, offset).entry().read()
    if not isinstance(call, Call) or call.interface != MESSAGE_SERVER_CLIENT or not isinstance(call.args, list):
        return None
    body = call.args[-1] if call.args else None
    if isinstance(body, Ref):
        return body.digest
    return content_digest(body) if isinstance(body, bytes) else None
