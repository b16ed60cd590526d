"""What a supervisor answers with: orders for the shell, answers for callers, notes for observers. Values only.

The shell carries commands out in the order in which they stand, and interprets none of them. What carrying one out
leads to (a nested supervisor that is up at once) is an event like any other, and waits until the rest are carried out.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias, TypeVar, dataclass_transform

from theater import errors
from theater.core.child_spec import ChildSpec, ChildType
from theater.core.exit_reason import ExitReason

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True)
def value(cls: type[_T]) -> type[_T]:
    """A dataclass that the type checker holds to be frozen.

    To enforce it at run time would make a command three times as dear, and making commands half of what an event costs.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


Token: TypeAlias = Hashable
"""Whatever the shell uses to find the caller again; opaque here."""


class ChildRef(NamedTuple):
    """One life of one child. Events about any other incarnation than the present one are recognised by it."""

    id: str
    incarnation: int


class Timer(NamedTuple):
    """Names a timer to the shell, which gives it back unchanged when the time has come.

    Args:
        child: whose patience, start or kill it bounds; None for the end of the supervisor itself.
        serial: tells it from all others of the supervisor.
    """

    child: ChildRef | None
    serial: int


# ---- orders


@value
class Start:
    """Start this incarnation; answer with `started`, `ignored` or `start_failed`.

    `start_failed` is a promise that nothing of the incarnation is left. If the spec has a deadline, a timer is set with
    the start, and a `Kill` follows when it is over.
    """

    child: ChildRef
    spec: ChildSpec


@value
class Shutdown:
    """Ask the child to end (a supervisor: its `stop`); answer with `exited` when it has. May meet a start under way."""

    child: ChildRef


@value
class Kill:
    """Kill the child (a supervisor: its `kill`); answer with `exited` when it is dead. May meet a start under way."""

    child: ChildRef


@value
class SetTimer:
    """Call `timer(timer, now)` once, at monotonic second `at` or soon after."""

    timer: Timer
    at: float


@value
class CancelTimer:
    """This timer is of no more interest (if it fires all the same it does no harm)."""

    timer: Timer


@value
class RetryLater:
    """Call `retry(child, now)` once, when this time is over; without delay, behind everything that waits already.

    One that has been overtaken (the child was terminated, or started by other means) does no harm when it comes.

    Args:
        child: the incarnation that failed.
        after: seconds; 0 but for a child with a back-off.
    """

    child: ChildRef
    after: float = 0.0


@value
class Up:
    """The initial start is complete. For a nested supervisor: report it `started` to the parent."""


@value
class Ended:
    """The supervisor has ended. Nothing follows but refusals, and the `exited` notes of what it abandoned.

    For a nested supervisor: report it to the parent as `exited`, or as `start_failed` if there was no `Up` before.

    Args:
        reason: why.
        abandoned: incarnations that were killed and are not dead yet; everything else is.
    """

    reason: ExitReason
    abandoned: tuple[ChildRef, ...] = ()


# ---- answers


class Refusal(StrEnum):
    """Why a call was refused: OTP's words (`dynamic` for its simple_one_for_one), and some that it has no use for."""

    ALREADY_STARTED = "already_started"
    ALREADY_PRESENT = "already_present"
    NOT_FOUND = "not_found"
    RUNNING = "running"
    RESTARTING = "restarting"
    START_FAILED = "start_failed"
    BAD_SPEC = "bad_spec"
    MAX_CHILDREN = "max_children"
    DYNAMIC = "dynamic"
    UNKILLABLE = "unkillable"
    DOWN = "down"


@value
class Accepted:
    """The call was carried out.

    Args:
        child: the incarnation that runs now, for a start; None if the start was ignored.
        info: what the start had to say beyond that.
    """

    child: ChildRef | None = None
    info: object = None


@value
class Refused:
    """The call was not carried out.

    Args:
        why: the case.
        id: the child it was about, if about one.
        child: the running incarnation, where one is in the way.
        reason: why the start failed, or the supervisor is down.
        fault: what is wrong with the spec.
    """

    why: Refusal
    id: str | None = None
    child: ChildRef | None = None
    reason: ExitReason | None = None
    fault: errors.SpecError | None = None

    def to_error(self) -> errors.TheaterError:
        """The refusal as an error for a user, with a sentence."""
        if self.fault is not None:
            return self.fault
        cls, sentence = _REFUSALS[self.why]
        because = self.reason.describe() if self.reason is not None else "for no known reason"
        return cls(sentence.format(id=self.id, because=because), why=self.why.value)


