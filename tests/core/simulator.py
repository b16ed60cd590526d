"""A world without processes for the supervision machine: virtual time, a nature drawn from a seed, an unbribable clerk.

`World` is the shell in memory. It carries out commands on processes that exist only as entries of a dictionary, and
feeds back what their `Nature` makes of them. Nested supervisors live in the same world. `Script` is a nature that
does as a test says; `Chaos` draws starts, deaths, slow stops and calls from a seed: same seed, same history.

`Ledger` watches one supervisor from outside. It sees the events and the commands and nothing of the machine, keeps its
own books on who lives, who was asked to end, who is owed a restart and how many restarts were attempted when, and
raises `Broken` at the first command that OTP would not have given.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import floor
from typing import Any, Protocol

from theater.core.child_spec import AutoShutdown, ChildSpec, ChildType, Restart, ShutdownRule, Strategy, SupervisorFlags
from theater.core.exit_reason import ExitKind, ExitReason
from theater.core.supervision import Supervisor
from theater.core.supervision_commands import (
    Accepted,
    Answer,
    CancelTimer,
    ChildRef,
    Command,
    Ended,
    Kill,
    Note,
    NoteKind,
    Refusal,
    Refused,
    Result,
    RetryLater,
    SetTimer,
    Shutdown,
    Start,
    Timer,
    Up,
)

CRASH = ExitReason.trap("unreachable", "wasm `unreachable` instruction executed")


class Broken(AssertionError):
    """The machine gave a command, or failed to give one, against the specification."""


@dataclass(frozen=True)
class Tree:
    """What the spec of a nested supervisor starts."""

    flags: SupervisorFlags
    specs: tuple[ChildSpec, ...]


@dataclass(frozen=True)
class Fate:
    """What becomes of something, and after how many seconds. `what` is a reason, "started" or "ignored"."""

    after: float
    what: Any
    info: object = None


class Nature(Protocol):
    """How processes behave."""

    def on_start(self, child: ChildRef) -> Fate | None:
        """`started`, `ignored`, or the reason of a failure; None: the start hangs."""

    def on_up(self, child: ChildRef) -> Fate | None:
        """The reason for which it dies by itself; None: it lives."""

    def on_shutdown(self, child: ChildRef) -> Fate | None:
        """The reason with which it obeys; None: it does not."""

    def on_kill(self, child: ChildRef) -> Fate | None:
        """When SIGKILL takes effect; None: it does not."""


class Script:
    """A nature that obeys at once, except where a test says otherwise: by child id, one fate after the other.

    A list that is used up leaves obedience.
    """

    def __init__(self) -> None:
        self.starts: dict[str, list[Fate | None]] = {}
        self.shutdowns: dict[str, list[Fate | None]] = {}
        self.kills: dict[str, list[Fate | None]] = {}
        self.never_starts: dict[str, ExitReason] = {}

    def on_start(self, child: ChildRef) -> Fate | None:
        if child.id in self.never_starts:
            return Fate(0, self.never_starts[child.id])
        return self._next(self.starts, child, Fate(0, "started"))

    def on_up(self, child: ChildRef) -> Fate | None:
        return None

    def on_shutdown(self, child: ChildRef) -> Fate | None:
        return self._next(self.shutdowns, child, Fate(0, ExitReason.shutdown()))

    def on_kill(self, child: ChildRef) -> Fate | None:
        return self._next(self.kills, child, Fate(0, ExitReason.by_signal(9)))

    @staticmethod
    def _next(fates: dict[str, list[Fate | None]], child: ChildRef, obedience: Fate) -> Fate | None:
        waiting = fates.get(child.id)
        return waiting.pop(0) if waiting else obedience


@dataclass(eq=False)
class Node:
    """One supervisor in the world, and what it has begun."""

    supervisor: Supervisor
    path: str
    ledger: Ledger
    parent: Node | None = None
    ref: ChildRef | None = None
    processes: dict[ChildRef, Node | None] = field(default_factory=dict)
    timers: set[Timer] = field(default_factory=set)
    came_up: bool = False
    ended: Ended | None = None


class World:
    """The shell of a tree of supervisors in which time passes only from one event to the next.

    Args:
        root: the supervisor to run; nested ones are made as `Supervisor`.
        nature: how processes behave.
        ledger: the clerk of the root; nested supervisors get their own.
        record: whether to keep the history as text.
    """

    def __init__(self, root: Supervisor, nature: Nature, ledger: Ledger, *, record: bool = True) -> None:
        self.nature = nature
        self.now = 0.0
        self.events = 0
        self.history: list[str] = []
        self.answers: dict[Any, Result] = {}
        self.notes: list[Note] = []
        self._record = record
        self._seen = 0
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = 0
        self._orders: deque[tuple[Node, Command]] = deque()
        self.root = Node(root, "", ledger)

    # ---- time

    def after(self, seconds: float, act: Callable[..., None], *arguments: Any) -> None:
        """Put something on the agenda; what falls on the same instant happens in the order in which it was put."""
        self._serial += 1
        heapq.heappush(self._agenda, (self.now + seconds, self._serial, act, arguments))

    def step(self) -> bool:
        """Let the next thing happen; False if nothing is left to happen."""
        if not self._agenda:
            return False
        self.now, _, act, arguments = heapq.heappop(self._agenda)
        act(*arguments)
        return True

    def run(self, until: float = float("inf")) -> World:
        """Let everything happen that is due by then."""
        while self._agenda and self._agenda[0][0] <= until:
            self.step()
        if until != float("inf"):
            self.now = max(self.now, until)
        return self

    # ---- what a test, or a seed, can do

    def boot(self) -> World:
        """Start the root and let it come up."""
        self.feed(self.root, "start", self.root.supervisor.start(self.now))
        return self.run(self.now)

    def die(self, id: str, reason: ExitReason = CRASH, node: Node | None = None) -> World:
        """The running incarnation of this child ends by itself, now."""
        self.drop(id, reason, node)
        return self.run(self.now)

    def drop(self, id: str, reason: ExitReason = CRASH, node: Node | None = None) -> None:
        """As `die`, but nothing else happens yet."""
        node = node or self.root
        self._end_process(node, self.running(id, node), reason)

    def call(self, token: object, name: str, *arguments: Any) -> World:
        """Call the root supervisor's API."""
        self.ask(token, name, *arguments)
        return self.run(self.now)

    def ask(self, token: object, name: str, *arguments: Any, node: Node | None = None) -> None:
        """As `call`, but nothing else happens yet."""
        node = node or self.root
        node.ledger.asked_by(token, name, arguments)
        method = getattr(node.supervisor, name)
        self.feed(node, f"{name} {token}", method(token, *arguments, now=self.now))

    def stop(self, reason: ExitReason | None = None) -> World:
        """The root's parent says stop."""
        self.root.ledger.told_to_end("stop")
        self.feed(self.root, "stop", self.root.supervisor.stop(self.now, reason))
        return self.run(self.now)

    def kill(self) -> World:
        """The root's parent kills it."""
        self.root.ledger.told_to_end("kill")
        self.feed(self.root, "kill", self.root.supervisor.kill(self.now))
        return self.run(self.now)

    def running(self, id: str, node: Node | None = None) -> ChildRef:
        """The incarnation of this child that has a process."""
        return next(ref for ref in (node or self.root).processes if ref.id == id)

    def child(self, *path: str) -> Node:
        """A nested supervisor."""
        node = self.root
        for id in path:
            nested = node.processes[self.running(id, node)]
            assert nested is not None
            node = nested
        return node

    @property
    def script(self) -> Script:
        """The nature, where it is one that does as a test says."""
        assert isinstance(self.nature, Script)
        return self.nature

    def orders(self) -> list[str]:
        """The starts and stops that were ordered since this was last asked, in brief."""
        fresh, self._seen = self.history[self._seen :], len(self.history)
        commands = (line.partition("> ")[2] for line in fresh)
        return [command for command in commands if command.startswith(("start ", "shutdown ", "kill ", "up", "ended"))]

    def reports(self) -> list[str]:
        """What an observer was told since this was last asked, but for mere facts (`exited`)."""
        fresh, self.notes = self.notes, []
        return [f"{note.kind.value} {note.child.id}" for note in fresh if note.kind is not NoteKind.EXITED]

    @property
    def lives(self) -> dict[str, int]:
        """The root's children that have a process, with their incarnations."""
        return {ref.id: ref.incarnation for ref in self.root.processes}

    def states(self) -> dict[str, str]:
        """The root's children and their states, in start order."""
        return {view.id: view.state for view in self.root.supervisor.snapshot()}

    # ---- the shell

    def feed(self, node: Node, event: str, commands: list[Command]) -> None:
        """Carry out what the machine answered to an event, and what follows from that, in order."""
        self.events += 1
        if self._record:
            self.history.append(f"{self.now:.3f} {node.path}< {event}")
        node.ledger.observe(self.now, commands)
        self._orders.extend((node, command) for command in commands)
        if len(self._orders) == len(commands):  # not already carrying out
            while self._orders:
                self._carry_out(*self._orders[0])
                self._orders.popleft()

    def _carry_out(self, node: Node, command: Command) -> None:
        if self._record:
            self.history.append(f"{self.now:.3f} {node.path}> {brief(command)}")
        _CARRY_OUT[type(command)](self, node, command)

    def _start(self, node: Node, command: Start) -> None:
        child, start = command.child, command.spec.start
        if isinstance(start, Tree):
            nested = Node(
                Supervisor(start.flags, start.specs),
                f"{node.path}{child.id}/",
                Ledger(start.flags, start.specs),
                node,
                child,
            )
            node.processes[child] = nested
            self.feed(nested, "start", nested.supervisor.start(self.now))
            return
        node.processes[child] = None
        fate = self.nature.on_start(child)
        if fate is not None:
            self.after(fate.after, self._start_ends, node, child, fate)

    def _start_ends(self, node: Node, child: ChildRef, fate: Fate) -> None:
        if child not in node.processes:
            return
        if fate.what == "started":
            node.ledger.came_up(child)
            self.feed(node, f"started {name(child)}", node.supervisor.started(child, self.now, fate.info))
            death = self.nature.on_up(child)
            if death is not None:
                self.after(death.after, self._end_process, node, child, death.what)
            return
        del node.processes[child]
        node.ledger.did_not_come_up(child)
        if fate.what == "ignored":
            self.feed(node, f"ignored {name(child)}", node.supervisor.ignored(child, self.now))
        else:
            commands = node.supervisor.start_failed(child, fate.what, self.now)
            self.feed(node, f"start_failed {name(child)}", commands)

    def _end_process(self, node: Node, child: ChildRef, reason: ExitReason) -> None:
        if child in node.processes:
            del node.processes[child]
            node.ledger.died(child, reason)
            self.report_exit(node, child, reason)

    def report_exit(self, node: Node, child: ChildRef, reason: ExitReason) -> None:
        """Tell a supervisor of an exit, true or not."""
        event = f"exited {name(child)} {reason.kind.value}"
        self.feed(node, event, node.supervisor.exited(child, reason, self.now))

    def _shutdown(self, node: Node, command: Shutdown) -> None:
        nested = node.processes.get(command.child)
        if nested is not None:
            nested.ledger.told_to_end("stop")
            self.feed(nested, "stop", nested.supervisor.stop(self.now))
            return
        self._obey(node, command.child, self.nature.on_shutdown(command.child))

    def _kill(self, node: Node, command: Kill) -> None:
        nested = node.processes.get(command.child)
        if nested is not None:
            nested.ledger.told_to_end("kill")
            self.feed(nested, "kill", nested.supervisor.kill(self.now))
            return
        self._obey(node, command.child, self.nature.on_kill(command.child))

    def _obey(self, node: Node, child: ChildRef, fate: Fate | None) -> None:
        if fate is not None:
            self.after(fate.after, self._end_process, node, child, fate.what)

    def _set_timer(self, node: Node, command: SetTimer) -> None:
        node.timers.add(command.timer)
        self.after(command.at - self.now, self._fire, node, command.timer)

    def _fire(self, node: Node, timer: Timer) -> None:
        if timer in node.timers:
            node.timers.remove(timer)
            node.ledger.fired(timer)
            self.feed(node, f"timer {name(timer.child)}", node.supervisor.timer(timer, self.now))

    def _cancel_timer(self, node: Node, command: CancelTimer) -> None:
        node.timers.discard(command.timer)

    def _retry_later(self, node: Node, command: RetryLater) -> None:
        self.after(0, self._retry, node, command.child)

    def _retry(self, node: Node, child: ChildRef) -> None:
        self.feed(node, f"retry {name(child)}", node.supervisor.retry(child, self.now))

    def _up(self, node: Node, command: Up) -> None:
        node.came_up = True
        if node.parent is not None and node.ref is not None:
            node.parent.ledger.came_up(node.ref)
            self.feed(node.parent, f"started {name(node.ref)}", node.parent.supervisor.started(node.ref, self.now))

    def _ended(self, node: Node, command: Ended) -> None:
        node.ended = command
        if node.parent is None or node.ref is None:
            return
        del node.parent.processes[node.ref]
        if node.came_up:
            node.parent.ledger.died(node.ref, command.reason)
            self.report_exit(node.parent, node.ref, command.reason)
        else:
            node.parent.ledger.did_not_come_up(node.ref)
            commands = node.parent.supervisor.start_failed(node.ref, command.reason, self.now)
            self.feed(node.parent, f"start_failed {name(node.ref)}", commands)

    def _take_answer(self, node: Node, command: Answer) -> None:
        self.answers[command.token] = command.result

    def _take_note(self, node: Node, command: Note) -> None:
        if self._record:
            self.notes.append(command)


