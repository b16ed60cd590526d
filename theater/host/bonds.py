"""theater:otp/monitors and links: hearing of the end of other actors, and ending together with them."""

from __future__ import annotations

from typing import Any, Protocol

from theater.core.exit_reason import ExitReason


class Bonds(Protocol):
    """What this actor's life has to do with others. Methods raise a `TheaterError` when they cannot."""

    def monitor(self, words: str) -> int:
        """Asks to hear of the end of the present life of `words`, an id or a name; returns the monitor's number."""

    def demonitor(self, monitor: int) -> bool:
        """Whether news was still to come; none comes after this."""

    def link(self, words: str) -> None: ...

    def unlink(self, words: str) -> None: ...

    def trap_exits(self, trap: bool) -> None: ...


class Monitors:
    def __init__(self, bonds: Bonds) -> None:
        self._bonds = bonds

    def monitor(self, actor: str) -> int:
        return self._bonds.monitor(actor)

    def demonitor(self, monitor: int) -> bool:
        return self._bonds.demonitor(monitor)


class Links:
    def __init__(self, bonds: Bonds) -> None:
        self._bonds = bonds

    def link(self, actor: str) -> None:
        self._bonds.link(actor)

    def unlink(self, actor: str) -> None:
        self._bonds.unlink(actor)

    def trap_exits(self, trap: bool) -> None:
        self._bonds.trap_exits(trap)


def exit_record(reason: ExitReason) -> dict[str, Any]:
    """The record `exit-reason` of theater:otp/exits."""
    return {
        "kind": reason.kind.value.replace("_", "-"),
        "detail": reason.detail,
        "signal": reason.signal,
        "status": reason.status,
        "commanded": reason.commanded,
    }
