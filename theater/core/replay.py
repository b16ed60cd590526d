"""Replay: what a chain says must happen next, while its guest is run again. Pure; theater/replay runs the guest.

A chain holds all that came to a guest from outside (calls and their arguments, the results of host calls) and all that
the guest did (host calls, outcomes). A `Script` hands out the former and is told the latter. Each thing that the guest
does is made into an entry anew, behind the entry before and with the recorded time, and must have the digest that is
recorded; so a replay that reaches the end has reproduced every digest. The first that differs ends it as `Diverged`.
A script knows nothing but its chain: a guest that goes on where the record does not finds nobody who answers.

Lives. Each begins with its component instantiated anew, and what was asked of the host meanwhile stands at its
beginning. Its state is the one that was committed last if its policy is `last` and there is one, else the initial one,
which the genesis or the incarnation names; in the latter case its first call is init, unless it was resumed.

Calls that were cut. What cut a call off from outside (a kill, a deadline, a disk that was full) is no act of the guest
and is not waited for. Such a call has no outcome, or one of the trap "timeout". The guest is run up to its last
recorded host call and is then given up, with `Cut`, in place of that call's result; without a host call it is not
entered at all. What a timeout's outcome says beyond that is taken from the record, but the state must be as before.

Secrets. Those of a life are said at its beginning (core/secrets.py). They are put back into what the guest is given,
and what it does is hidden again before it is compared; without them, the life cannot be replayed.

Host calls that failed. One without a result, followed by an outcome of the trap "host" or "limit", is one that ended
the guest: `Failed` does it again, and the words of the trap are taken from the record as a result would be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NoReturn

from theater.core.chain import (
    INCARNATION,
    INLINE_MAX,
    START,
    Call,
    Encoder,
    Ending,
    Entry,
    Genesis,
    Get,
    Head,
    HostCall,
    HostResult,
    Kind,
    Lifecycle,
    Outcome,
    Payload,
    Record,
    outcome_trap,
    read_payload,
    refs,
    resolve,
    state_digest,
)
from theater.core.codec import content_digest
from theater.core.divergence import Nothing, diverged
from theater.core.handlers import ACTOR
from theater.core.secrets import SECRETS, Open, Veil, nothing_to_open, promises
from theater.errors import ChainBroken, IntegrityError, OtherEngine, TheaterError

ENDED: Final = "ended"
"""Lifecycle event with which a life ends in order."""

_TIMEOUT: Final = "timeout"
_HOST_TRAPS: Final = ("host", "limit")
_FRESH: Final = "fresh"


class _Phase(Enum):
    """Where a life is."""

    LOADING = "loading"
    """Its guest is made; what it asks meanwhile was recorded before its first call."""
    GOING_ON = "going on"
    DOOMED = "doomed"
    """A call has ended it, so that no other may follow."""
    ENDED = "ended"


Watch = Callable[[Head, int], None]
"""Told the head behind what has been reproduced, and how long the next entry took when it was recorded (ns)."""


class Cut(BaseException):
    """The record of the call ends here: the guest is given up. Passes through host code as SystemExit does."""


class Failed(BaseException):
    """The host call ended the guest when it was recorded, and does so again.

    Attributes:
        outcome: what the record says of the call then.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Life:
    """A life begins.

    Args:
        entry: number of the entry that says so.
        incarnation: its number.
        component, program, manifest, initial: digests of what it was made of, hex.
        wrapper: digest of the binary that was compiled in place of the component, hex; None if there was none.
        engine: what it ran on, as a genesis says it.
        policy: which state it has: last or fresh.
        resumed: its actor's initial state is one to go on from, without init.
    """

    entry: int
    incarnation: int
    component: str
    program: str | None
    manifest: str | None
    initial: str | None
    wrapper: str | None
    engine: Mapping[str, Any]
    policy: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class Cue:
    """An export is to be called.

    Args:
        args: what it is given beside the state.
        is_cut: the record says nothing of what the guest did in it, so it is not entered.
    """

    interface: str
    function: str
    args: tuple[Any, ...]
    is_cut: bool


