"""Why an actor does not go on: what its record, its process, and the server's own tables say of it, put together.

The record is asked first: an open host call is its last entry (core/waiting.py). Only what is not in it comes from
elsewhere: who asks where a receiver is, which messages are on their way, when the next attempt to start is made.
Nothing here asks a worker, for a worker that hangs would not answer.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from theater.chainlog.chain_file import ChainFile
from theater.chainlog.reader import ChainReader
from theater.chainlog.recovery import record_at
from theater.config import Home
from theater.core import why as why_words
from theater.core.chain import Entry
from theater.core.exit_reason import ExitKind
from theater.core.waiting import Activity, Circle, Doing, Fate, Wait, WaitKind, Waits, doing, fate_of
from theater.core.why import Absence, Case, Mailbox
from theater.errors import TheaterError
from theater.server.bonds import Registrar
from theater.server.cast import Actor, Cast, State
from theater.server.dead_letters import DeadLetters
from theater.server.pages import event_of
from theater.server.services import Services
from theater.server.stage import Stage
from theater.server.switchboard import Switchboard

_LAST = 8
"""Entries that are shown of what an actor did last."""

_CONFIRMED = 3
"""How often circles are looked at again that were none."""

_LOOKED_AT = 500
"""Actors whose records are read for one question, those first that have been in a call for longest."""

_SETTLED_NS = 50_000_000
"""A call that began later is not stuck, and over before anybody reads the answer."""

_BUDGET_S = 0.2
"""How long records are read for one question: the server does nothing else meanwhile."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What the record of an actor says."""

    doing: Doing
    newest: Sequence[Entry] = ()
    unreadable: str | None = None

    def fate_of(self, question: bytes) -> Fate:
        """As in core/waiting.py; of a record that cannot be read nothing is known."""
        with contextlib.suppress(TheaterError):
            return fate_of(self.newest, question)
        return Fate.NOT_TAKEN

    def events(self) -> list[dict[str, Any]]:
        """The newest entries as clients see them; none if they are not what they should be."""
        with contextlib.suppress(TheaterError):
            return [event_of(entry) for entry in self.newest]
        return []


