"""Supervisors at work: each a pure machine (core/supervision.py), whose commands are carried out here.

A child is an actor, whose life the stage plays, or a further supervisor. Nothing here decides: a machine is told
what happened and answers with commands. What a command leads to comes back through the loop, never from within
it, so that commands are carried out in the order in which they were given.

An actor that is started by itself gets a supervisor of its own, with the intensity of its manifest: one that
gives up takes nobody with it. A tree file makes supervisors with several children, the topmost being `root`. And an
actor that has children of its own is their supervisor (families.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from theater.core.child_spec import ChildSpec, ShutdownRule, Strategy, SupervisorFlags
from theater.core.exit_reason import ExitKind, ExitReason
from theater.core.supervision import (
    Answer,
    CancelTimer,
    ChildRef,
    Command,
    Ended,
    Kill,
    Life,
    Note,
    Phase,
    Result,
    RetryLater,
    SetTimer,
    Shutdown,
    Start,
    Supervisor,
    Timer,
    Up,
)
from theater.server.loop import Alarm, Loop


@dataclass(frozen=True, slots=True)
class Bough:
    """A supervisor as it is wished: what stands as `start` in the spec of a child that is a supervisor."""

    name: str
    flags: SupervisorFlags
    children: tuple[ChildSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Twig:
    """An actor as it is wished: what stands as `start` in the spec of a child that is an actor.

    Args:
        actor: its id.
        patience: of an actor that has children: how long its own process has to end once they have; ms, or a rule.
    """

    actor: str
    patience: int | ShutdownRule | None = None


class Troupe(Protocol):
    """Who plays the lives of actors (theater/server/stage.py). Results come through the loop."""

    def begin(self, twig: Twig, incarnation: int, branch: Branch, child: ChildRef) -> None:
        """Starts an incarnation; ends in `branch.started`, or `branch.start_failed`, or `branch.exited`."""

    def expect(self, actors: Iterable[str]) -> None:
        """These are about to begin, one after the other."""

    def ask_to_end(self, actor: str, *, comes_back: bool) -> None:
        """Ends an incarnation; `comes_back` says that this is done only to start the next one."""

    def kill(self, actor: str) -> None: ...

    def last_incarnation(self, actor: str) -> int:
        """Number of the child's last life, so that numbers go on over a restart of the server; also of supervisors."""

    def supervisor_begins(self, branch: Branch) -> None:
        """The supervisor begins to start its children."""

    def stays_down(self, actor: str) -> None:
        """The child has ended, and its supervisor does not start it again; it may be no actor but a supervisor."""

    def pauses(self, child: ChildRef, seconds: float) -> None:
        """The child will be started again, but not at once."""

    def note(self, branch: Branch, note: Note) -> None:
        """Something for the record."""

    def gave_up(self, branch: Branch) -> None:
        """The supervisor has ended by its own decision."""