class Script:
    """Follows one chain from its genesis.

    Args:
        records: its records, verified, in order; ends where the record ends.
        get: content that the chain refers to.
        watch: see `Watch`.
        secrets: finds those that stand in the record.

    Attributes:
        head: behind the last entry that was reproduced.
        actor, name: what the genesis says.
        state, state_digest: what the next call is given.
    """

    def __init__(
        self,
        records: Iterator[Record],
        get: Get,
        watch: Watch = lambda head, took_ns: None,
        secrets: Open = nothing_to_open,
    ) -> None:
        self.head = START
        self.actor = self.name = ""
        self.state: bytes | None = None
        self.state_digest: bytes | None = None
        self._records = records
        self._get = get
        self._watch = watch
        self._open = secrets
        self._veil: Veil | None = None
        self._encoder = Encoder(START, _name_content)
        self._inline_encoder = Encoder(START, None)
        self._genesis: Genesis | None = None
        self._committed: list[bytes | None] = []
        self._expects_init = False
        self._phase = _Phase.ENDED
        self._record: Record | None = None
        self._next: Entry | None = None
        self._read_on()

    # ---- the side of who runs the guest

    def next(self) -> Life | Cue | None:
        """What happens next to the guest; None at the end of the record.

        Raises:
            Diverged: the record goes on with something that cannot follow.
            ChainBroken: an entry is none that this version knows.
        """
        if self._phase is _Phase.LOADING:
            self._phase = _Phase.GOING_ON
        while (entry := self._next) is not None:
            payload = self._payload()
            match payload:
                case Genesis() if entry.seq == 0:
                    self._genesis = payload
                    self.actor, self.name = payload.actor, payload.name
                    return self._begin(first_life(payload))
                case Lifecycle(event=event) if event == INCARNATION and self._genesis is not None:
                    return self._begin(next_life(entry.seq, payload, self._genesis))
                case Call() if self._phase is _Phase.GOING_ON:
                    return self._cue(payload)
                case Lifecycle(event=event) if self._phase is not _Phase.ENDED:
                    self._phase = _Phase.ENDED if event == ENDED else self._phase
                    self._advance(entry.digest)
                case _:
                    self._diverge(Nothing(self._what_may_follow()))
        return None

    def conclude(self, outcome: Outcome) -> None:
        """The call ended so.

        Raises:
            Diverged: it did not when it was recorded.
        """
        self._reproduce(Kind.OUTCOME, outcome)
        if outcome.state:
            (self.state,) = outcome.state
            self.state_digest = outcome.state_digest
            self._committed = [self.state]
        if outcome.ending == Ending.TRAP:
            self._phase = _Phase.DOOMED

    def abandon(self) -> None:
        """The call was cut, and has been run as far as it is recorded.

        Raises:
            Diverged: it was cut by a deadline, and yet the state changed.
        """
        self._phase = _Phase.DOOMED
        entry = self._next
        if entry is None or entry.kind is not Kind.OUTCOME:
            return
        recorded = self._payload()
        assert isinstance(recorded, Outcome)
        kind, message, backtrace = recorded.value
        self._reproduce(Kind.OUTCOME, outcome_trap(kind, message, backtrace, self.state_digest, recorded.fuel))

    def refuse(self, why: str) -> NoReturn:
        """The guest could not be made, or not be loaded: there is nobody to go on.

        Raises:
            Diverged: always, for when it was recorded there was.
        """
        self._diverge(Nothing(why))

    @property
    def life_is_empty(self) -> bool:
        """Whether nothing more is recorded of this life, so that nothing need be run for it."""
        return self._next is None or self._begins_life()

    # ---- the side of the guest

    def ask(self, interface: str, function: str, args: tuple[Any, ...]) -> Any:
        """What the host answered to this host call.

        Raises:
            Diverged: the record has no such host call here.
            Cut, Failed: there is no answer, and the guest must be ended with this very exception.
            TypeError, ValueError: the arguments have no place in a record. The guest must hear so, as it did.
            IntegrityError: what the record refers to cannot be had.
        """
        self._reproduce(Kind.HOST_CALL, HostCall(interface, function, args))
        entry = self._next
        if entry is None or entry.kind is not Kind.HOST_RESULT:
            self._end_without_answer()
        answer = self._payload()
        assert entry is not None
        assert isinstance(answer, HostResult)
        self._advance(entry.digest)
        if self._is_cut():
            raise Cut
        return answer.value

    def _end_without_answer(self) -> NoReturn:
        if self._is_cut():
            raise Cut
        in_call = self._phase is _Phase.GOING_ON
        outcome = self._payload() if in_call and self._next is not None and self._next.kind is Kind.OUTCOME else None
        if isinstance(outcome, Outcome) and outcome.ending == Ending.TRAP and _trap_kind(outcome) in _HOST_TRAPS:
            raise Failed(outcome)
        self._diverge(Nothing("a host-result is missing"))

    # ---- beginnings

    def _begin(self, life: Life) -> Life:
        assert self._next is not None
        goes_on = life.policy != _FRESH and bool(self._committed)
        self.state = self._committed[0] if goes_on else self._initial(life)
        self.state_digest = state_digest(self.state)
        self._expects_init = not goes_on and not life.resumed
        self._phase = _Phase.LOADING
        self._advance(self._next.digest)
        self._take_up_secrets()
        return life

    def _take_up_secrets(self) -> None:
        """What the life may know is said before anything else of it, and needed for all the rest."""
        self._veil = None
        payload = self._payload() if self._next is not None and self._next.kind is Kind.LIFECYCLE else None
        if isinstance(payload, Lifecycle) and payload.event == SECRETS:
            self._veil = self._new_veil(payload)
            assert self._next is not None
            self._advance(self._next.digest)

    def _new_veil(self, said: Lifecycle) -> Veil | None:
        found = promises(said)
        if not found:
            return None
        veil = Veil([self._open(promise) for promise in found])
        veil.hold(self.state)
        return veil

    def _initial(self, life: Life) -> bytes | None:
        digest = life.initial
        try:
            return None if digest is None else self._get(digest)
        except TheaterError as error:
            raise _damaged(life.entry, error) from error

    def _cue(self, call: Call) -> Cue:
        if self._expects_init != ((call.interface, call.function) == (ACTOR, "init")):
            self._diverge(Nothing(self._what_may_follow()))
        self._expects_init = False
        assert self._next is not None
        self._advance(self._next.digest)
        return Cue(call.interface, call.function, tuple(call.args), self._is_cut())

    def _what_may_follow(self) -> str:
        if self._genesis is None:
            return "a chain begins with its genesis"
        if self._phase in (_Phase.DOOMED, _Phase.ENDED):
            return "the life is over, and only another may begin"
        if self._expects_init:
            return "the life has a state that no call has committed, so its first call is init"
        return "only a call may follow, and no init, or the end of the life"

    # ---- the record

    def _reproduce(self, kind: Kind, payload: Payload) -> None:
        """The guest has done this: it must be what the next entry says, to the digest.

        It is encoded before it is compared, for what has no place in a record ends the guest first, now as then.
        """
        entry, record = self._next, self._record
        payload = payload if self._veil is None else self._veil.hide_in(payload)
        is_inline = entry is not None and record is not None and _is_inline(entry, record)
        encoder = self._inline_encoder if is_inline else self._encoder
        encoder.entries, encoder.digest, encoder.offset = self.head
        _, digest = encoder.entry(kind, payload, 0 if entry is None else entry.time_ns)
        if entry is None or digest != entry.digest:
            self._diverge(payload)
        self._advance(digest)

    def _advance(self, digest: bytes) -> None:
        assert self._record is not None
        self.head = Head(self._record.seq + 1, digest, self._record.end)
        before = self._next
        self._read_on()
        took = self._next.time_ns - before.time_ns if self._next is not None and before is not None else 0
        self._watch(self.head, max(0, took))

    def _read_on(self) -> None:
        self._record = next(self._records, None)
        self._next = self._record.entry() if self._record is not None else None

    def _payload(self) -> Payload:
        """The payload of the next entry, with everything that it refers to, and the secrets that stand in it."""
        return self._recorded() if self._veil is None else self._veil.show_in(self._recorded())

    def _recorded(self) -> Payload:
        """The payload of the next entry, with everything that it refers to."""
        entry, record = self._next, self._record
        assert entry is not None
        assert record is not None
        payload = entry.payload
        try:
            return read_payload(entry.kind, resolve(payload, self._get) if record.has_refs else payload)
        except TheaterError as error:
            raise _damaged(entry.seq, error) from error

    def _begins_life(self) -> bool:
        if self._next is None or self._next.kind is not Kind.LIFECYCLE:
            return False
        payload = self._payload()
        return isinstance(payload, Lifecycle) and payload.event == INCARNATION

    def _is_cut(self) -> bool:
        """Whether the record says nothing more of what the guest did in the running call, or while it was loaded."""
        if self._next is None:
            return True
        if self._phase is _Phase.LOADING:
            return self.life_is_empty
        if self._next.kind is Kind.OUTCOME:
            outcome = self._payload()
            return isinstance(outcome, Outcome) and outcome.ending == Ending.TRAP and _trap_kind(outcome) == _TIMEOUT
        return self._next.kind is Kind.LIFECYCLE

    def _diverge(self, happened: Payload | Nothing) -> NoReturn:
        recorded: Payload | Nothing = Nothing("the record ends here") if self._next is None else self._recorded()
        raise diverged(self.head.entries, recorded, happened)


