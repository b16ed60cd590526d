"""The port to services: what host interfaces use that have something done by a process with more rights.

What is asked of a service is not recorded again: the host call that needs it is, and its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Services(Protocol):
    """The services of one life."""

    def ask(self, service: str, op: str, args: Sequence[Any], timeout: float | None = None) -> Any:
        """Has a service do something; what was recorded and sent before is let out first.

        Args:
            service: GATEWAY or LAUNCHER of theater/core/handlers.py.
            op: which of its operations.
            args: WIT values (theater/core/values.py).
            timeout: seconds, None for the actor's request timeout; never longer than the running call may take.

        Raises:
            ServiceDown: the service ended before it answered; it is started again.
            TimedOut: no answer in time.
            TheaterError: what the service answered instead.
        """

    def on_up(self, service: str, again: Callable[[], None]) -> None:
        """Has `again` called whenever the service knows nothing of this life: between two calls, or before the next
        `ask`. What it asks the service is not recorded; an error that it raises is logged."""

    def on_call(self, service: str, interface: str, function: str, seen: Callable[[Sequence[Any]], None]) -> None:
        """Has `seen` called with the parameters of each call of a handler that the service wants, when it arrives; it
        is made in this life, or never."""