@dataclass(slots=True, eq=False)
class Branch:
    """A supervisor that lives.

    Args:
        wish: what it was made from.
        parent: the branch it is a child of and as which child; None at the top.
        incarnation: which of its lives this is.
        fallen: children that have ended and of which the machine has not decided yet whether they come back.
        when_ended: what else is to be done when it has ended.
        offence: the restart that was one too many, in words.
    """

    wish: Bough
    loop: Loop
    troupe: Troupe
    parent: tuple[Branch, ChildRef] | None = None
    on_up: Callable[[], None] | None = None
    on_ended: Callable[[Ended], None] | None = None
    incarnation: int = 1
    machine: Supervisor = field(init=False)
    branches: dict[str, Branch] = field(default_factory=dict)
    alarms: dict[Timer, Alarm] = field(default_factory=dict)
    fallen: set[str] = field(default_factory=set)
    when_ended: list[Callable[[], None]] = field(default_factory=list)
    offence: str | None = None
    is_up: bool = False
    ended: Ended | None = None

    def __post_init__(self) -> None:
        lives = {spec.id: self.troupe.last_incarnation(spec.id) for spec in self.wish.children}
        self.machine = Supervisor(self.wish.flags, self.wish.children, last_incarnations=lives, chance=random.random)

    @property
    def name(self) -> str:
        return self.wish.name

    @property
    def may_return(self) -> bool:
        """Whether a supervisor above has still to decide if this one is started again."""
        branch = self
        while branch.parent is not None:
            branch = branch.parent[0]
            if branch.machine.phase is Phase.RUNNING:
                return True
        return False

    def spec(self, child: str) -> ChildSpec | None:
        """How a child is wished; None if nobody wished it from the beginning."""
        return next((spec for spec in self.wish.children if spec.id == child), None)

    # ---- what happens

    def start(self) -> None:
        self.troupe.supervisor_begins(self)
        self._feed(lambda now: self.machine.start(now))

    def stop(self, reason: ExitReason | None = None) -> None:
        self._feed(lambda now: self.machine.stop(now, reason))

    def kill(self) -> None:
        self._feed(lambda now: self.machine.kill(now))

    def started(self, child: ChildRef) -> None:
        self._feed(lambda now: self.machine.started(child, now))

    def start_failed(self, child: ChildRef, reason: ExitReason) -> None:
        self._feed(lambda now: self.machine.start_failed(child, reason, now))

    def rests(self, child: ChildRef, until: float) -> None:
        self._feed(lambda now: self.machine.rests(child, until, now))

    def exited(self, child: ChildRef, reason: ExitReason) -> None:
        def event(now: float) -> Sequence[Command]:
            self.fallen.add(child.id)  # Not before: what happens until then would find it running.
            commands = self.machine.exited(child, reason, now)
            others_end = any(isinstance(command, Shutdown | Kill) for command in commands)
            if others_end and self.machine.phase is Phase.RUNNING:
                self.troupe.expect(self._fall_with(child.id))
            return commands

        self._feed(event)

    def _fall_with(self, child: str) -> list[str]:
        """The actors that the death of `child` concerns, which come back together."""
        views = self.machine.snapshot()
        if self.wish.flags.strategy is Strategy.REST_FOR_ONE:
            place = next((number for number, view in enumerate(views) if view.id == child), len(views))
            views = views[place:]
        return [view.id for view in views if view.id not in self.branches]

    def call(self, operation: str, answer: Callable[[Result], None], *arguments: Any, **more: Any) -> None:
        """Asks the machine, by the name of one of its calls; `answer` is called from the loop, exactly once."""
        method = getattr(self.machine, operation)
        self._feed(lambda now: method(answer, *arguments, now=now, **more))

    # ---- what is done about it

    def _feed(self, event: Callable[[float], Sequence[Command]]) -> None:
        """Tells the machine, in the loop's next turn, and carries out what it answers."""

        def happen() -> None:
            for command in event(self.loop.now()):
                _CARRY_OUT[type(command)](self, command)
            self._lay_to_rest()

        self.loop.soon(happen)

    def _lay_to_rest(self) -> None:
        """Of the children that have ended, those stay down which the machine does not hold when it is done.

        A restart of several that has failed at one of them is not done: its next attempt starts them all.
        """
        if not self.fallen or self.machine.busy or self.machine.phase is not Phase.RUNNING:
            return
        views = self.machine.snapshot()
        concerns_others = self.wish.flags.strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)
        if concerns_others and any(view.state == Life.RESTARTING for view in views):
            return
        held = {view.id for view in views if view.state != Life.UNDEFINED}
        down, self.fallen = self.fallen - held, set()
        for actor in down:
            self.troupe.stays_down(actor)

    def _start(self, command: Start) -> None:
        wish = command.spec.start
        if isinstance(wish, Twig):
            self.troupe.begin(wish, command.child.incarnation, self, command.child)
            return
        assert isinstance(wish, Bough)
        branch = Branch(wish, self.loop, self.troupe, (self, command.child), incarnation=command.child.incarnation)
        self.branches[command.child.id] = branch
        branch.start()

    def _shutdown(self, command: Shutdown) -> None:
        branch = self.branches.get(command.child.id)
        if branch is not None:
            branch.stop()
        else:
            # A supervisor whose end is on its way to the machine is no actor, and the troupe knows none by its name.
            self.troupe.ask_to_end(command.child.id, comes_back=self._brings_back(command.child.id))

    def _brings_back(self, child: str) -> bool:
        """Whether a child that is stopped is to be started again: by this supervisor, or with it by the one above."""
        if self.machine.phase is Phase.RUNNING:
            return self.machine.brings_back(child)
        return self.parent is not None and self.parent[0]._brings_back(self.parent[1].id)

    def _kill(self, command: Kill) -> None:
        branch = self.branches.get(command.child.id)
        if branch is not None:
            branch.kill()
        else:
            self.troupe.kill(command.child.id)

    def _set_timer(self, command: SetTimer) -> None:
        timer = command.timer
        self.alarms[timer] = self.loop.at(command.at, lambda: self._ring(timer))

    def _ring(self, timer: Timer) -> None:
        if self.alarms.pop(timer, None) is not None:
            self._feed(lambda now: self.machine.timer(timer, now))

    def _cancel_timer(self, command: CancelTimer) -> None:
        alarm = self.alarms.pop(command.timer, None)
        if alarm is not None:
            alarm.cancel()

    def _retry_later(self, command: RetryLater) -> None:
        if command.after > 0:
            self.troupe.pauses(command.child, command.after)
            self.loop.after(command.after, lambda: self._retry(command.child))
        else:
            self._retry(command.child)

    def _retry(self, child: ChildRef) -> None:
        self._feed(lambda now: self.machine.retry(child, now))

    def _up(self, command: Up) -> None:
        self.is_up = True
        if self.parent is not None:
            self.parent[0].started(self.parent[1])
        if self.on_up is not None:
            self.on_up()

    def _ended(self, command: Ended) -> None:
        if command.reason.kind is ExitKind.GAVE_UP:
            command = replace(command, reason=ExitReason.gave_up(self.offence))
        self.ended = command
        self.troupe.gave_up(self)
        if self.parent is not None:
            above, child = self.parent
            above.branches.pop(child.id, None)
            if self.is_up:
                above.exited(child, command.reason)
            else:
                above.start_failed(child, command.reason)
        if self.on_ended is not None:
            self.on_ended(command)
        for action in self.when_ended:
            action()

    def _answer(self, command: Answer) -> None:
        token = command.token
        assert callable(token)
        token(command.result)

    def _note(self, command: Note) -> None:
        self.troupe.note(self, command)


_CARRY_OUT: Mapping[type, Callable[[Branch, Any], None]] = {
    Start: Branch._start,
    Shutdown: Branch._shutdown,
    Kill: Branch._kill,
    SetTimer: Branch._set_timer,
    CancelTimer: Branch._cancel_timer,
    RetryLater: Branch._retry_later,
    Up: Branch._up,
    Ended: Branch._ended,
    Answer: Branch._answer,
    Note: Branch._note,
}
