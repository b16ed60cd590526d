"""Messages that a guest sends: recorded first, never longer than its own call may last."""

from __future__ import annotations

from collections.abc import Callable

from theater.errors import TimedOut
from theater.host.base import Caused, Seam
from theater.worker.assignment import Limits
from theater.worker.mail import Mail
from theater.worker.record import Record

Remaining = Callable[[], float | None]


class Post:
    """The port `theater.host.message_server.Post`, on the mail of one actor.

    Args:
        seam: knows the entry that records the message.
        remaining: seconds that the running call may still take.
    """

    def __init__(self, mail: Mail, record: Record, seam: Seam, limits: Limits, remaining: Remaining) -> None:
        self._mail = mail
        self._record = record
        self._seam = seam
        self._timeout = limits.request_timeout
        self._remaining = remaining

    def send(self, to: str, body: bytes) -> None:
        if self._mail.send(to, body, self._seam.origin, self._bounded(self._timeout)):
            self.let_out()

    def ask(self, to: str, body: bytes, timeout: float | None) -> Caused:
        self._record.release()
        self._mail.post()
        answer = self._mail.ask(to, body, self._seam.origin, self._bounded(timeout or self._timeout))
        if answer.value is None:
            raise TimedOut(f"{to} answered with nothing")
        return Caused(answer.value, answer.cause)

    def let_out(self) -> None:
        """Sends what the guest has sent so far."""
        if self._mail.has_outgoing:
            self._record.release()
            self._mail.post()

    def _bounded(self, timeout: float) -> float:
        left = self._remaining()
        return timeout if left is None else min(timeout, left)
