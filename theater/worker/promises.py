"""Requests that an actor has accepted and will answer later: each ends exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from theater.errors import ActorFailed, TheaterError
from theater.host.base import Refused
from theater.worker.letters import ReplyTo

_LOOK_AT = 1000
"""So many promises are made before those are dropped whose askers wait no longer."""


@dataclass(frozen=True, slots=True)
class _Promise:
    reply: ReplyTo
    deadline_ns: int


class Promises:
    """The outstanding requests of one incarnation.

    Args:
        release: makes sure that what has been recorded is on the disk, and returns the digest of the entry that
            records the answer; called before an answer leaves.
    """

    def __init__(self, release: Callable[[], bytes]) -> None:
        self._release = release
        self._open: dict[str, _Promise] = {}
        self._look_at = _LOOK_AT

    def promise(self, request: str, reply: ReplyTo, deadline_ns: int) -> None:
        """Notes that `request` will be answered later."""
        if len(self._open) >= self._look_at:
            self._look_at = max(_LOOK_AT, 2 * len(self.outstanding()))
        self._open[request] = _Promise(reply, deadline_ns)

    def outstanding(self) -> list[str]:
        """Those that somebody still waits for, oldest first."""
        now = time.monotonic_ns()
        for request in [name for name, promise in self._open.items() if promise.deadline_ns < now]:
            del self._open[request]
        return list(self._open)

    def respond(self, request: str, response: bytes) -> None:
        self._end(request, response, None)

    def cancel(self, request: str) -> None:
        self._end(request, None, ActorFailed("the actor cancelled the request"))

    def _end(self, request: str, response: bytes | None, error: TheaterError | None) -> None:
        promise = self._open.pop(request, None)
        if promise is None:
            raise Refused(
                f"no outstanding request {request!r}: it was answered, cancelled, or is not of this actor's life"
            )
        promise.reply.answer(response, error, self._release())
