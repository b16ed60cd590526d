"""theater:otp: identity, registry and timers: what every real actor of the reference had to build by hand."""

from __future__ import annotations

from typing import Any, Protocol

from theater.host.base import Refused

MAX_DELAY_MS = 366 * 24 * 3600 * 1000


class Circumstances(Protocol):
    """Who the actor is, and whose message it is handling."""

    def me(self) -> dict[str, Any]:
        """id, name, parent (None for a root actor) and incarnation."""

    def sender(self) -> str | None:
        """The id of the actor whose message is being handled, if one sent it."""

    def deadline_ms(self) -> int | None:
        """Until when the sender waits, in milliseconds since the epoch; None if nobody waits."""


class Identity:
    def __init__(self, circumstances: Circumstances) -> None:
        self._circumstances = circumstances

    def self(self) -> dict[str, Any]:
        return self._circumstances.me()

    def sender(self) -> str | None:
        return self._circumstances.sender()

    def deadline(self) -> int | None:
        return self._circumstances.deadline_ms()


class Directory(Protocol):
    """The supervisor's register of names."""

    def register(self, name: str) -> None: ...

    def unregister(self, name: str) -> None: ...

    def whereis(self, name: str) -> str | None: ...


class Registry:
    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def register(self, name: str) -> None:
        self._directory.register(name)

    def unregister(self, name: str) -> None:
        self._directory.unregister(name)

    def whereis(self, name: str) -> str | None:
        return self._directory.whereis(name)


class Clockwork(Protocol):
    """Timers of one actor, which outlive its incarnations."""

    def start(self, delay_ms: int, period_ms: int, msg: bytes) -> int:
        """Sets a timer; a period of 0 means once. Returns its number."""

    def cancel(self, timer: int) -> bool:
        """Whether there was such a timer."""


class Timers:
    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork

    def send_after(self, delay: int, msg: bytes) -> int:
        return self._clockwork.start(_checked(delay), 0, msg)

    def send_interval(self, period: int, msg: bytes) -> int:
        if period == 0:
            raise Refused("an interval of 0 ms would never let the actor rest; the shortest is 1 ms")
        return self._clockwork.start(_checked(period), period, msg)

    def cancel(self, timer: int) -> bool:
        return self._clockwork.cancel(timer)


def _checked(delay_ms: int) -> int:
    if delay_ms > MAX_DELAY_MS:
        raise Refused(f"a timer of {delay_ms} ms is over the longest of {MAX_DELAY_MS} ms (366 days)")
    return delay_ms