_REFUSALS: dict[Refusal, tuple[type[errors.TheaterError], str]] = {
    Refusal.ALREADY_STARTED: (errors.WrongState, "Child {id!r} is already running."),
    Refusal.ALREADY_PRESENT: (errors.WrongState, "Child {id!r} exists, but does not run; restart or delete it."),
    Refusal.NOT_FOUND: (errors.NotFound, "The supervisor has no child {id!r}."),
    Refusal.RUNNING: (errors.WrongState, "Child {id!r} is running; terminate it first."),
    Refusal.RESTARTING: (errors.WrongState, "Child {id!r} is being restarted; terminate it first."),
    Refusal.START_FAILED: (errors.StartFailed, "Child {id!r} did not start: it {because}."),
    Refusal.BAD_SPEC: (errors.SpecError, "The spec of child {id!r} is wrong."),
    Refusal.MAX_CHILDREN: (
        errors.LimitExceeded,
        "Child {id!r} would be one more than the supervisor may have (max_children, [limits] children).",
    ),
    Refusal.DYNAMIC: (
        errors.WrongState,
        "Child {id!r} can be neither restarted nor deleted: its supervisor is dynamic and keeps nothing of who ended.",
    ),
    Refusal.UNKILLABLE: (errors.TimedOut, "Child {id!r} was killed, but the kernel has not let it die yet."),
    Refusal.DOWN: (errors.LifecycleError, "The supervisor {because} and takes no more calls."),
}


@value
class ChildView:
    """A child as it stands.

    Args:
        spec: as it was given.
        state: its `Life` (`undefined`, `starting`, `overdue`, `running`, `stopping`, `killing`, `restarting`).
        child: the incarnation that has a process, or None.
        restarts: how often it was restarted automatically, with success.
        last_exit: how its last incarnation ended, or why it did not start.
    """

    spec: ChildSpec
    state: str
    child: ChildRef | None
    restarts: int
    last_exit: ExitReason | None

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def type(self) -> ChildType:
        return self.spec.type

    @property
    def modules(self) -> tuple[str, ...]:
        return self.spec.modules


@value
class ChildCounts:
    """How many children there are: all specs, the live ones, and the specs by type, alive or not."""

    specs: int
    active: int
    supervisors: int
    workers: int


Result: TypeAlias = Accepted | Refused | ChildView | tuple[ChildView, ...] | ChildCounts | ChildSpec


@value
class Answer:
    """The answer to the call that came with this token; each call gets exactly one."""

    token: Token
    result: Result


# ---- notes


class NoteKind(StrEnum):
    """What happened. `exited` and `unkillable` are ours, the others are OTP's reports."""

    PROGRESS = "progress"
    CHILD_TERMINATED = "child_terminated"
    START_ERROR = "start_error"
    SHUTDOWN_ERROR = "shutdown_error"
    GAVE_UP = "gave_up"
    EXITED = "exited"
    UNKILLABLE = "unkillable"


@value
class Note:
    """Something for the log and the record.

    * `progress`: a start succeeded; `commanded` if a caller asked for it rather than the supervisor's own rules.
    * `exited`: an incarnation ended that was up, or was stopped on its way up; once for each, as soon as it is known.
      A fact for the record, where the others are lines for the log.
    * `child_terminated`: a child ended that should not have (any end of a permanent one, abnormal ones of others).
    * `start_error`: a start failed, the initial one or a restart; failures of a caller's start go to the caller alone.
    * `shutdown_error`: a child that was stopped ended with another reason than it should have.
    * `gave_up`: one restart too many; `child` and `reason` are the last offender's. Follows its `child_terminated`.
    * `unkillable`: a child was killed and did not die within the limit.

    Args:
        kind: which of these.
        child: the incarnation.
        spec: its spec.
        reason: of the end or the failure, where there is one.
        commanded: whether somebody asked for it: a caller, or the supervisor by stopping the child.
    """

    kind: NoteKind
    child: ChildRef
    spec: ChildSpec
    reason: ExitReason | None = None
    commanded: bool = False


Command: TypeAlias = Start | Shutdown | Kill | SetTimer | CancelTimer | RetryLater | Up | Ended | Answer | Note
