"""What a supervisor is told: its flags and, for each child, a spec. Values that are valid from their birth.

A field is checked when the value is made, in OTP's order, and the first fault is the answer. The one rule that needs
both, significance against `auto_shutdown`, is `check_child_specs`' business, as is that ids are unique.

Plain strings are taken wherever an enum stands (`restart="transient"`), since specs come from text. Unlike OTP an
unknown field is refused (by Python itself), an id is a non-empty string, and there are no legacy tuples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeGuard, TypeVar

from theater.errors import SpecError


class Strategy(StrEnum):
    """Which children a failure concerns."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"
    DYNAMIC = "dynamic"

    @classmethod
    def _missing_(cls, value: object) -> Strategy | None:
        return cls.DYNAMIC if value == "simple_one_for_one" else None  # OTP's name for it


class StopOrder(StrEnum):
    """How a supervisor that ends stops its children: one after the other, newest first, or all at once."""

    SEQUENTIAL = "sequential"
    PARALLEL = "parallel"


class AutoShutdown(StrEnum):
    """Whether the end of significant children ends their supervisor."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class Restart(StrEnum):
    """Which ends of a child are answered with a restart: all, the abnormal ones, none."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class ChildType(StrEnum):
    """What a child is. Decides the default of `shutdown`, the counter it lands in, and who bounds its end."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


class ShutdownRule(StrEnum):
    """The two ways to stop a child that are not a number of milliseconds."""

    BRUTAL_KILL = "brutal_kill"
    INFINITY = "infinity"


DEFAULT_SHUTDOWN_MS: Final = 5000


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses before restarts, each twice as long as the one before; OTP has none.

    Args:
        initial: milliseconds, of the first pause; at least 1.
        max: milliseconds, the longest pause; at least `initial`.
        jitter: the part of each pause, from 0 to 1, that is left to chance.

    Raises:
        SpecError: the first field, in this order, that is wrong.
    """

    initial: int = 100
    max: int = 30_000
    jitter: float = 0.2

    def __post_init__(self) -> None:
        _require_int(self.initial, 1, "invalid_backoff", "`initial` of a backoff, in milliseconds,")
        _require_int(self.max, self.initial, "invalid_backoff", "`max` of a backoff, in milliseconds,")
        jitter: object = self.jitter
        if isinstance(jitter, bool) or not isinstance(jitter, int | float) or not 0 <= jitter <= 1:
            raise _refused("invalid_backoff", "`jitter` of a backoff", jitter, "a number from 0 to 1")


_BY_TYPE: Final[Any] = object()  # `shutdown` was not given: it depends on the type


