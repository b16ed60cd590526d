"""Clients that wait for a chain or a log to grow.

The record on the disk is the only source: a waiting client is answered from the file when its writer says that it
has grown, so nothing is lost between what was and what comes, and a slow client holds up nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from theater.errors import TheaterError, disk_error
from theater.server.cast import Cast
from theater.server.loop import Alarm, Loop

_SECOND_LOOK_S = 0.02


@dataclass(slots=True, eq=False)
class _Waiter:
    look: Callable[[], dict[str, Any] | None]
    nothing: Callable[[], dict[str, Any]]
    reply: Callable[[Any], None]
    fail: Callable[[TheaterError], None]
    alarm: Alarm | None = None


class Watch:
    """Waiters by subject: an actor's id, or `supervisor`."""

    def __init__(self, loop: Loop, cast: Cast) -> None:
        self._loop = loop
        self._cast = cast
        self._waiters: dict[str, list[_Waiter]] = {}

    def wait(
        self,
        subject: str,
        timeout: float,
        look: Callable[[], dict[str, Any] | None],
        nothing: Callable[[], dict[str, Any]],
        reply: Callable[[Any], None],
        fail: Callable[[TheaterError], None],
    ) -> None:
        """Answers with the first `look` that finds something, or with `nothing` after `timeout` seconds.

        Args:
            fail: is called instead when the file cannot be read.
        """
        waiter = _Waiter(look, nothing, reply, fail)
        waiter.alarm = self._loop.after(timeout, lambda: self._over(subject, waiter))
        self._waiters.setdefault(subject, []).append(waiter)
        self.attend(subject)
        # The file may have grown after the caller looked and before the writer knew that somebody watches.
        self._loop.after(_SECOND_LOOK_S, lambda: self.changed(subject))

    def changed(self, subject: str) -> None:
        """The chain or the log of `subject` has grown."""
        for waiter in list(self._waiters.get(subject, ())):
            self._look(subject, waiter)

    def attend(self, subject: str) -> None:
        """Tells the subject's worker whether somebody watches; called for each new worker too."""
        actor = self._cast.get(subject)
        if actor is not None and actor.worker is not None and actor.worker.pulse is not None:
            actor.worker.pulse.watch(subject in self._waiters)

    def tidy(self) -> None:
        """Lets workers whom nobody watches any more save the effort."""
        for actor in self._cast:
            self.attend(actor.id)

    def end_all(self) -> None:
        """Answers everybody: the server ends."""
        for subject, waiters in list(self._waiters.items()):
            for waiter in list(waiters):
                self._look(subject, waiter, at_last=True)

    def _over(self, subject: str, waiter: _Waiter) -> None:
        if waiter in self._waiters.get(subject, ()):
            self._look(subject, waiter, at_last=True)

    def _look(self, subject: str, waiter: _Waiter, at_last: bool = False) -> None:
        """Answers if there is something, and `at_last` in any case."""
        try:
            found = waiter.look() or (waiter.nothing() if at_last else None)
        except TheaterError as error:
            self._dismiss(subject, waiter)
            waiter.fail(error)
        except OSError as error:
            self._dismiss(subject, waiter)
            waiter.fail(disk_error(error, "reading what was waited for"))
        else:
            if found is not None:
                self._dismiss(subject, waiter)
                waiter.reply(found)

    def _dismiss(self, subject: str, waiter: _Waiter) -> None:
        waiters = self._waiters[subject]
        waiters.remove(waiter)
        if not waiters:
            del self._waiters[subject]
        if waiter.alarm is not None:
            waiter.alarm.cancel()
