"""Who is told when a life is over, and who ends with it: monitors and links between actors (OTP 1.13).

Pure: it is told what happens and answers what is to be done about it. It knows nothing of processes; that a death
spreads through links is a matter of real deaths: this says whom to kill, and is told when that one is dead.

An actor has one life at a time, so bonds are kept by actor and cleared with its life:

* A *monitor* is one-way. Each has a reference of its own and leads to exactly one `Down`, unless it is undone before.
* A *link* is both-way, at most one for each pair. A death reaches the other as an exit signal: who traps exits is
  told (`Exit`); who does not is to be killed (`Kill`), but for a `normal` end, which is dropped.
* Whatever an actor has asked for ends with its life: its monitors, its links, its wish to trap exits.

Unlike a process of Erlang an actor may be between two lives. A bond with one that is coming is with the life in
which it will be up: a start that fails and is tried again is not its end. If it stays down, that is. Only a link that
an actor has asked for itself, in its init, binds it from then on, for somebody is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, TypeAlias, TypeVar

from theater.core.exit_reason import ExitKind, ExitReason
from theater.errors import InvalidInput, LimitExceeded

MOST: Final = 10_000
"""Monitors, and links, that one actor may have asked for at a time."""


class Standing(Enum):
    """Whether there is somebody to be bound to."""

    UP = auto()
    COMING = auto()
    DOWN = auto()


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side of a monitor or link, at the moment in which it is asked for.

    Args:
        actor: its id; if there is no such actor, the words that should have named it.
        incarnation: its present or last life; 0 if it had none.
        last_exit: why its last life ended, if it is known to have had one.
    """

    actor: str
    standing: Standing
    incarnation: int = 0
    last_exit: ExitReason | None = None


@dataclass(frozen=True, slots=True)
class Over:
    """The end of a life, or that there is none."""

    actor: str
    incarnation: int
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Down:
    """Tell `watcher` of the end, for its monitor `ref`."""

    watcher: str
    ref: int
    over: Over