class Why:
    """Answers the question; changes nothing."""

    def __init__(
        self,
        home: Home,
        cast: Cast,
        stage: Stage,
        switchboard: Switchboard,
        services: Services,
        registrar: Registrar,
        dead_letters: DeadLetters,
        monotonic: Callable[[], float],
    ) -> None:
        self._home = home
        self._cast = cast
        self._stage = stage
        self._switchboard = switchboard
        self._services = services
        self._registrar = registrar
        self._dead_letters = dead_letters
        self._monotonic = monotonic
        self._namesakes: Counter[str] = Counter()

    def of(self, actor: Actor) -> dict[str, Any]:
        """All about one actor."""
        scene = _Scene(self, self._in_calls(), actor)
        look = scene.look(actor)
        return {**self._told(scene.case(actor), scene.now_ns), "unreadable": look.unreadable, "last": look.events()}

    def everybody(self) -> dict[str, Any]:
        """Every actor with which something may be wrong, and every circle."""
        in_calls = self._in_calls()
        scene = _Scene(self, in_calls)
        absent = [actor for actor in self._cast if actor.state is not State.RUNNING]
        asked = [actor for actor in self._cast if self._switchboard.waiting_for(actor)]
        looked_at = {actor.id: actor for actor in (*in_calls, *absent, *asked)}
        cases = (scene.case(actor) for actor in looked_at.values())
        found = [case for case in cases if why_words.is_suspicious(case, scene.now_ns)]
        return {
            "actors": len(self._cast.actors),
            "in_calls": self._number_in_calls(),
            "looked_at": scene.looked_at,
            "circles": [_plain_circle(circle) for circle in scene.waits.circles()],
            "services_down": self._services_down(),
            "dead_letters": len(self._dead_letters.rows()),
            "suspicious": [self._told(case, scene.now_ns) for case in found],
        }

    # ---- what is known

    def count_names(self) -> None:
        """Learns which names several actors have."""
        self._namesakes = Counter(actor.manifest.name for actor in self._cast)

    def _in_calls(self) -> list[Actor]:
        latest = time.monotonic_ns() - _SETTLED_NS
        began = [(since, actor) for actor in self._cast if (since := _call_since(actor) or latest) < latest]
        began.sort(key=lambda pair: pair[0])
        return [actor for _, actor in began[:_LOOKED_AT]]

    def _number_in_calls(self) -> int:
        return sum(_call_since(actor) is not None for actor in self._cast)

    def _services_down(self) -> list[str]:
        return [name for name, facts in self._services.view().items() if not facts["serving"]]

    def look(self, actor: Actor) -> _Look:
        """Reads the end of an actor's record."""
        self._stage.current_mark(actor)
        mark = actor.head
        if mark is None or not mark.entries:
            return _Look(Doing())
        path = self._home.chain(actor.id)
        try:
            with ChainReader(path) as reader:
                newest = reader.tail(_LAST)
            call = _entry_at(path, mark.call_at) if mark.call_at is not None else None
            return _Look(doing(newest, call), newest)
        except (TheaterError, OSError) as error:
            return _Look(Doing(), (), str(error))

    def actor(self, actor: str) -> Actor | None:
        return self._cast.get(actor)

    def name(self, actor: str) -> str:
        """What a person calls it: its name if no other actor has the same, else its id."""
        found = self._cast.get(actor)
        if found is None:
            return actor
        name = found.manifest.name
        return name if self._namesakes[name] == 1 else found.id

    def wait(self, actor: Actor, look: _Look) -> Wait | None:
        """What an actor waits for, its names resolved and its end known."""
        call, asks = look.doing.call, look.doing.asks
        if call is None or actor.worker is None:
            return None
        limits = actor.manifest.limits
        until = call_until(actor, look)
        seeks = self._switchboard.sought_by(actor.worker)
        if asks is None and not seeks:
            return None
        if asks is None or (seeks and asks.kind is WaitKind.RECEIVER):
            sought = self._cast.get(seeks[0])
            words = f"{self.name(seeks[0])}, to which it sends, to be up"
            return Wait(actor.id, WaitKind.RECEIVER, words, sought.id if sought else None, None, None, until)
        on = self._switchboard.find(asks.on) if asks.on is not None else None
        ends = [until, asks.until_ns]
        if asks.kind in (WaitKind.REPLY, WaitKind.CHANNEL):
            ends.append(asks.since_ns + (asks.within_ns or limits.request_timeout * 1_000_000))
        words = asks.words
        if on is not None and asks.on is not None:
            words = words.replace(asks.on, self.name(on.id))
        soonest = min((end for end in ends if end is not None), default=None)
        return Wait(actor.id, asks.kind, words, on.id if on else None, asks.entry, asks.since_ns, soonest)

    def absence(self, actor: Actor, now_ns: int) -> Absence | None:
        """Why it is not up, if it is not."""
        if actor.state is State.RUNNING and actor.worker is not None:
            return None
        end = actor.last_exit
        branch = actor.branch
        due = self._stage.attempt_at(actor.id) if actor.state is State.RESTARTING else None
        flags = branch.machine.flags if branch is not None else None
        return Absence(
            actor.state.value,
            end.describe() if end is not None else None,
            wanted=end is not None and (end.commanded or end.is_normal),
            until_ns=now_ns + int((due - self._monotonic()) * 1e9) if due is not None else None,
            gave_up=actor.state is State.FAILED and (end is None or end.kind is not ExitKind.START_FAILED),
            disk_full=end is not None and (end.detail or "").startswith("disk full"),
            recent=branch.machine.recent_restarts(self._monotonic()) if branch is not None else None,
            intensity=flags.intensity if flags is not None else None,
            period=flags.period if flags is not None else None,
        )

    def mailbox(self, actor: Actor) -> Mailbox:
        outside = self._switchboard.from_outside(actor)
        return Mailbox(self._switchboard.waiting_for(actor), actor.manifest.limits.mailbox, outside)

    def dead_letters(self, actor: Actor) -> int:
        return self._dead_letters.count_for(actor.id)

    # ---- told

    def _told(self, case: Case, now_ns: int) -> dict[str, Any]:
        actor = self._cast.actors[case.actor]
        call = case.doing.call
        return {
            "id": actor.id,
            "name": actor.manifest.name,
            "state": actor.state.value,
            "incarnation": actor.incarnation,
            "pid": actor.worker.pid if actor.worker is not None else None,
            "activity": case.doing.activity.value if case.absence is None else actor.state.value,
            "since_ns": case.since_ns,
            "call": {
                "interface": call.interface,
                "function": call.function,
                "entry": call.entry,
                "since_ns": call.since_ns,
                "sender": call.sender,
                "until_ns": case.call_until_ns,
            }
            if call is not None
            else None,
            "waits": _plain_wait(case.wait) if case.wait is not None else None,
            "path": [_plain_wait(wait) for wait in case.path],
            "circle": _plain_circle(case.circle) if case.circle is not None else None,
            "waiters": [_plain_wait(wait) for wait in case.waiters],
            "held_up": case.held_up,
            "mailbox": {
                "waiting": case.mailbox.waiting,
                "room": case.mailbox.room,
                "outside": case.mailbox.outside,
            },
            "bonds": self._registrar.bonds_of(actor.id),
            "attempt_ns": case.absence.until_ns if case.absence is not None else None,
            "sentences": why_words.sentences(case, now_ns, self.name),
            "advice": why_words.advice(case, self.name),
        }