_CARRY_OUT: dict[type, Callable[[World, Node, Any], None]] = {
    Start: World._start,
    Shutdown: World._shutdown,
    Kill: World._kill,
    SetTimer: World._set_timer,
    CancelTimer: World._cancel_timer,
    RetryLater: World._retry_later,
    Up: World._up,
    Ended: World._ended,
    Answer: World._take_answer,
    Note: World._take_note,
}


def name(child: ChildRef) -> str:
    """Short: id and incarnation."""
    return f"{child.id}{child.incarnation}"


def brief(command: Command) -> str:
    """A command in a few words."""
    match command:
        case Start(child) | Shutdown(child) | Kill(child) | RetryLater(child):
            return f"{_WORDS[type(command)]} {name(child)}"
        case SetTimer(timer, at):
            return f"set timer {name(timer.child)} {at:.3f}"
        case CancelTimer(timer):
            return f"cancel timer {name(timer.child)}"
        case Note(kind, child, _, _, commanded):
            return f"note {kind.value} {name(child)}{' commanded' if commanded else ''}"
        case Answer(token, result):
            return f"answer {token} {result.why.value if isinstance(result, Refused) else type(result).__name__}"
        case Ended(reason):
            return f"ended {reason.kind.value}"
        case Up():
            return "up"


