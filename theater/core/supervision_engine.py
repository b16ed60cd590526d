"""What every supervisor is made of, whatever its rules: children, a plan, a mailbox, and what it says.

OTP's supervisor is a process that does one thing at a time and lets everything else wait in its mailbox. The same
three parts are here:

* the *plan*: the stops and starts that are under way, one after another. Nothing else is done while a child is awaited;
* the *mailbox*: exits of other children, retries and calls, in order of arrival, each handled when the plan before it
  is done. Once the supervisor is ending nothing is put there any more;
* the *children* in start order, each with a spec and a `Life`.

What a stop, a start, a restart or a call is, is said in the layers above, one file each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeAlias

from theater.core.child_spec import ChildSpec, Strategy, SupervisorFlags
from theater.core.exit_reason import ExitReason
from theater.core.intensity import RestartIntensity
from theater.core.supervision_commands import (
    Answer,
    CancelTimer,
    ChildRef,
    ChildView,
    Command,
    Note,
    NoteKind,
    Refusal,
    Refused,
    Result,
    SetTimer,
    Timer,
    Token,
)


class Phase(StrEnum):
    """Where a supervisor is in its own life."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class Life(StrEnum):
    """Where a child is. Between plans only `undefined`, `running` and `restarting` are to be seen, as in OTP."""

    UNDEFINED = "undefined"
    STARTING = "starting"
    OVERDUE = "overdue"  # its start took too long: it was killed, and has failed when it is dead
    RUNNING = "running"
    STOPPING = "stopping"
    KILLING = "killing"
    RESTARTING = "restarting"


# In Python 3.11 looking a member up in its enum takes longer than most of what is done with it here.
UNDEFINED, STARTING, OVERDUE, RUNNING, STOPPING, KILLING, RESTARTING = Life
_NEW: Final = Phase.NEW
_WORDS: Final[dict[Life, str]] = {life: life.value for life in Life}


class Event(StrEnum):
    """What can be heard of a child."""

    STARTED = "started"
    IGNORED = "ignored"
    START_FAILED = "start_failed"
    EXITED = "exited"
    TIMER = "timer"


class News(NamedTuple):
    """What an event brings along."""

    reason: ExitReason | None = None
    info: object = None

    @property
    def why(self) -> ExitReason:
        """The reason, of an event that has one."""
        assert self.reason is not None, "exits and failed starts come with a reason"
        return self.reason


@dataclass(slots=True, eq=False)
class Child:
    """One spec and what became of it.

    Args:
        exit: arrived, but not handled yet: the process is gone, the mail is waiting.
        restarts: automatic ones, with success.
        failures: in a row, for the length of the next pause.
        up_since: when the present incarnation came up.
        rests_until: when there may be a restart, should the present incarnation end.
    """

    spec: ChildSpec
    ref: ChildRef
    life: Life = UNDEFINED
    exit: ExitReason | None = None
    timer: Timer | None = None
    restarts: int = 0
    failures: int = 0
    up_since: float = 0.0
    rests_until: float = 0.0
    last_exit: ExitReason | None = None

    def view(self) -> ChildView:
        """As others see it."""
        ref = None if self.life in (UNDEFINED, RESTARTING) else self.ref
        return ChildView(self.spec, _WORDS[self.life], ref, self.restarts, self.last_exit)


Caller: TypeAlias = tuple[Token]
"""Who waits for an answer; any token is one, None too."""


Step: TypeAlias = tuple[Callable[[Child], None], str]
"""What to do, and with which child, if there still is one of this id."""


@dataclass(slots=True, eq=False)
class Plan:
    """Stops and starts in order.

    Args:
        steps: those that are still to be done.
        done: called when no step is left.
        failed: called when a start has failed; a plan without starts needs none.
        caller: who waits for the answer, if a call made the plan.
        restarts: whether its starts are the supervisor's own answer to an end.
    """

    steps: deque[Step]
    done: Callable[[], None]
    failed: Callable[[Child, ExitReason], None] | None = None
    caller: Caller | None = None
    restarts: bool = False


Mail: TypeAlias = tuple[Callable[..., None], tuple[Any, ...], Caller | None]
"""What to call when its turn comes, and who waits for the answer, if somebody does."""