class _Scene:
    """One moment of the server: records are read once, whoever is asked about."""

    def __init__(self, why: Why, actors: Sequence[Actor], asked_about: Actor | None = None) -> None:
        self._why = why
        why.count_names()
        self.now_ns = time.time_ns()
        self._looks: dict[str, _Look] = {}
        self._waits: dict[str, Wait] = {}
        self.looked_at = 0
        self._follow(asked_about)
        until = time.monotonic() + _BUDGET_S
        for actor in actors:
            if time.monotonic() > until:
                break
            self._take(actor)
            self.looked_at += 1
        self.waits = Waits(self._waits.values())
        for _ in range(_CONFIRMED):
            if self._are_real(self.waits.circles()):
                break
            self.waits = Waits(self._waits.values())

    def _follow(self, actor: Actor | None) -> None:
        """Takes in the one that is asked about, and all that it waits for one behind the other."""
        followed: set[str] = set()
        while actor is not None and actor.id not in followed:
            followed.add(actor.id)
            wait = self._take(actor)
            actor = self._why.actor(wait.on) if wait is not None and wait.on is not None else None

    def _take(self, actor: Actor) -> Wait | None:
        wait = self._wait(actor)
        if wait is not None:
            self._waits[actor.id] = wait
        return wait

    def _wait(self, actor: Actor) -> Wait | None:
        """What it waits for; no more for an actor that has answered, when the answer is on its way."""
        look = self.look(actor)
        wait = self._why.wait(actor, look)
        asks = look.doing.asks
        if wait is None or wait.kind is not WaitKind.REPLY or wait.on is None or asks is None:
            return wait
        asked = self._why.actor(wait.on)
        fate = self.look(asked).fate_of(asks.digest) if asked is not None else Fate.NOT_TAKEN
        if fate is Fate.ANSWERED:
            return replace(wait, on=None, words=f"{wait.words}, which is on its way", fate=fate)
        return replace(wait, fate=fate)

    def _are_real(self, circles: Sequence[Circle]) -> bool:
        """Records are read one after the other, so what looks like a circle may never have been one at any moment. It
        was if all its waits are still the same: then all of them were there in between."""
        found = True
        for wait in [wait for circle in circles for wait in circle.members]:
            actor = self._why.actor(wait.who)
            if actor is None:
                continue
            self._looks[wait.who] = self._why.look(actor)
            now = self._wait(actor)
            if now is None or (now.on, now.entry) != (wait.on, wait.entry):
                found = False
                self._waits.pop(wait.who, None)
                if now is not None:
                    self._waits[wait.who] = now
        return found

    def look(self, actor: Actor) -> _Look:
        if actor.id not in self._looks:
            self._looks[actor.id] = self._why.look(actor)
        return self._looks[actor.id]

    def case(self, actor: Actor) -> Case:
        why, waits, look = self._why, self.waits, self.look(actor)
        path = waits.path(actor.id)
        circle = waits.circle(actor.id)
        return Case(
            actor.id,
            why.name(actor.id),
            look.doing,
            since_ns=look.newest[-1].time_ns if look.newest and look.doing.call is None else None,
            wait=waits.of(actor.id),
            path=path,
            end=self._end(path) if circle is None else "",
            circle=circle,
            waiters=waits.waiters(actor.id),
            held_up=waits.held_up(actor.id),
            mailbox=why.mailbox(actor),
            absence=why.absence(actor, self.now_ns),
            call_until_ns=call_until(actor, look),
            process=_held(actor),
            poison=len(actor.poison),
            dead_letters=why.dead_letters(actor),
        )

    def _end(self, path: Sequence[Wait]) -> str:
        """What the one is doing on whom it all depends."""
        last = path[-1].on if path else None
        found = self._why.actor(last) if last is not None else None
        if found is None:
            return ""
        name, look = self._why.name(found.id), self.look(found)
        if (held := _held(found)) is not None:
            return f"the process of {name} {held}"
        if found.state is not State.RUNNING:
            return f"{name} is {found.state.value}"
        if look.doing.activity is Activity.IDLE:
            if path[-1].fate is Fate.PROMISED:
                return f"{name} is idle: it has taken the request and promised to answer later"
            return f"{name} is idle: what it is asked for has not reached it yet, or the answer is on its way"
        call = look.doing.call
        if call is None:
            return ""
        return f"{name} computes, in {why_words.label(call)} for {why_words.span(self.now_ns - call.since_ns)}"