_WORDS: dict[type, str] = {Start: "start", Shutdown: "shutdown", Kill: "kill", RetryLater: "retry later"}


def stage(*specs: ChildSpec, kill_limit: float = 10.0, **flags: Any) -> World:
    """A world with one supervisor of these children, not yet started, whose processes do as a script says."""
    chosen = SupervisorFlags(**{"intensity": 3, **flags})
    return World(Supervisor(chosen, specs, kill_limit=kill_limit), Script(), Ledger(chosen, specs))


def children(ids: str, **fields: Any) -> tuple[ChildSpec, ...]:
    """Specs that differ in nothing but their ids, one letter each."""
    return tuple(ChildSpec(id, f"start {id}", **fields) for id in ids)


# ---- the clerk


def demands_restart(restart: Restart, reason: ExitReason) -> bool:
    """The table of 1.4, written a second time on purpose."""
    if restart is Restart.PERMANENT:
        return True
    ordinary = (ExitKind.NORMAL, ExitKind.SHUTDOWN, ExitKind.GAVE_UP)
    return restart is Restart.TRANSIENT and reason.kind not in ordinary


NO_PASS = 1 << 30
"""No pass of a mass restart is under way: whatever the position of the next automatic start, it begins a new one."""


class Ledger:
    """The books on one supervisor, kept from outside.

    The world reports facts (`came_up`, `died`, …) just before it feeds the event, and then the commands that the
    machine answered. Nothing here looks into the machine.
    """

    def __init__(self, flags: SupervisorFlags, specs: tuple[ChildSpec, ...]) -> None:
        self.flags = flags
        self.mass = flags.strategy is not Strategy.ONE_FOR_ONE
        self.spec: dict[str, ChildSpec] = {spec.id: spec for spec in specs}
        self.position: dict[str, int] = {spec.id: number for number, spec in enumerate(specs)}
        self.alive: dict[ChildRef, bool] = {}  # to whether it is up
        self.asked: dict[ChildRef, float] = {}  # to when
        self.lost: set[ChildRef] = set()  # killed, and called unkillable
        self.timers: set[Timer] = set()
        self.waiting: deque[tuple[Any, str, tuple[Any, ...]]] = deque()
        self.owed: set[str] = set()
        self.attempts: list[int] = []
        self.booted = False
        self.ending: str | None = None
        self.ended = False
        self.last_gone: tuple[ChildSpec, ExitReason] | None = None
        self._highest: dict[str, int] = {}
        self._pending: tuple[ChildRef, int, bool] | None = None  # a start, its second, and whether newer ones live
        self._resolved: str | None = None
        self._last_position = NO_PASS
        self._admitted: int | None = None  # the second of the restart that is under way, before its first start
        self._cut_short: ChildRef | None = None
        self._now = 0.0
        self._additions = len(specs)

    # ---- facts, from the world

    def asked_by(self, token: object, call: str, arguments: tuple[Any, ...]) -> None:
        self.waiting.append((token, call, arguments))

    def told_to_end(self, how: str) -> None:
        if self.ending is None or how == "kill":
            self.ending = how
            self._cut_short = self._pending[0] if self._pending is not None else None

    def came_up(self, child: ChildRef) -> None:
        self.alive[child] = True
        self._resolved = "started"

    def did_not_come_up(self, child: ChildRef) -> None:
        self.alive.pop(child)
        self.asked.pop(child, None)
        self._resolved = "not started"

    def died(self, child: ChildRef, reason: ExitReason) -> None:
        was_up = self.alive.pop(child)
        self.lost.discard(child)
        if child in self.asked:
            del self.asked[child]
        elif not was_up:
            self._resolved = "not started"
        else:
            self._died_by_itself(child, reason)

    def _died_by_itself(self, child: ChildRef, reason: ExitReason) -> None:
        spec = self.spec[child.id]
        if demands_restart(spec.restart, reason):
            self.owed.add(child.id)
        elif spec.significant:
            self.last_gone = (spec, reason)

    def fired(self, timer: Timer) -> None:
        self.timers.discard(timer)

    # ---- commands, from the machine

    def observe(self, now: float, commands: list[Command]) -> None:
        self._now = now
        if self._resolved is not None:
            self._classify_start(commands)
        for command in commands:
            if self.ended and not self._may_follow_the_end(command):
                raise Broken(f"a command after the end: {command}")
            check = _CHECKS.get(type(command))
            if check is not None:
                check(self, command)
        if self._cut_short in self.alive and self._cut_short not in self.asked:
            raise Broken(f"the supervisor ends, but waits for {self._cut_short} to start")

    def _may_follow_the_end(self, command: Command) -> bool:
        return type(command) is Answer or (type(command) is Note and command.kind is NoteKind.EXITED)

    def _classify_start(self, commands: list[Command]) -> None:
        """Who wanted the start that has just been resolved: a caller, if his answer comes along; else the machine."""
        self._resolved = None
        if self._pending is None:
            return
        (child, second, newer_lived), self._pending = self._pending, None
        if self.ending is not None or self._answers_a_start(child, commands):
            return
        if not self.booted:
            return
        self._judge_automatic_start(child, second, newer_lived)
        if any(type(c) is Note and c.kind is NoteKind.START_ERROR and c.child == child for c in commands):
            self.owed.add(child.id)
            self._last_position = NO_PASS
            return

    def _answers_a_start(self, child: ChildRef, commands: list[Command]) -> bool:
        if not self.waiting or self.waiting[0][1] not in ("start_child", "restart_child"):
            return False
        first = next((c for c in commands if type(c) is Answer), None)
        if first is None or first.token != self.waiting[0][0]:
            return False
        result = first.result
        if type(result) is Accepted:
            return result.child in (child, None) and self._subject(self.waiting[0]) == child.id
        return type(result) is Refused and result.why is Refusal.START_FAILED and result.id == child.id

    @staticmethod
    def _subject(call: tuple[Any, str, tuple[Any, ...]]) -> str:
        argument = call[2][0] if call[2] else ""
        return argument.id if isinstance(argument, ChildSpec) else str(argument)

    def _judge_automatic_start(self, child: ChildRef, second: int, newer_lived: bool) -> None:
        if self.spec[child.id].restart is Restart.TEMPORARY:
            raise Broken(f"{child}, which is temporary, was restarted")
        if self.mass and newer_lived:
            raise Broken(f"{child} was restarted while a newer child was alive")
        self._belongs_to_pass(child, second)

    def _belongs_to_pass(self, child: ChildRef, second: int) -> None:
        """A start belongs to the pass before it if that is not over and its child is newer; else it begins one."""
        position = self.position[child.id]
        if not self.mass or position <= self._last_position:
            self._count_attempt(second)
        self._last_position = position

    def _count_attempt(self, second: int) -> None:
        self._admitted = None
        self.attempts.append(second)
        if self._in_window(second) > self.flags.intensity:
            raise Broken(f"more than {self.flags.intensity} restarts in {self.flags.period} s: {self.attempts}")

    def _in_window(self, second: int) -> int:
        return sum(attempt >= second - self.flags.period for attempt in self.attempts[-self.flags.intensity - 1 :])

    def _on_start(self, command: Start) -> None:
        child = command.child
        if self.ending is not None:
            raise Broken(f"{child} was started although the supervisor is ending")
        if any(other.id == child.id for other in self.alive):
            raise Broken(f"two incarnations of {child.id}")
        if child.incarnation <= self._highest.get(child.id, 0):
            raise Broken(f"{child} is no fresh incarnation")
        if self._pending is not None:
            raise Broken(f"{child} was started before the start of {self._pending[0]} was done")
        if not self.asked.keys() <= self.lost:
            raise Broken(f"{child} was started while {self.asked.keys() - self.lost} were being stopped")
        self._highest[child.id] = child.incarnation
        self._enter(command)
        position = self.position[child.id]
        newer_lived = any(self.position[other.id] > position for other in self.alive if other not in self.lost)
        if not self.booted and newer_lived:
            raise Broken(f"{child} was not started in order")
        if not self.mass and self.booted and child.id not in self.owed and not self._a_caller_wants(child.id):
            raise Broken(f"{child} was started although nothing demanded it")
        self.owed.discard(child.id)
        self._pending = (child, self._second_of_admission(), newer_lived)
        self.alive[child] = False

    def _enter(self, command: Start) -> None:
        spec = command.spec
        if self.spec.get(spec.id) is not spec:
            self.spec[spec.id] = spec
            self.position[spec.id] = self._additions
            self._additions += 1

    def _a_caller_wants(self, id: str) -> bool:
        if not self.waiting:
            return False
        call = self.waiting[0]
        return call[1] in ("start_child", "restart_child") and self._subject(call) == id

    def _on_stop(self, command: Shutdown | Kill) -> None:
        child = command.child
        if child not in self.alive:
            raise Broken(f"{child} was asked to end, but is not alive")
        if child in self.asked:
            if type(command) is Shutdown:
                raise Broken(f"{child} was asked to end twice")
            self._judge_patience(child)
            return
        if type(command) is Kill and self.ending != "kill":
            rule = self.spec[child.id].shutdown
            if rule is not ShutdownRule.BRUTAL_KILL:
                raise Broken(f"{child} was killed without having been asked")
        if self.ending is None and self._admitted is None:
            self._admitted = floor(self._now)
        if self.ending != "kill" and child != self._cut_short:
            self._judge_stop(child)
        self.asked[child] = self._now
        if self.ending is None and not self._a_caller_terminates(child.id):
            self._stopped_with_others(child.id)

    def _stopped_with_others(self, id: str) -> None:
        """In a mass restart: it is to come back, unless it is temporary."""
        if self.spec[id].restart is not Restart.TEMPORARY:
            self.owed.add(id)

    def _judge_patience(self, child: ChildRef) -> None:
        rule = self.spec[child.id].shutdown
        waited = self._now - self.asked[child]
        if self.ending != "kill" and (isinstance(rule, ShutdownRule) or abs(waited - rule / 1000) > 1e-6):
            raise Broken(f"{child} was killed after {waited} s, its rule is {rule}")

    def _judge_stop(self, child: ChildRef) -> None:
        others = self.asked.keys() - self.lost
        if others:
            raise Broken(f"{child} was stopped while {others} were being stopped")
        if self._a_caller_terminates(child.id):
            return
        position = self.position[child.id]
        for other in self.alive:
            if other not in self.lost and other != child and self.position[other.id] > position:
                raise Broken(f"{child} was stopped before {other}, which is newer")

    def _a_caller_terminates(self, id: str) -> bool:
        return bool(self.waiting) and self.waiting[0][1:] == ("terminate_child", (id,))

    def _on_timer(self, command: SetTimer) -> None:
        self.timers.add(command.timer)

    def _on_cancel(self, command: CancelTimer) -> None:
        self.timers.discard(command.timer)

    def _on_answer(self, command: Answer) -> None:
        if not self.waiting:
            raise Broken(f"an answer to nobody: {command}")
        call = self.waiting.popleft()
        self._admitted = None
        if call[0] != command.token:
            raise Broken(f"{command} was given before the answer to {call}")
        if type(command.result) is Accepted:
            self._accepted(call, command.result)
        self._last_position = NO_PASS

    def _accepted(self, call: tuple[Any, str, tuple[Any, ...]], result: Accepted) -> None:
        id = self._subject(call)
        if call[1] == "terminate_child":
            if any(child.id == id for child in self.alive):
                raise Broken(f"{id} is said to be terminated, but is alive")
            self._cancel_debts(id)
        elif call[1] == "delete_child":
            if any(child.id == id for child in self.alive if child not in self.lost):
                raise Broken(f"{id} was deleted, but is alive")
            self.spec.pop(id, None)
            self.owed.discard(id)  # it waited behind somebody else's retry

    def _cancel_debts(self, id: str) -> None:
        """A cancelled retry of a mass restart leaves those it would have restarted where they are (1.7)."""
        if self.mass:
            self.owed.clear()
        self.owed.discard(id)

    def _on_note(self, command: Note) -> None:
        if command.kind is NoteKind.CHILD_TERMINATED:
            self._last_position = NO_PASS
            self._admitted = None if command.spec.restart is Restart.TEMPORARY else floor(self._now)
        elif command.kind is NoteKind.UNKILLABLE:
            self.lost.add(command.child)
        elif command.kind is NoteKind.START_ERROR and command.child.incarnation == self._highest.get(command.child.id):
            self._blocked_start(command.child)
        elif command.kind is NoteKind.GAVE_UP:
            self._on_gave_up()

    def _blocked_start(self, child: ChildRef) -> None:
        """A start that was not even tried, since the last incarnation is not dead yet, is an attempt all the same."""
        if child in self.lost and self.booted:
            self._belongs_to_pass(child, self._second_of_admission())
            self._last_position = NO_PASS
            self.owed.add(child.id)

    def _second_of_admission(self) -> int:
        """A restart counts when it is decided: at the report of the death, or else at the first stop or start."""
        return floor(self._now) if self._admitted is None else self._admitted

    def _on_gave_up(self) -> None:
        if self._in_window(floor(self._now)) < self.flags.intensity:
            raise Broken(f"gave up at {self._now} after too few restarts: {self.attempts}")
        self.ending = self.ending or "gave up"

    def _on_up(self, command: Up) -> None:
        if self.booted:
            raise Broken("up twice")
        self.booted = True
        self._last_position = NO_PASS

    def _on_ended(self, command: Ended) -> None:
        self.ended = True
        left = set(self.alive)
        if left != set(command.abandoned) or not left <= self.lost:
            raise Broken(f"{left} are left, {command.abandoned} were named")
        if self.timers:
            raise Broken(f"timers are left: {self.timers}")
        if self.waiting:
            raise Broken(f"callers are left: {self.waiting}")
        if self.ending is None and command.reason.kind is ExitKind.SHUTDOWN:
            self._judge_auto_shutdown()

    def _judge_auto_shutdown(self) -> None:
        if self.flags.auto_shutdown is AutoShutdown.NEVER or self.last_gone is None:
            raise Broken("it shut itself down without a reason")

    # ---- at rest

    def settle_accounts(self) -> None:
        """Nothing is going on any more: everything owed has been paid.

        Raises:
            Broken: a demanded start, or an answer, is still outstanding.
        """
        if self.waiting:
            raise Broken(f"callers wait, but nothing is going on: {self.waiting}")
        if self.ended:
            return
        if not self.asked.keys() <= self.lost or self._pending is not None:
            raise Broken(f"nothing is going on, but {self.asked}, {self._pending} are not done")
        if self.ending is not None:
            raise Broken("nothing is going on, but it has not ended")
        owed = self.owed - {child.id for child in self.lost}
        if owed:
            raise Broken(f"{owed} should have been restarted")


