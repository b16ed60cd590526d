"""A world without processes for the supervision machine: the shell in memory, in which time is a number.

It carries out commands on processes that exist only as entries of a dictionary, and feeds back what their `Nature`
makes of them. Nested supervisors live in the same world. A clerk (supervised_clerk.py) watches each. `Script` is a
nature that does as a test says; simulator.py has one that is drawn from a seed.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from supervised_clerk import Ledger

from theater.core.child_spec import ChildSpec, SupervisorFlags
from theater.core.exit_reason import ExitReason
from theater.core.supervision import Supervisor
from theater.core.supervision_commands import (
    Answer,
    CancelTimer,
    ChildRef,
    Command,
    Ended,
    Kill,
    Note,
    NoteKind,
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


@dataclass(frozen=True)
class Tree:
    """What the spec of a nested supervisor starts."""

    flags: SupervisorFlags
    specs: tuple[ChildSpec, ...]


class Fate(NamedTuple):
    """What becomes of something, and after how many seconds.

    `what` is a reason; of a start also "started", "ignored", or "lost": it succeeds, but nobody hears of it, and `info`
    is the fate of what came up.
    """

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
        self._orders: deque[tuple[Node, list[Command]]] = deque()
        self._is_carrying_out = False
        self.root = Node(root, "", ledger)

    # ---- time

    def after(self, seconds: float, act: Callable[..., None], *arguments: Any) -> None:
        """Put something on the agenda; what falls on the same instant happens in the order in which it was put."""
        self._serial += 1
        heapq.heappush(self._agenda, (self.now + seconds, self._serial, act, arguments))

    @property
    def next_at(self) -> float:
        """When the next thing is due."""
        return self._agenda[0][0] if self._agenda else float("inf")

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

    def rest(self, id: str, until: float, child: ChildRef | None = None) -> World:
        """The running incarnation of this child, or another one, is said to rest until then when it has died."""
        node = self.root
        child = child or self.running(id, node)
        node.ledger.rests_if_it_dies(child, until)
        self.feed(node, "rests", node.supervisor.rests(child, until, self.now), child)
        return self

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
        self.feed(node, name, method(token, *arguments, self.now))

    def stop(self, reason: ExitReason | None = None) -> World:
        """The root's parent says stop."""
        self.root.ledger.told_to_end("stop", self.now)
        self.feed(self.root, "stop", self.root.supervisor.stop(self.now, reason))
        return self.run(self.now)

    def kill(self) -> World:
        """The root's parent kills it."""
        self.root.ledger.told_to_end("kill", self.now)
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

    @property
    def digest(self) -> str:
        """Of the whole history."""
        return hashlib.sha256("\n".join(self.history).encode()).hexdigest()

    # ---- the shell

    def feed(self, node: Node, event: str, commands: list[Command], child: ChildRef | None = None) -> None:
        """Carry out what the machine answered to an event, and what follows from that, in order."""
        self.events += 1
        if self._record:
            self._record_event(node, event, child)
        node.ledger.observe(self.now, commands)
        if not commands:
            return
        if self._is_carrying_out:
            self._orders.append((node, commands))
            return
        self._is_carrying_out = True
        self._carry_out(node, commands)
        while self._orders:
            self._carry_out(*self._orders.popleft())
        self._is_carrying_out = False

    def _carry_out(self, node: Node, commands: list[Command]) -> None:
        if self._record:
            self.history += [f"{self.now:.3f} {node.path}> {brief(command)}" for command in commands]
        for command in commands:
            _CARRY_OUT[type(command)](self, node, command)

    def _record_event(self, node: Node, event: str, child: ChildRef | None) -> None:
        whose = "" if child is None else f" {name(child)}"
        self.history.append(f"{self.now:.3f} {node.path}< {event}{whose}")

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
            self.feed(node, "started", node.supervisor.started(child, self.now, fate.info), child)
            self._befalls(node, child, self.nature.on_up(child))
        elif fate.what == "lost":
            self._befalls(node, child, fate.info)
        elif fate.what == "ignored":
            self._does_not_start(node, child)
            self.feed(node, "ignored", node.supervisor.ignored(child, self.now), child)
        else:
            self._does_not_start(node, child)
            self.feed(node, "start_failed", node.supervisor.start_failed(child, fate.what, self.now), child)

    def _does_not_start(self, node: Node, child: ChildRef) -> None:
        del node.processes[child]
        node.ledger.did_not_come_up(child)

    def _befalls(self, node: Node, child: ChildRef, fate: Fate | None) -> None:
        if fate is not None:
            self.after(fate.after, self._end_process, node, child, fate.what)

    def _end_process(self, node: Node, child: ChildRef, reason: ExitReason) -> None:
        if child in node.processes:
            del node.processes[child]
            node.ledger.died(child, reason, self.now)
            self.report_exit(node, child, reason)

    def report_exit(self, node: Node, child: ChildRef, reason: ExitReason) -> None:
        """Tell a supervisor of an exit, true or not."""
        self.feed(node, reason.kind, node.supervisor.exited(child, reason, self.now), child)

    def _shutdown(self, node: Node, command: Shutdown) -> None:
        nested = node.processes.get(command.child)
        if nested is not None:
            nested.ledger.told_to_end("stop", self.now)
            self.feed(nested, "stop", nested.supervisor.stop(self.now))
            return
        self._befalls(node, command.child, self.nature.on_shutdown(command.child))

    def _kill(self, node: Node, command: Kill) -> None:
        nested = node.processes.get(command.child)
        if nested is not None:
            nested.ledger.told_to_end("kill", self.now)
            self.feed(nested, "kill", nested.supervisor.kill(self.now))
            return
        self._befalls(node, command.child, self.nature.on_kill(command.child))

    def _set_timer(self, node: Node, command: SetTimer) -> None:
        node.timers.add(command.timer)
        self.after(command.at - self.now, self._fire, node, command.timer)

    def _fire(self, node: Node, timer: Timer) -> None:
        if timer in node.timers:
            node.timers.remove(timer)
            node.ledger.fired(timer)
            self.feed(node, "timer", node.supervisor.timer(timer, self.now), timer.child)

    def _cancel_timer(self, node: Node, command: CancelTimer) -> None:
        node.timers.discard(command.timer)

    def _retry_later(self, node: Node, command: RetryLater) -> None:
        self.after(command.after, self._retry, node, command.child)

    def _retry(self, node: Node, child: ChildRef) -> None:
        node.ledger.retried(child, self.now)
        self.feed(node, "retry", node.supervisor.retry(child, self.now), child)

    def _up(self, node: Node, command: Up) -> None:
        node.came_up = True
        if node.parent is not None and node.ref is not None:
            node.parent.ledger.came_up(node.ref)
            self.feed(node.parent, "started", node.parent.supervisor.started(node.ref, self.now), node.ref)

    def _ended(self, node: Node, command: Ended) -> None:
        node.ended = command
        if node.parent is None or node.ref is None:
            return
        if node.came_up:
            self._end_process(node.parent, node.ref, command.reason)
            return
        self._does_not_start(node.parent, node.ref)
        commands = node.parent.supervisor.start_failed(node.ref, command.reason, self.now)
        self.feed(node.parent, "start_failed", commands, node.ref)

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
        case Start(child) | Shutdown(child) | Kill(child):
            return f"{_WORDS[type(command)]} {name(child)}"
        case RetryLater(child, after):
            return f"retry {name(child)} after {after:.3f}"
        case SetTimer(timer, at):
            return f"set timer {timer.serial} {at:.3f}"
        case CancelTimer(timer):
            return f"cancel timer {timer.serial}"
        case Note(kind, child, _, _, commanded):
            return f"note {kind.value} {name(child)}{' commanded' if commanded else ''}"
        case Answer(token, result):
            return f"answer {token} {result.why.value if isinstance(result, Refused) else type(result).__name__}"
        case Ended(reason):
            return f"ended {reason.kind.value}"
        case Up():
            return "up"


_WORDS: dict[type, str] = {Start: "start", Shutdown: "shutdown", Kill: "kill"}


def stage(*specs: ChildSpec, kill_limit: float = 10.0, chance: float = 0.5, **flags: Any) -> World:
    """A world with one supervisor of these children, not yet started, whose processes do as a script says."""
    chosen = SupervisorFlags(**{"intensity": 3, **flags})
    supervisor = Supervisor(chosen, specs, kill_limit=kill_limit, chance=lambda: chance)
    return World(supervisor, Script(), Ledger(chosen, specs, kill_limit=kill_limit))


def children(ids: str, **fields: Any) -> tuple[ChildSpec, ...]:
    """Specs that differ in nothing but their ids, one letter each."""
    return tuple(ChildSpec(id, f"start {id}", **fields) for id in ids)