def call_until(actor: Actor, look: _Look) -> int | None:
    """When the call timeout ends the running call."""
    timeout, call = actor.manifest.limits.call_timeout, look.doing.call
    return None if timeout is None or call is None or actor.worker is None else call.since_ns + timeout * 1_000_000


def _call_since(actor: Actor) -> int | None:
    worker = actor.worker
    return worker.pulse.call_since() if worker is not None and worker.pulse is not None else None


def _entry_at(path: Path, offset: int) -> Entry:
    with ChainFile.open(str(path)) as file:
        return record_at(file, offset).entry()


def _held(actor: Actor) -> str | None:
    """What keeps a living worker's process from running, if anything does."""
    if actor.worker is None or actor.worker.pid is None:
        return None
    try:
        state = Path(f"/proc/{actor.worker.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None
    return _HELD.get(state)


_HELD = {
    "T": "is stopped by a signal",
    "t": "is stopped by a debugger",
    "D": "is held by the kernel, which waits for a disk or another device",
    "Z": "has ended and is being taken leave of",
}


def _plain_wait(wait: Wait) -> dict[str, Any]:
    return {
        "who": wait.who,
        "kind": wait.kind.value,
        "for": wait.words,
        "on": wait.on,
        "entry": wait.entry,
        "since_ns": wait.since_ns,
        "until_ns": wait.until_ns,
        "fate": wait.fate.value if wait.fate is not None else None,
    }


def _plain_circle(circle: Circle) -> dict[str, Any]:
    breaker = circle.breaker
    return {
        "members": [_plain_wait(wait) for wait in circle.members],
        "until_ns": circle.until_ns,
        "broken_by": breaker.who if breaker is not None else None,
    }