_CHECKS: dict[type, Callable[[Ledger, Any], None]] = {
    Start: Ledger._on_start,
    Shutdown: Ledger._on_stop,
    Kill: Ledger._on_stop,
    SetTimer: Ledger._on_timer,
    CancelTimer: Ledger._on_cancel,
    Answer: Ledger._on_answer,
    Note: Ledger._on_note,
    Up: Ledger._on_up,
    Ended: Ledger._on_ended,
}


# ---- a nature drawn from a seed

IDS = "abcdefgh"
REASONS = (
    ExitReason.normal(),
    ExitReason.shutdown(),
    ExitReason.shutdown("done"),
    ExitReason.by_signal(15),
    ExitReason.by_signal(9),
    ExitReason.by_status(0),
    ExitReason.by_status(3),
    ExitReason.error("boom"),
    ExitReason.out_of_memory(),
    CRASH,
)


class Chaos:
    """Starts that fail or take long, deaths at any moment, children that will not go: all from one generator."""

    def __init__(self, rng: random.Random, waits_for_ever: Callable[[str], bool]) -> None:
        self.rng = rng
        self.waits_for_ever = waits_for_ever  # the supervisor, for this child: then it had better come
        self.calm = False
        self.will = rng.choice((0.0, 0.02, 0.1, 0.4))  # how much goes wrong
        self.lifetime = rng.choice((0.2, 2.0, 20.0))

    def on_start(self, child: ChildRef) -> Fate:
        draw = self.rng.random()
        delay = draw * 0.01 if draw < 0.9 else draw * 2
        if draw < self.will and not self.calm:
            return Fate(delay, self.rng.choice(("ignored", CRASH, ExitReason.deadline())))
        return Fate(delay, "started")

    def on_up(self, child: ChildRef) -> Fate | None:
        if self.calm:
            return None
        return Fate(self.rng.expovariate(1 / self.lifetime), self.rng.choice(REASONS))

    def on_shutdown(self, child: ChildRef) -> Fate | None:
        draw = self.rng.random()
        if draw < self.will:
            disobeys = draw < self.will / 3 and not self.waits_for_ever(child.id)
            return None if disobeys else Fate(self.rng.random() * 12, self.rng.choice(REASONS))
        return Fate(draw * 0.05, REASONS[1])

    def on_kill(self, child: ChildRef) -> Fate:
        draw = self.rng.random()
        return Fate(self.rng.random() * 40 if draw < self.will / 4 else draw * 0.01, ExitReason.by_signal(9))


