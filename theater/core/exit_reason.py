"""Why an incarnation ended: one frozen value, whoever observed the end and however it came.

The supervisor asks it a single question, `is_normal`, on which every restart decision rests; everything else in
it is for people and for the record. The value knows nothing of processes: the server translates a wait status and
a worker's final word into one of these, the machine in `supervision` adds what only it knows (that it had asked).

What an operating-system process can do and an Erlang process cannot is decided here:

* Death by SIGTERM is `shutdown`. A process that does not handle an exit signal `shutdown` dies of it with that
  reason, whoever sent it; SIGTERM is the same wish on this system.
* Exit status 0 *without* a final word is abnormal (`status`, 0). A worker that ends in order always says so first;
  one that did not was ended by something below it (a library that called exit), in the middle of who knows what.
* A supervisor that used up its intensity ends with `gave_up`, which counts as the bare `shutdown` everywhere: a
  transient or temporary supervisor that gave up is not started again, only a permanent one is.

Wire form: a map of exactly `reason`, `detail`, `signal`, `status`, `commanded`; the same five names stand in
`inspect --json` under `last_exit`. `reason` is a value of `ExitKind`; `detail` a text or null; `signal` and `status`
integers or null; `commanded` a boolean. The detail of a trap is `kind: message` and then one line per frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from theater.errors import WireError

SIGKILL: Final = 9
SIGTERM: Final = 15

DETAIL_LIMIT: Final = 16_384
"""Characters of `detail` that are kept; a guest chooses its messages, and a crash loop must not fill the disk."""

_LINKED: Final = "linked to "


class ExitKind(StrEnum):
    """How an incarnation ended; the values are the `reason` of the wire form."""

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    TRAP = "trap"
    ERROR = "error"
    SIGNAL = "signal"
    STATUS = "status"
    OUT_OF_MEMORY = "out_of_memory"
    DEADLINE = "deadline"
    START_FAILED = "start_failed"
    GAVE_UP = "gave_up"
    KILLED = "killed"
    NO_PROCESS = "no_process"


_NORMAL: Final = frozenset({ExitKind.NORMAL, ExitKind.SHUTDOWN, ExitKind.GAVE_UP})


@dataclass(frozen=True, slots=True)
class ExitReason:
    """Why an incarnation ended. Build it with the class methods below, which name the cases.

    Args:
        kind: how it ended.
        detail: text for people; cut to `DETAIL_LIMIT` characters.
        signal: number of the signal that killed the process, if one did.
        status: exit status of the process, where it is all that is known.
        commanded: the supervisor had asked for this end; set by the supervisor, not by the observer.
    """

    kind: ExitKind
    detail: str | None = None
    signal: int | None = None
    status: int | None = None
    commanded: bool = False

    def __post_init__(self) -> None:
        if self.detail is not None and len(self.detail) > DETAIL_LIMIT:
            object.__setattr__(self, "detail", self.detail[: DETAIL_LIMIT - 1] + "…")

    # ---- the cases

    @classmethod
    def normal(cls) -> Self:
        """It returned, and said so."""
        return cls(ExitKind.NORMAL)

    @classmethod
    def shutdown(cls, term: str | None = None) -> Self:
        """It ended because it was asked to, or chose to end in order; `term` is its own word on it."""
        return cls(ExitKind.SHUTDOWN, term)

    @classmethod
    def trap(cls, kind: str, message: str, backtrace: str = "") -> Self:
        """The guest trapped.

        Args:
            kind: the class of trap, one word of ours (`unreachable`, `out_of_bounds`).
            message: what the engine said; line breaks become spaces, so that the first line of the detail is whole.
            backtrace: one line per wasm frame.
        """
        headline = f"{kind}: {' '.join(message.split())}"
        return cls(ExitKind.TRAP, f"{headline}\n{backtrace}" if backtrace else headline)

    @classmethod
    def error(cls, text: str) -> Self:
        """The worker failed outside of the guest's code, and said how."""
        return cls(ExitKind.ERROR, text)

    @classmethod
    def by_signal(cls, number: int) -> Self:
        """A signal killed the process; SIGTERM is an orderly `shutdown`."""
        return cls(ExitKind.SHUTDOWN if number == SIGTERM else ExitKind.SIGNAL, signal=number)

    @classmethod
    def by_status(cls, number: int) -> Self:
        """The process exited with this status and without a final word; abnormal even for 0."""
        return cls(ExitKind.STATUS, status=number)

    @classmethod
    def out_of_memory(cls, detail: str | None = None, *, signal: int | None = None) -> Self:
        """It wanted more memory than it was given, or the kernel took it for want of memory."""
        return cls(ExitKind.OUT_OF_MEMORY, detail, signal=signal)

    @classmethod
    def deadline(cls, detail: str | None = None, *, signal: int | None = None) -> Self:
        """A call, or its start, took longer than allowed."""
        return cls(ExitKind.DEADLINE, detail, signal=signal)

    @classmethod
    def start_failed(cls, child: str, cause: ExitReason) -> Self:
        """A supervisor did not come up, because this child of it did not."""
        return cls(ExitKind.START_FAILED, f"child {child!r} did not start: {cause.describe()}")

    @classmethod
    def gave_up(cls, detail: str | None = None) -> Self:
        """A supervisor used up its restart intensity."""
        return cls(ExitKind.GAVE_UP, detail)

    @classmethod
    def killed(cls) -> Self:
        """Its supervisor killed it: brutally, or because it did not end in time."""
        return cls(ExitKind.KILLED, signal=SIGKILL, commanded=True)

    @classmethod
    def no_process(cls) -> Self:
        """There is no such actor, and nothing is known of one: what a monitor of nobody is told (OTP: `noproc`)."""
        return cls(ExitKind.NO_PROCESS)

    @classmethod
    def linked(cls, other: str, cause: ExitReason) -> Self:
        """It was linked to `other`, whose end was its own: of the same kind, but nobody had asked for it."""
        detail = f"{_LINKED}{other}, which {cause.describe()}"
        if cause.trap_kind is not None:
            detail = f"{cause.trap_kind}: {detail}"
        return cls(cause.kind, detail, cause.signal, cause.status)

    # ---- questions

    @property
    def is_normal(self) -> bool:
        """Whether a transient child that ended so stays ended (OTP: `normal`, `shutdown`, `{shutdown, Term}`)."""
        return self.kind in _NORMAL

    @property
    def is_bare_shutdown(self) -> bool:
        """Whether this is `shutdown` without a term, the one answer a permanent child may give to being stopped."""
        return (self.kind is ExitKind.SHUTDOWN and self.detail is None) or self.kind is ExitKind.GAVE_UP

    @property
    def is_kill(self) -> bool:
        """Whether SIGKILL ended it, whoever sent that (OTP: `killed`)."""
        return self.kind is ExitKind.KILLED or (self.kind is ExitKind.SIGNAL and self.signal == SIGKILL)

    @property
    def trap_kind(self) -> str | None:
        """The class of trap, for a trap."""
        return None if self.kind is not ExitKind.TRAP else (self.detail or "").partition(":")[0]

    @property
    def backtrace(self) -> str:
        """The wasm frames of a trap, one a line; empty for everything else."""
        return "" if self.kind is not ExitKind.TRAP else (self.detail or "").partition("\n")[2]

    def as_commanded(self) -> ExitReason:
        """The same end, known to have been asked for."""
        return self if self.commanded else replace(self, commanded=True)

    def as_killed(self) -> ExitReason:
        """The same end, known to follow our own kill: dead of SIGKILL is `killed`, any other end stays what it was."""
        return ExitReason.killed() if self.is_kill else self.as_commanded()

    def describe(self) -> str:
        """One line for a person."""
        if self.detail is not None and self.detail.startswith(_LINKED):
            return f"ended because it was {self.detail}"
        return _DESCRIPTIONS[self.kind].format(
            signal=self.signal, status=self.status, detail=(self.detail or "no details").partition("\n")[0]
        )

    # ---- wire

    def to_dict(self) -> dict[str, object]:
        """The wire form."""
        return {
            "reason": self.kind.value,
            "detail": self.detail,
            "signal": self.signal,
            "status": self.status,
            "commanded": self.commanded,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """The value of which `data` is the wire form.

        Raises:
            WireError: a field is missing, unknown, or of the wrong type.
        """
        if set(data) != _FIELDS:
            raise WireError(f"An exit reason has the fields {_FIELD_LIST}, not {', '.join(sorted(map(str, data)))}.")
        reason, commanded = data["reason"], data["commanded"]
        if not isinstance(reason, str) or reason not in _KINDS:
            raise WireError(f"An exit reason is one of {', '.join(_KINDS)}, not {reason!r}.")
        if not isinstance(commanded, bool):
            raise WireError(f"`commanded` of an exit reason is a boolean, not {commanded!r}.")
        return cls(_KINDS[reason], _text(data["detail"]), _number(data, "signal"), _number(data, "status"), commanded)


_FIELD_LIST: Final = "reason, detail, signal, status, commanded"
_FIELDS: Final = frozenset(_FIELD_LIST.split(", "))
_KINDS: Final[dict[str, ExitKind]] = {kind.value: kind for kind in ExitKind}

_DESCRIPTIONS: Final[dict[ExitKind, str]] = {
    ExitKind.NORMAL: "ended normally",
    ExitKind.SHUTDOWN: "was shut down",
    ExitKind.TRAP: "trapped ({detail})",
    ExitKind.ERROR: "failed ({detail})",
    ExitKind.SIGNAL: "was killed by signal {signal}",
    ExitKind.STATUS: "exited with status {status} without a final word",
    ExitKind.OUT_OF_MEMORY: "ran out of memory ({detail})",
    ExitKind.DEADLINE: "exceeded its deadline ({detail})",
    ExitKind.START_FAILED: "did not start ({detail})",
    ExitKind.GAVE_UP: "gave up after too many restarts",
    ExitKind.KILLED: "was killed by its supervisor",
    ExitKind.NO_PROCESS: "does not exist",
}


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise WireError(f"`detail` of an exit reason is a text or null, not {value!r}.")


def _number(data: Mapping[str, object], field: str) -> int | None:
    value = data[field]
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise WireError(f"`{field}` of an exit reason is an integer or null, not {value!r}.")