@dataclass(frozen=True, slots=True)
class Exit:
    """Tell `receiver`, which traps exits, of the end of one that it was linked to."""

    receiver: str
    over: Over


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill `victim`, with the same reason: it was linked to the one that has ended."""

    victim: str
    over: Over


Consequence: TypeAlias = Down | Exit | Kill


@dataclass(slots=True)
class Bonds:
    """All monitors and links. Actors are named by id.

    Every awaited bond is marked: `_watched[actor][watcher, ref]` and `_links[holder][actor]` are True as long as the
    bond waits for `actor` to be up.
    """

    _monitors: dict[str, dict[int, str]] = field(default_factory=dict)
    _watched: dict[str, dict[tuple[str, int], bool]] = field(default_factory=dict)
    _links: dict[str, dict[str, bool]] = field(default_factory=dict)
    _trapping: set[str] = field(default_factory=set)

    # ---- what actors ask for

    def monitor(self, watcher: str, ref: int, peer: Peer) -> list[Consequence]:
        """Makes a monitor; of one that is down the `Down` comes at once.

        Raises:
            InvalidInput: `watcher` has a monitor `ref` already.
            LimitExceeded: it has as many as it may.
        """
        mine = self._monitors.get(watcher, {})
        if ref in mine:
            raise InvalidInput(f"this actor has a monitor {ref} already")
        if peer.standing is Standing.DOWN:
            return [Down(watcher, ref, _over(peer))]
        _refuse_more_than_most(mine, "monitors")
        self._monitors.setdefault(watcher, {})[ref] = peer.actor
        self._watched.setdefault(peer.actor, {})[watcher, ref] = peer.standing is Standing.COMING
        return []

    def demonitor(self, watcher: str, ref: int) -> bool:
        """Undoes a monitor; whether its `Down` was still to come."""
        actor = _take(self._monitors, watcher, ref)
        if actor is None:
            return False
        _take(self._watched, actor, (watcher, ref))
        return True

    def link(self, asker: str, peer: Peer) -> list[Consequence]:
        """Makes a link, unless there is one; one that is down sends its exit signal at once.

        Raises:
            LimitExceeded: `asker` has as many links as it may.
        """
        if peer.actor == asker:
            return []
        if peer.standing is Standing.DOWN:
            return self._exit_signal(asker, _over(peer))
        mine = self._links.get(asker, {})
        if peer.actor not in mine:
            _refuse_more_than_most(mine, "links")
            self._links.setdefault(asker, {})[peer.actor] = peer.standing is Standing.COMING
        self._links.setdefault(peer.actor, {})[asker] = False  # Whoever asks is there.
        return []

    def unlink(self, asker: str, actor: str) -> None:
        """Undoes a link, if there is one."""
        _take(self._links, asker, actor)
        _take(self._links, actor, asker)

    def trap_exits(self, actor: str, trap: bool) -> None:
        """Whether the ends of those that `actor` is linked to are told to it instead of killing it."""
        if trap:
            self._trapping.add(actor)
        else:
            self._trapping.discard(actor)

    def linked(self, actor: str) -> list[str]:
        """Those that end with it, or hear of its end."""
        return sorted(self._links.get(actor, {}))

    def watchers(self, actor: str) -> list[str]:
        """Those that monitor it."""
        return sorted({watcher for watcher, _ in self._watched.get(actor, {})})

    # ---- what happens

    def is_up(self, actor: str) -> None:
        """The life that was coming is there: bonds wait no more, and end with it."""
        watched = self._watched.get(actor, {})
        for monitor in watched:
            watched[monitor] = False
        for holder in self._links.get(actor, {}):
            self._links[holder][actor] = False

    def ended(self, actor: str, incarnation: int, reason: ExitReason) -> list[Consequence]:
        """A life is over, be it one that never was up. What waits for the actor to be up goes on waiting."""
        self._trapping.discard(actor)
        for ref in list(self._monitors.get(actor, {})):
            self.demonitor(actor, ref)
        return self._let_go(Over(actor, incarnation, reason), awaiting_too=False)

    def stays_down(self, actor: str, incarnation: int, reason: ExitReason) -> list[Consequence]:
        """The actor is down, and nobody is about to start it: nothing waits for it any more.

        Args:
            reason: why, be it that of a failed start.
        """
        return self._let_go(Over(actor, incarnation, reason), awaiting_too=True)

    # ---- how a death spreads

    def _let_go(self, over: Over, *, awaiting_too: bool) -> list[Consequence]:
        found: list[Consequence] = []
        for (watcher, ref), awaits in list(self._watched.get(over.actor, {}).items()):
            if awaiting_too or not awaits:
                self.demonitor(watcher, ref)
                found.append(Down(watcher, ref, over))
        for holder in list(self._links.get(over.actor, {})):
            if awaiting_too or not self._links[holder][over.actor]:
                self.unlink(holder, over.actor)
                found += self._exit_signal(holder, over)
        return found

    def _exit_signal(self, receiver: str, over: Over) -> list[Consequence]:
        if receiver in self._trapping:
            return [Exit(receiver, over)]
        if over.reason.kind is ExitKind.NORMAL:
            return []
        return [Kill(receiver, over)]


K = TypeVar("K")
V = TypeVar("V")


def _over(peer: Peer) -> Over:
    return Over(peer.actor, peer.incarnation, peer.last_exit or ExitReason.no_process())


def _take(table: dict[str, dict[K, V]], actor: str, key: K) -> V | None:
    """Takes an entry out of a table of tables, which keeps no empty ones."""
    entries = table.get(actor, {})
    value = entries.pop(key, None)
    if not entries:
        table.pop(actor, None)
    return value


def _refuse_more_than_most(mine: dict[int, str] | dict[str, bool], what: str) -> None:
    if len(mine) >= MOST:
        raise LimitExceeded(f"an actor may have {MOST} {what} at a time; undo some")
