"""Why a worker ended, how far its chain came, and which message it was handling."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from theater.chainlog.chain_file import ChainFile, Walk
from theater.chainlog.recovery import FOLLOWED, record_at
from theater.core.chain import START, Call, Mark, Tracker
from theater.core.codec import Ref, Veiled, content_digest, pack
from theater.core.exit_reason import ExitKind, ExitReason
from theater.core.handlers import MESSAGE_SERVER_CLIENT
from theater.durable import forget_cached
from theater.errors import TheaterError, WireError
from theater.server.processes import Ended

_GUESTS_DOING = frozenset({ExitKind.TRAP, ExitKind.DEADLINE, ExitKind.OUT_OF_MEMORY, ExitKind.STATUS})
_OUTSIDE_SIGNALS = frozenset({1, 2, 3, 9, 15})


class OomKills(Protocol):
    """What the kernel says of its kills for want of memory: of the machine, or of a control group."""

    def claim(self) -> bool:
        """Whether there was one that nobody has been blamed with yet."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found.

    Args:
        mark: where the chain ends; None if there is none.
        last_message: content digest of the message that was being handled, or was handled last.
    """

    mark: Mark | None
    last_message: bytes | None


def examine(path: Path, known: Mark | None, last_call: int | None, *, durable: bool = False) -> Findings:
    """Reads what was written after `known`, and the call that began last.

    Args:
        known, last_call: what the dead worker said of itself: how far its chain goes, and the offset of that call.
        durable: what is found must outlive the machine, since a checkpoint will name it.

    A chain that cannot be read gives what was known: whoever opens it next reports the damage. The worker may have
    lied, and said that its chain goes beyond what any file can hold.
    """
    try:
        with ChainFile.open(path) as file:
            if known is not None and last_call is None and file.size == known.offset:
                return Findings(known, None)
            if durable:
                forget_cached(file.fd)  # It may have died of a sync that failed.
                os.fdatasync(file.fd)
            return _read(file, known, last_call)
    except (TheaterError, OSError, OverflowError):
        return Findings(known, None)


def judge(
    ended: Ended,
    words: Mapping[str, object] | None,
    overdue: ExitReason | None,
    *,
    asked: bool,
    oom_kills: OomKills,
) -> ExitReason:
    """The truth about an end: what the server did, else what the kernel says, else the worker's last words.

    Args:
        words: what the worker left in its pulse.
        overdue: why the server killed it on its own account, if it did.
        asked: its supervisor had asked for this end, so that a kill is not the kernel's.
    """
    if ended.signal == signal.SIGKILL:
        if overdue is not None:
            return overdue
        if not asked and oom_kills.claim():
            used = f"the kernel took its process, which had {ended.max_rss / (1 << 20):.0f} MiB, for want of memory"
            return ExitReason.out_of_memory(used, signal=signal.SIGKILL)
    if ended.signal is not None:
        return ExitReason.by_signal(ended.signal)
    if words is not None:
        with contextlib.suppress(WireError):
            return ExitReason.from_dict(words)
    return ExitReason.by_status(ended.status or 0)


def is_guests_doing(reason: ExitReason) -> bool:
    """Whether the guest ended itself, rather than somebody from outside."""
    if reason.commanded:
        return False
    if reason.kind is ExitKind.SIGNAL:
        return reason.signal not in _OUTSIDE_SIGNALS
    return reason.kind in _GUESTS_DOING


def _read(file: ChainFile, known: Mark | None, call_at: int | None) -> Findings:
    walk = Walk(file, known.head if known is not None else START)
    tracker = Tracker(known)
    for record in walk:
        if record.kind_number in FOLLOWED:
            payload = record.entry().read()
            tracker.note(payload, record.offset)
            call_at = record.offset if isinstance(payload, Call) else call_at
    message = _message(file, call_at) if call_at is not None else None
    return Findings(tracker.mark(walk.scanner.head), message)


def _message(file: ChainFile, offset: int) -> bytes | None:
    gap = file.dropped
    if gap is not None and gap.covers(offset):
        return None  # It came to its end, and was dropped since.
    call = record_at(file, offset).entry().read()
    if not isinstance(call, Call) or call.interface != MESSAGE_SERVER_CLIENT or not isinstance(call.args, list):
        return None
    body = call.args[-1] if call.args else None
    if isinstance(body, Ref):
        return body.digest
    if isinstance(body, Veiled):
        return content_digest(pack(body))
    return content_digest(body) if isinstance(body, bytes) else None