STATIC = (Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)


def draw_flags(rng: random.Random) -> SupervisorFlags:
    return SupervisorFlags(
        rng.choice(STATIC),
        rng.choice((0, 1, 3, 10, 100)),
        rng.choice((1, 2, 5)),
        rng.choice((AutoShutdown.NEVER, AutoShutdown.NEVER, *AutoShutdown)),
    )


def draw_spec(rng: random.Random, id: str, flags: SupervisorFlags) -> ChildSpec:
    restart = rng.choice(tuple(Restart))
    may_count = restart is not Restart.PERMANENT and flags.auto_shutdown is not AutoShutdown.NEVER
    return ChildSpec(
        id,
        f"start {id}",
        restart,
        may_count and rng.random() < 0.3,
        ChildType.WORKER,
        rng.choice((0, 10, 100, 5000, ShutdownRule.BRUTAL_KILL, ShutdownRule.INFINITY)),
    )


class Life:
    """One whole life of one supervisor under `Chaos`.

    Args:
        seed: of everything.
        supervisor: the machine under test.
        events: how many events to feed before calm is restored and the supervisor is stopped.
        record: whether to keep the history.
    """

    def __init__(
        self, seed: int, supervisor: type[Supervisor] = Supervisor, *, events: int = 400, record: bool = False
    ) -> None:
        self.rng = random.Random(seed)
        self.flags = draw_flags(self.rng)
        specs = tuple(draw_spec(self.rng, id, self.flags) for id in IDS[: self.rng.randrange(7)])
        self.ledger = Ledger(self.flags, specs)
        self.chaos = Chaos(self.rng, lambda id: self.ledger.spec[id].shutdown is ShutdownRule.INFINITY)
        self.world = World(supervisor(self.flags, specs), self.chaos, self.ledger, record=record)
        self.budget = events
        self.tokens = iter(range(1 << 60))
        self.pause = self.rng.choice((0.01, 0.3, 3.0))

    def run(self) -> World:
        """Live, settle, stop.

        Raises:
            Broken: the machine broke a rule.
        """
        self.world.boot()
        self._disturb()
        while self.world.events < self.budget and not self.ledger.ended and self.world.step():
            pass
        self._calm_down()
        return self.world

    def _calm_down(self) -> None:
        self.chaos.calm = True
        self._run_out()
        self.ledger.settle_accounts()
        if not self.ledger.ended:
            self.world.stop()
            self._run_out()
            self.ledger.settle_accounts()
        self.world.ask(next(self.tokens), "which_children")
        self.ledger.settle_accounts()

    def _run_out(self) -> None:
        for _ in range(10_000):
            if not self.world.step():
                return
        raise Broken("it does not come to rest")

    def _disturb(self) -> None:
        """Something from outside, and again after a while."""
        if self.chaos.calm or self.ledger.ended:
            return
        _pick(self.rng, _DISTURBANCES)(self)
        self.world.after(self.rng.expovariate(1 / self.pause), self._disturb)

    def _start_child(self) -> None:
        spec = draw_spec(self.rng, self.rng.choice(IDS), self.flags)
        self.world.ask(next(self.tokens), "start_child", spec)

    def _call_by_id(self, call: str) -> None:
        self.world.ask(next(self.tokens), call, self.rng.choice(IDS))

    def _call(self, call: str) -> None:
        self.world.ask(next(self.tokens), call)

    def _stale_exit(self) -> None:
        """An exit is reported of an incarnation that is long gone, or of a stranger."""
        id = self.rng.choice(IDS)
        past = self.ledger._highest.get(id, 0) - self.rng.randrange(1, 3)
        child = ChildRef(id, past)
        if child not in self.ledger.alive:
            self.world.report_exit(self.world.root, child, CRASH)

    def _stale_news(self) -> None:
        child = ChildRef(self.rng.choice(IDS), 0)
        self.world.feed(self.world.root, "stale", self.world.root.supervisor.started(child, self.world.now))

    def _stop(self) -> None:
        if self.rng.random() < 0.03:
            self.world.stop()

    def _kill(self) -> None:
        if self.rng.random() < 0.03:
            self.world.kill()


def _pick(rng: random.Random, weighted: tuple[Callable[[Life], None], ...]) -> Callable[[Life], None]:
    return weighted[int(rng.random() * len(weighted))]


_DISTURBANCES: tuple[Callable[[Life], None], ...] = (
    Life._start_child,
    Life._start_child,
    Life._start_child,
    Life._start_child,
    lambda life: life._call_by_id("terminate_child"),
    lambda life: life._call_by_id("terminate_child"),
    lambda life: life._call_by_id("restart_child"),
    lambda life: life._call_by_id("restart_child"),
    lambda life: life._call_by_id("delete_child"),
    lambda life: life._call_by_id("get_childspec"),
    lambda life: life._call("which_children"),
    lambda life: life._call("count_children"),
    Life._stale_exit,
    Life._stale_exit,
    Life._stale_news,
    Life._stop,
    Life._kill,
)


def lives(seeds: range, supervisor: type[Supervisor] = Supervisor) -> Iterator[int]:
    """Run one life for each seed; yields the events that each took.

    Raises:
        Broken: with the seed in its text.
    """
    for seed in seeds:
        try:
            yield Life(seed, supervisor).run().events
        except Broken as broken:
            raise Broken(f"seed {seed}: {broken}") from broken
