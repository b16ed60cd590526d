"""What a service manager hears of a running server, from time to time: how its actors are, and that its loop is well.

The watchdog is fed by an alarm of the loop itself, and only while the loop comes to its alarms on time and workers can
be born: a server that merely exists is not alive. A server that hangs says nothing, and is ended and started again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from theater.server.cast import State
from theater.server.house import House
from theater.server.notify import Notifier

_BEAT_S = 1.0
_BEATS_A_WATCH = 4
_EXTENSION_S = 30.0
_MENTIONED = (State.RUNNING, State.STARTING, State.RESTARTING, State.STOPPING, State.FAILED, State.STOPPED)


@dataclass(frozen=True, slots=True)
class Health:
    """How the loop is.

    Args:
        late_s: by how much it came too late to this beat, seconds.
        without_spawner_s: how long no worker could be born, seconds.
    """

    late_s: float
    without_spawner_s: float

    def fault(self, watchdog_s: float) -> str | None:
        """Why it must not be taken for well under a watchdog of so many seconds; None if it is."""
        if self.late_s > watchdog_s / _BEATS_A_WATCH:
            return f"the loop was {self.late_s:.1f} s late"
        if self.without_spawner_s > watchdog_s:
            return f"there has been no spawner for {self.without_spawner_s:.0f} s"
        return None


def told(states: Counter[State], *, stopping: bool, is_behind: bool) -> str:
    """One line for people.

    Args:
        states: how many actors are in which.
        is_behind: the disk has not taken all that was to be recorded.
    """
    total = sum(states.values())
    parts = [f"{states[state]} {state.value}" for state in _MENTIONED if states[state]]
    actors = f"{total} actor{'s' if total != 1 else ''}" + (f": {', '.join(parts)}" if parts else "")
    return ("stopping, " if stopping else "") + actors + ("; the disk refuses the record" if is_behind else "")


class Heartbeat:
    """Tells `notifier` about `house`, from `begin` on."""

    def __init__(self, house: House, notifier: Notifier) -> None:
        self._house = house
        self._notifier = notifier
        self._every = _BEAT_S
        if notifier.watchdog_s is not None:
            self._every = min(_BEAT_S, notifier.watchdog_s / _BEATS_A_WATCH)
        self._due = 0.0
        self._said = ""
        self._fault: str | None = None
        self._spawner_seen = house.loop.now()

    def begin(self) -> None:
        """The control socket answers, and what the home keeps is coming up."""
        if not self._notifier.is_heard:
            return
        self._said = self._text()
        self._notifier.ready(self._said)
        self._next()

    def stopping(self) -> None:
        """All is being ended."""
        self._notifier.stopping(self._text())

    def reloading(self) -> None:
        self._notifier.reloading()

    def reloaded(self) -> None:
        self._notifier.ready(self._text())

    def _next(self) -> None:
        self._due = self._house.loop.now() + self._every
        self._house.loop.at(self._due, self._beat)

    def _beat(self) -> None:
        if (text := self._text()) != self._said:
            self._said = text
            self._notifier.status(text)
        if self._house.lives.stopping:
            self._notifier.extend(_EXTENSION_S)
        self._feed()
        self._next()

    def _feed(self) -> None:
        limit = self._notifier.watchdog_s
        if limit is None:
            return
        fault = self._health().fault(limit)
        if fault is None:
            self._notifier.alive()
        elif self._fault is None:
            self._house.log.error("the server is not well, and its watchdog is not told otherwise", why=fault)
        self._fault = fault

    def _health(self) -> Health:
        now = self._house.loop.now()
        if self._house.nursery.has_spawner or self._house.lives.stopping:
            self._spawner_seen = now
        return Health(now - self._due, now - self._spawner_seen)

    def _text(self) -> str:
        house = self._house
        states = Counter(actor.state for actor in house.cast)
        return told(states, stopping=house.lives.stopping, is_behind=house.ledger.is_behind)