class Engine:
    """Plan, mailbox and children, and the loop that goes on until something outside has to happen."""

    def __init__(
        self,
        flags: SupervisorFlags,
        specs: tuple[ChildSpec, ...],
        incarnations: MutableMapping[str, int],
        kill_limit: float,
        chance: Callable[[], float],
    ) -> None:
        self._flags = flags
        self._is_dynamic = flags.strategy is Strategy.DYNAMIC
        self._incarnations = incarnations
        self._children = {spec.id: self._new_child(spec) for spec in specs}
        self._kill_limit = kill_limit
        self._chance = chance
        self._intensity = RestartIntensity(flags.intensity, flags.period)
        self._phase = Phase.NEW
        self._ending: ExitReason | None = None
        self._end_timer: Timer | None = None
        self._plan: Plan | None = None
        self._awaited: set[str] = set()
        self._mailbox: deque[Mail] = deque()
        self._unreaped: dict[ChildRef, ChildSpec] = {}
        self._timers = 0
        self._now = 0.0
        self._out: list[Command] = []

    # ---- the loop

    def _settle(self) -> list[Command]:
        """Go on until something outside has to happen."""
        while not self._awaited and self._phase is not _NEW:
            if self._plan is not None:
                self._advance(self._plan)
            elif self._mailbox:
                handle, arguments, _ = self._mailbox.popleft()
                handle(*arguments)
            else:
                break
        out, self._out = self._out, []
        return out

    def _advance(self, plan: Plan) -> None:
        if not plan.steps:
            self._plan = None
            plan.done()
            return
        step, id = plan.steps.popleft()
        child = self._children.get(id)
        if child is not None:
            step(child)

    def _post(self, handle: Callable[..., None], arguments: tuple[Any, ...], caller: Caller | None = None) -> None:
        if self._ending is None:
            self._mailbox.append((handle, arguments, caller))

    def _call(self, token: Token, now: float, handle: Callable[..., None], *arguments: Any) -> list[Command]:
        self._now = now
        caller = (token,)
        if self._ending is None:
            self._post(handle, (caller, *arguments), caller)
        else:
            self._answer(caller, self._down())
        return self._settle()

    # ---- what it says

    def _emit(self, command: Command) -> None:
        self._out.append(command)

    def _note(self, kind: NoteKind, child: Child, reason: ExitReason | None = None, *, commanded: bool = False) -> None:
        self._out.append(Note(kind, child.ref, child.spec, reason, commanded))

    def _answer(self, caller: Caller | None, result: Result) -> None:
        if caller is not None:
            self._out.append(Answer(caller[0], result))

    def _down(self) -> Refused:
        return Refused(Refusal.DOWN, reason=self._ending)

    # ---- timers

    def _new_timer(self, ref: ChildRef | None, seconds: float) -> Timer:
        self._timers += 1
        timer = Timer(ref, self._timers)
        self._emit(SetTimer(timer, self._now + seconds))
        return timer

    def _set_timer(self, child: Child, seconds: float) -> None:
        """The child's one timer; what the last one was for is over."""
        self._cancel_timer(child)
        child.timer = self._new_timer(child.ref, seconds)

    def _cancel_timer(self, child: Child) -> None:
        if child.timer is not None:
            self._emit(CancelTimer(child.timer))
            child.timer = None

    # ---- children and their incarnations

    def _new_child(self, spec: ChildSpec) -> Child:
        return Child(spec, ChildRef(spec.id, self._incarnations.get(spec.id, 0)))

    def _next_incarnation(self, id: str) -> ChildRef:
        number = self._incarnations[id] = self._incarnations.get(id, 0) + 1
        return ChildRef(id, number)

    def _lived_elsewhere(self, id: str, last_incarnation: int) -> None:
        """The higher number holds."""
        self._incarnations[id] = max(last_incarnation, self._incarnations.get(id, 0))

    def _leftover(self, id: str) -> ChildRef | None:
        """An incarnation that was killed and is not dead yet."""
        return next((ref for ref in self._unreaped if ref.id == id), None) if self._unreaped else None

    def _plan_under_way(self) -> Plan:
        assert self._plan is not None, "a child starts only as a step of a plan"
        return self._plan