def lives(records: Iterable[Record]) -> Iterator[Life]:
    """The lives of a chain, without looking at what happened in them.

    Raises:
        ChainBroken: the beginning of one does not say what it was made of.
    """
    genesis: Genesis | None = None
    for record in records:
        if record.kind_number in (Kind.GENESIS, Kind.LIFECYCLE):
            payload = record.entry().read()
            if isinstance(payload, Genesis):
                genesis = payload
                yield first_life(payload)
            elif isinstance(payload, Lifecycle) and payload.event == INCARNATION and genesis is not None:
                yield next_life(record.seq, payload, genesis)


def first_life(genesis: Genesis) -> Life:
    """What a genesis says of the life that it begins."""
    engine = genesis.engine
    return _life(0, genesis.incarnation, genesis._asdict(), engine.get("program"), engine, _FRESH)


def next_life(entry: int, incarnation: Lifecycle, genesis: Genesis) -> Life:
    """What an incarnation says of the life that it begins. Where it is silent, the genesis has said it."""
    details = incarnation.details if isinstance(incarnation.details, Mapping) else {}
    said = {"wrapper": genesis.wrapper, "engine": genesis.engine, **details}
    return _life(entry, said.get(INCARNATION), said, said.get("program"), said["engine"], said.get("state"))