@dataclass(frozen=True, slots=True)
class SupervisorFlags:
    """How a supervisor acts.

    Args:
        strategy: which children a failure concerns.
        intensity: restart attempts allowed within `period`; at least 0.
        period: seconds, whole, at least 1.
        auto_shutdown: whether the end of significant children ends the supervisor.
        backoff: pauses before restarts, for children whose spec has none of its own; None, as in OTP, for no pause.
        max_children: how many there may be, those included that are being restarted; None for any number.
        stop: how it stops its children when it ends.
        stop_deadline: milliseconds that its end may take; whoever is left then is killed. None for any time.

    Raises:
        SpecError: the first field, in this order, that is wrong.
    """

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 1
    period: int = 5
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    backoff: Backoff | None = None
    max_children: int | None = None
    stop: StopOrder = StopOrder.SEQUENTIAL
    stop_deadline: int | None = None

    def __post_init__(self) -> None:
        _coerce(self, "strategy", Strategy, "invalid_strategy", "supervisor")
        _require_int(self.intensity, 0, "invalid_intensity", "`intensity` of a supervisor")
        _require_int(self.period, 1, "invalid_period", "`period` of a supervisor, in seconds,")
        _coerce(self, "auto_shutdown", AutoShutdown, "invalid_auto_shutdown", "supervisor")
        if self.strategy is Strategy.DYNAMIC and self.auto_shutdown is not AutoShutdown.NEVER:
            raise SpecError(
                f"A dynamic supervisor's `auto_shutdown` is never, not {self.auto_shutdown.value}: "
                "no child of it is significant.",
                term="bad_combination",
            )
        if self.max_children is not None:
            _require_int(self.max_children, 1, "invalid_max_children", "`max_children` of a supervisor")
        _coerce(self, "stop", StopOrder, "invalid_stop", "supervisor")
        if self.stop_deadline is not None:
            _require_int(self.stop_deadline, 0, "invalid_stop_deadline", "`stop_deadline` of a supervisor")


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A child as it is wished.

    Args:
        id: its name within the supervisor.
        start: what to start; opaque here, handed to whoever carries out `Start`.
        restart: which of its ends are answered with a restart.
        significant: whether its own end counts for the supervisor's `auto_shutdown`.
        type: worker or supervisor.
        shutdown: milliseconds to wait between asking and killing (0: kill at once), or a `ShutdownRule`. Unless
            given 5000 for workers and `infinity` for supervisors.
        modules: names of the code it runs, for whoever replaces code; no meaning here.
        start_deadline: milliseconds that a start may take; one that takes longer is killed and has failed. None, as
            in OTP, for any time.
        backoff: pauses before its restarts; None for what the supervisor's flags say.

    Raises:
        SpecError: the first field, in this order, that is wrong.
    """

    id: str
    start: object
    restart: Restart = Restart.PERMANENT
    significant: bool = False
    type: ChildType = ChildType.WORKER
    shutdown: int | ShutdownRule = _BY_TYPE
    modules: tuple[str, ...] = ()
    start_deadline: int | None = None
    backoff: Backoff | None = None

    def __post_init__(self) -> None:
        self._check_id()
        self._check_start()
        _coerce(self, "restart", Restart, "invalid_restart_type", self._name)
        self._check_significant()
        _coerce(self, "type", ChildType, "invalid_child_type", self._name)
        self._check_shutdown()
        self._check_modules()
        if self.start_deadline is not None:
            _require_int(self.start_deadline, 1, "invalid_start_deadline", f"`start_deadline` of {self._name}")

    @property
    def _name(self) -> str:
        return f"child {self.id!r}"

    def _check_id(self) -> None:
        if self.id is None or self.id == "":
            raise SpecError("A child spec needs an `id`.", term="missing_id")
        if not isinstance(self.id, str):
            raise SpecError(f"The id of a child is a text, not {self.id!r}.", term="invalid_id", value=repr(self.id))

    def _check_start(self) -> None:
        if self.start is None:
            raise SpecError(f"The spec of {self._name} does not say what to start.", term="missing_start")

    def _check_significant(self) -> None:
        if not isinstance(self.significant, bool):
            raise _refused("invalid_significant", f"`significant` of {self._name}", self.significant, "true or false")
        if self.significant and self.restart is Restart.PERMANENT:
            raise SpecError(
                f"Child {self.id!r} cannot be both significant and permanent: it would always be restarted, "
                "so its end could never count. Make it transient or temporary.",
                term="bad_combination",
            )

    def _check_shutdown(self) -> None:
        value: object = self.shutdown
        if value is _BY_TYPE:
            by_type = ShutdownRule.INFINITY if self.type is ChildType.SUPERVISOR else DEFAULT_SHUTDOWN_MS
            object.__setattr__(self, "shutdown", by_type)
        elif isinstance(value, str) and value in _SHUTDOWN_RULES:
            object.__setattr__(self, "shutdown", ShutdownRule(value))
        elif not _is_int(value) or value < 0:
            allowed = f"a whole number of milliseconds from 0, or one of {', '.join(_SHUTDOWN_RULES)}"
            raise _refused("invalid_shutdown", f"`shutdown` of {self._name}", value, allowed)

    def _check_modules(self) -> None:
        if not isinstance(self.modules, tuple):
            raise _refused("invalid_modules", f"`modules` of {self._name}", self.modules, "a tuple of names")
        for module in self.modules:
            if not isinstance(module, str):
                raise _refused("invalid_module", f"a module of {self._name}", module, "a name")


def check_supervisor(flags: SupervisorFlags, specs: Sequence[ChildSpec]) -> None:
    """Check what a supervisor is to be made of, or changed to.

    Args:
        flags: how it is to act.
        specs: its children, in start order.

    Raises:
        SpecError: the specs are at odds with each other or with the flags.
    """
    check_child_specs(specs, flags.auto_shutdown)
    if specs and flags.strategy is Strategy.DYNAMIC:
        raise SpecError("A dynamic supervisor starts without children; they come by calls.", term="bad_start_spec")
    if flags.max_children is not None and len(specs) > flags.max_children:
        raise SpecError(
            f"A supervisor with `max_children` {flags.max_children} cannot have {len(specs)} children.",
            term="too_many_children",
        )


def check_transition(old: SupervisorFlags, new: SupervisorFlags) -> None:
    """Check that a running supervisor can take other flags.

    Raises:
        SpecError: it would become dynamic, or would no longer be.
    """
    if (old.strategy is Strategy.DYNAMIC) is not (new.strategy is Strategy.DYNAMIC):
        raise SpecError(
            f"A running supervisor cannot change from {old.strategy.value} to {new.strategy.value}.",
            term="bad_combination",
        )


def check_child_specs(specs: Iterable[ChildSpec], auto_shutdown: AutoShutdown | None = None) -> None:
    """Check what no spec can know alone: that ids are unique, and that significance has a meaning.

    Args:
        specs: in start order.
        auto_shutdown: of the supervisor they are meant for; None leaves that rule out.

    Raises:
        SpecError: for the first spec that is wrong.
    """
    seen: set[str] = set()
    for spec in specs:
        check_significance(spec, auto_shutdown)
        if spec.id in seen:
            raise SpecError(f"Two children have the id {spec.id!r}.", term="duplicate_child_name", value=spec.id)
        seen.add(spec.id)


def check_significance(spec: ChildSpec, auto_shutdown: AutoShutdown | None) -> None:
    """Refuse a significant child under a supervisor that never shuts down for one.

    Raises:
        SpecError: it is one.
    """
    if spec.significant and auto_shutdown is AutoShutdown.NEVER:
        raise SpecError(
            f"Child {spec.id!r} is significant, but its supervisor's `auto_shutdown` is never. "
            "Set it to any_significant or all_significant.",
            term="bad_combination",
        )


_SHUTDOWN_RULES: Final = frozenset(rule.value for rule in ShutdownRule)
_E = TypeVar("_E", bound=StrEnum)


def _coerce(owner: object, field: str, enum: type[_E], term: str, whose: str) -> None:
    """Replace a text in `field` by the member of `enum` that has this value; refuse everything else."""
    value = getattr(owner, field)
    if isinstance(value, enum):
        return
    try:
        object.__setattr__(owner, field, enum(value))
    except ValueError:
        allowed = ", ".join(member.value for member in enum)
        raise _refused(term, f"`{field}` of {whose}", value, f"one of {allowed}") from None


def _require_int(value: object, least: int, term: str, what: str) -> None:
    if not _is_int(value) or value < least:
        raise _refused(term, what, value, f"a whole number from {least}")


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _refused(term: str, what: str, value: object, allowed: str) -> SpecError:
    sentence = f"{what} is {allowed}, not {value!r}."
    return SpecError(sentence[0].upper() + sentence[1:], term=term, value=repr(value))