def _life(entry: int, incarnation: Any, said: Mapping[str, Any], program: Any, engine: Any, policy: Any) -> Life:
    digests = {name: _hex(said.get(name)) for name in ("component", "manifest", "initial", "wrapper")}
    component = digests.pop("component")
    if component is None or type(incarnation) is not int or not isinstance(engine, Mapping):
        raise ChainBroken(f"entry {entry}: a life begins without its number, component or engine", index=entry)
    resumed = said.get("resumed") is True
    return Life(
        entry, incarnation, component, _hex(program), **digests, engine=engine, policy=str(policy), resumed=resumed
    )


def check_engine(life: Life, here: Mapping[str, Any]) -> None:
    """Refuses a life that ran on an engine which might do otherwise than ours.

    Args:
        here: the identity of our engine. The processor may be another: what a guest does does not depend on it.

    Raises:
        OtherEngine: it did.
    """
    recorded = life.engine
    if (recorded.get("name"), recorded.get("version")) != (here["name"], here["version"]):
        raise OtherEngine(
            f"entry {life.entry}: this life ran on {recorded.get('name')} {recorded.get('version')}, and "
            f"{here['name']} {here['version']} is installed here; replay it with that version"
        )
    theirs, ours = _flat(recorded), _flat(here)
    for setting in sorted(theirs | ours):
        if theirs.get(setting) != ours.get(setting):
            raise OtherEngine(
                f"entry {life.entry}: this life ran with {setting} = {theirs.get(setting)!r}, and this Theater has "
                f"{ours.get(setting)!r}; replay it with the version of Theater that recorded it"
            )


def check_wrapper(life: Life, wrapper: str, mode: str) -> None:
    """Refuses a life whose component was compiled in another wrapper than ours, which shows in fuel and backtraces.

    Args:
        wrapper: digest of the binary that we compile in place of the component, hex; empty if it is as it is.
        mode: how we compile the component.

    Raises:
        OtherEngine: it was.
    """
    recorded = life.engine.get("mode", mode)
    if (recorded, life.wrapper or "") != (mode, wrapper):
        raise OtherEngine(
            f"entry {life.entry}: this life ran in a wrapper ({recorded} {life.wrapper or ''}) that this Theater does "
            f"not make of its component ({mode} {wrapper}); replay it with the version of Theater that recorded it"
        )


def _flat(engine: Mapping[str, Any]) -> dict[str, Any]:
    settings = engine.get("settings")
    return {"fuel": engine.get("fuel"), **(settings if isinstance(settings, Mapping) else {})}


def _trap_kind(outcome: Outcome) -> Any:
    value = outcome.value
    return value[0] if isinstance(value, list) and len(value) == 3 else None


def _hex(named: Any) -> str | None:
    return named.hex() if isinstance(named, bytes) else named if isinstance(named, str) else None


def _name_content(content: bytes) -> str:
    """What a content store would call it; nothing is kept."""
    return content_digest(content).hex()


def _is_inline(entry: Entry, record: Record) -> bool:
    """Whether the writer of this entry kept nothing elsewhere, though it is long enough."""
    return len(record.body) > INLINE_MAX and not refs(entry.payload)


def _damaged(seq: int, error: TheaterError) -> IntegrityError:
    return IntegrityError(f"entry {seq}: what it says, or refers to, cannot be had: {error.message}", index=seq)
