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

Memory. A life that says "from" goes on with the memory that its lineage made: its guest is made by a script of that
lineage (core/retrace.py). Whoever still has the guest that the life before ended with, alive, has that memory already.
A snapshot is reproduced as an outcome is: its state, its root and the digests of the memory are those of the guest.
What follows the genesis may be missing.
Then a snapshot comes next, and the guest is loaded with the answers that it names and gets its memory; where it holds
none, everything up to the next life with a new guest is passed over, and only the states are taken from it.

Host calls that failed. One without a result, followed by an outcome of the trap "host" or "limit", is one that ended
the guest: `Failed` does it again, and the words of the trap are taken from the record as a result would be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from itertools import chain
from typing import Any, Final, NoReturn

from theater.core.chain import (
    INCARNATION,
    INLINE_MAX,
    SNAPSHOT,
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
from theater.core.codec import Ref, Veiled, content_digest, pack
from theater.core.divergence import Nothing, diverged
from theater.core.handlers import INIT
from theater.core.life import FRESH, Life, first_life, next_life
from theater.core.lineage import Descent, Lineage
from theater.core.replay_steps import Compare, Cue, Cut, Failed, Resume
from theater.core.same_guest import other_guest
from theater.core.secrets import SECRETS, Open, Veil, nothing_to_open, promises
from theater.core.snapshot import Answered, Snapshot, is_snapshot, read_snapshot, resolve_all_but_memory
from theater.errors import IntegrityError, TheaterError

ENDED: Final = "ended"
"""Lifecycle event with which a life ends in order."""

_TIMEOUT: Final = "timeout"
_HOST_TRAPS: Final = ("host", "limit")
_REPLAY: Final = "replay"
_ROOT_AT: Final = Outcome._fields.index("root")


class _Phase(Enum):
    """Where a life is."""

    LOADING = "loading"
    """Its guest is made; what it asks meanwhile was recorded before its first call."""
    GOING_ON = "going on"
    DOOMED = "doomed"
    """A call has ended it, so that no other may follow."""
    ENDED = "ended"
    RESUMING = "resuming"
    """Its guest is made and gets the memory of a snapshot; what it asks meanwhile, the snapshot answers."""
    BEHIND_GAP = "behind a gap"
    """No life is known: what follows the genesis is missing, and a snapshot must come."""
    PASSING = "passing"
    """Its guest cannot be had, so nothing is executed until a life begins that has a new one."""


Watch = Callable[[Head, int], None]
"""Told the head behind what has been reproduced, and how long the next entry took when it was recorded (ns)."""


class Script:
    """Follows one chain from its genesis; behind that, entries may be missing up to a snapshot.

    Args:
        records: its records, verified, in order; ends where the record ends.
        get: content that the chain refers to.
        watch: see `Watch`.
        secrets: finds those that stand in the record.
        committed: an array of the state that had been committed last where the records go on behind the genesis.
        retraces: the records are those of a lineage (`retrace`), among which others are missing.

    Attributes:
        head: behind the last entry that was reproduced.
        actor, name: what the genesis says.
        state, state_digest: what the next call is given.
        lineage: of the life that has begun, if it goes on with the memory of those before.
        loaded: what the guest was answered while it was loaded.
        passed_over: number of entries of which nothing was executed.
    """

    def __init__(
        self,
        records: Iterator[Record],
        get: Get,
        watch: Watch = lambda head, took_ns: None,
        secrets: Open = nothing_to_open,
        *,
        committed: Sequence[Any] = (),
        retraces: bool = False,
    ) -> None:
        self.head = START
        self.actor = self.name = ""
        self.state: bytes | None = None
        self.state_digest: bytes | None = None
        self._records: Iterator[Record] = records
        self._get = get
        self._watch = watch
        self._open = secrets
        self._veil: Veil | None = None
        self._encoder = Encoder(START, _name_content)
        self._inline_encoder = Encoder(START, None)
        self._genesis: Genesis | None = None
        self._committed: list[Any] = list(committed)
        self._retraces = retraces
        self._descent = Descent()
        self._life: Life | None = None
        self._is_committed = False
        self._given: deque[Answered] = deque()
        self.lineage: Lineage | None = None
        self.loaded: list[Answered] = []
        self.passed_over = 0
        self._expects_init = False
        self._phase = _Phase.ENDED
        self._record: Record | None = None
        self._next: Entry | None = None
        self._read_on()

    # ---- the side of who runs the guest

    def next(self) -> Life | Resume | Cue | Compare | None:
        """What happens next to the guest; None at the end of the record.

        Raises:
            Diverged: the record goes on with something that cannot follow.
            ChainBroken: an entry is none that this version knows.
        """
        if self._given:
            self._diverge(Nothing("the guest was loaded without asking for all that the snapshot answers"))
        if self._phase in (_Phase.LOADING, _Phase.RESUMING):
            self._phase = _Phase.GOING_ON
        while (entry := self._next) is not None:
            payload = self._payload()
            match payload:
                case Genesis() if entry.seq == 0:
                    self._genesis = payload
                    self.actor, self.name = payload.actor, payload.name
                    if not self._is_before_gap():
                        return self._begin(first_life(payload), payload)
                    self._take(payload)
                    self._phase, self._descent = _Phase.BEHIND_GAP, Descent()
                case Lifecycle(event=event) if event == INCARNATION and self._may_begin():
                    assert self._genesis is not None
                    life = next_life(entry.seq, payload, self._genesis)
                    if life.begins is None:
                        return self._begin_anew(life, payload)
                    if self._phase is not _Phase.PASSING:
                        return self._go_on(life, payload)
                    self._pass_over(payload)
                case Lifecycle(event=event) if event == SNAPSHOT and self._is_lost():
                    snapshot = read_snapshot(entry.seq, payload)
                    if (step := self._resume(snapshot, payload)) is not None:
                        return step
                case _ if self._phase is _Phase.PASSING:
                    self._pass_over(payload)
                case Call() if self._phase is _Phase.GOING_ON:
                    return self._cue(payload)
                case Lifecycle(event=event) if event == SNAPSHOT:
                    if self._phase is not _Phase.GOING_ON or self._expects_init:
                        self._diverge(Nothing(self._what_may_follow()))
                    return Compare(read_snapshot(entry.seq, payload))
                case Lifecycle(event=event) if self._phase not in (_Phase.ENDED, _Phase.BEHIND_GAP):
                    self._phase = _Phase.ENDED if event == ENDED else self._phase
                    self._take(payload)
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
            self._committed, self._is_committed = [self.state], True
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

    def confirm(self, root: bytes | None, memory: Ref | None) -> None:
        """The guest is this, where the record has a snapshot.

        Args:
            root: its state root; may be None if the snapshot has none.
            memory: names its memory image; None if the snapshot holds no memory.

        Raises:
            Diverged: it was something else when it was recorded.
        """
        payload = self._payload()
        assert self._next is not None
        assert isinstance(payload, Lifecycle)
        assert self._life is not None
        recorded = read_snapshot(self._next.seq, payload)
        life = self._life.details()
        found = Snapshot(self.state, self._is_committed, life, root, memory, recorded.why, self.loaded)
        self._reproduce(Kind.LIFECYCLE, found.payload())

    @property
    def is_loaded(self) -> bool:
        """Whether the guest has asked for all that was answered while it was loaded."""
        return not self._given and (self._next is None or self._next.kind is not Kind.HOST_CALL)

    @property
    def wants_root(self) -> bool:
        """Whether the record says what the memory was behind the call that ends now."""
        entry = self._next
        if entry is None or entry.kind is not Kind.OUTCOME or not isinstance(entry.payload, list):
            return False
        return len(entry.payload) > _ROOT_AT and entry.payload[_ROOT_AT] is not None

    def refuse(self, why: str) -> NoReturn:
        """The guest could not be made, or not be loaded: there is nobody to go on.

        Raises:
            Diverged: always, for when it was recorded there was.
        """
        self._diverge(Nothing(why))

    @property
    def life_is_empty(self) -> bool:
        """Whether nothing more is recorded of this life, so that nothing need be run for it."""
        return not self._retraces and (self._next is None or self._begins_life())

    # ---- the side of the guest

    def ask(self, interface: str, function: str, args: tuple[Any, ...]) -> Any:
        """What the host answered to this host call.

        Raises:
            Diverged: the record has no such host call here.
            Cut, Failed: there is no answer, and the guest must be ended with this very exception.
            TypeError, ValueError: the arguments have no place in a record. The guest must hear so, as it did.
            IntegrityError: what the record refers to cannot be had.
        """
        if self._phase is _Phase.RESUMING:
            return self._ask_snapshot(interface, function, args)
        self._reproduce(Kind.HOST_CALL, HostCall(interface, function, args))
        entry = self._next
        if entry is None or entry.kind is not Kind.HOST_RESULT:
            self._end_without_answer()
        answer = self._payload()
        assert entry is not None
        assert isinstance(answer, HostResult)
        self._advance(entry.digest)
        if self._phase is _Phase.LOADING:
            self.loaded.append(Answered(interface, function, args, answer.value))
        if self._is_cut():
            raise Cut
        return answer.value

    def _ask_snapshot(self, interface: str, function: str, args: tuple[Any, ...]) -> Any:
        """What was answered while the guest was loaded of which the snapshot holds the memory."""
        asked = pack([interface, function, args])
        if not self._given:
            self._diverge(Nothing(f"the guest asks for {interface} {function}, which the snapshot does not answer"))
        given = self._given.popleft()
        if pack([given.interface, given.function, given.args]) != asked:
            recorded = HostCall(given.interface, given.function, given.args)
            raise diverged(self.head.entries - 1, recorded, HostCall(interface, function, args))
        return given.value

    def _end_without_answer(self) -> NoReturn:
        if self._is_cut():
            raise Cut
        in_call = self._phase is _Phase.GOING_ON
        outcome = self._payload() if in_call and self._next is not None and self._next.kind is Kind.OUTCOME else None
        if isinstance(outcome, Outcome) and outcome.ending == Ending.TRAP and _trap_kind(outcome) in _HOST_TRAPS:
            raise Failed(outcome)
        self._diverge(Nothing("a host-result is missing"))

    # ---- beginnings

    def _is_lost(self) -> bool:
        """Whether nobody knows a guest that could go on."""
        return self._genesis is not None and self._phase in (_Phase.BEHIND_GAP, _Phase.PASSING)

    def _may_begin(self) -> bool:
        return self._genesis is not None and (self._phase is not _Phase.BEHIND_GAP or self._retraces)

    def _is_before_gap(self) -> bool:
        """Whether what follows the next record is missing."""
        following = next(self._records, None)
        if following is not None:
            self._records = chain([following], self._records)
        return following is not None and self._record is not None and following.seq != self._record.seq + 1

    def _begin(self, life: Life, payload: Payload) -> Life:
        """A life with a guest that is made anew."""
        self._take_state(life)
        self._take(payload)
        self.lineage = None
        self.loaded = []
        self._phase = _Phase.LOADING
        self._take_up_secrets()
        return life

    def _begin_anew(self, life: Life, payload: Lifecycle) -> Life:
        if life.policy == _REPLAY and self._phase is not _Phase.PASSING and not self._retraces:
            lineage = self._descent.lineage
            if lineage is not None and (self._committed or life.resumed):
                self._diverge(Nothing(f"the life goes on with the memory that begins with entry {lineage.begins}"))
        return self._begin(life, payload)

    def _go_on(self, life: Life, payload: Lifecycle) -> Life:
        """A life with the memory of those before."""
        if not self._retraces:
            found = self._descent.lineage
            if not self._committed and not life.resumed:
                self._diverge(Nothing("nothing has been committed yet, so the life begins anew"))
            if found is None or (found.begins, found.left_out) != (life.begins, life.left_out):
                self._diverge(Nothing(_what_it_goes_on_with(found)))
            self.lineage = found
        other = None if self._life is None else other_guest(self._life, life)
        if other is not None:
            self._diverge(Nothing(f"the memory is that of another guest: {other}"))
        self._take_state(life)
        self._take(payload)
        self._phase = _Phase.GOING_ON
        self._take_up_secrets()
        return life

    def _take_state(self, life: Life) -> None:
        goes_on = life.policy != FRESH and bool(self._committed)
        self.state = self._committed[0] if goes_on else self._initial(life)
        self.state_digest = None if isinstance(self.state, Veiled) else state_digest(self.state)
        self._expects_init = not goes_on and not life.resumed
        self._life, self._is_committed = life, goes_on

    def _resume(self, snapshot: Snapshot, payload: Lifecycle) -> Resume | None:
        assert self._genesis is not None
        assert self._next is not None
        self._life = life = next_life(self._next.seq, Lifecycle(SNAPSHOT, snapshot.life), self._genesis)
        self._committed, self._is_committed = [snapshot.state] if snapshot.committed else [], snapshot.committed
        self._expects_init = False
        self._take(payload)
        if snapshot.memory is None:
            self._phase = _Phase.PASSING
            return None
        assert not isinstance(snapshot.state, Veiled), "who knows secrets does not keep the memory that has them"
        self.state, self.state_digest = snapshot.state, state_digest(snapshot.state)
        self.loaded = list(snapshot.loaded)
        self._given = deque(snapshot.loaded)
        self._phase = _Phase.RESUMING
        return Resume(life, snapshot)

    def _pass_over(self, payload: Payload) -> None:
        if isinstance(payload, Outcome) and payload.state:
            self._committed = [payload.state[0]]
        self.passed_over += 1
        self._take(payload)

    def _take_up_secrets(self) -> None:
        """What the life may know is said before anything else of it, and needed for all the rest."""
        self._veil = None
        payload = self._payload() if self._next is not None and self._next.kind is Kind.LIFECYCLE else None
        if isinstance(payload, Lifecycle) and payload.event == SECRETS:
            self._veil = self._new_veil(payload)
            self._take(payload)
        if isinstance(self.state, Veiled):
            at = self.head.entries - 1
            raise IntegrityError(f"entry {at}: the life goes on with secrets of which it does not say which", index=at)

    def _new_veil(self, said: Lifecycle) -> Veil | None:
        found = promises(said)
        if not found:
            return None
        veil = Veil([self._open(promise) for promise in found])
        if isinstance(self.state, Veiled):  # It was committed where nobody had put the secrets back.
            self.state = veil.show(self.state)
            self.state_digest = state_digest(self.state)
        veil.hold(self.state)
        return veil

    def _initial(self, life: Life) -> bytes | None:
        digest = life.initial
        try:
            return None if digest is None else self._get(digest)
        except TheaterError as error:
            raise damaged(life.entry, error) from error

    def _cue(self, call: Call) -> Cue:
        if self._expects_init != ((call.interface, call.function) == INIT):
            self._diverge(Nothing(self._what_may_follow()))
        self._expects_init = False
        self._take(call)
        return Cue(call.interface, call.function, tuple(call.args), self._is_cut())

    def _what_may_follow(self) -> str:
        if self._genesis is None:
            return "a chain begins with its genesis"
        if self._phase is _Phase.BEHIND_GAP:
            return "what follows the genesis is missing, and only from a snapshot could be gone on"
        if self._phase in (_Phase.DOOMED, _Phase.ENDED):
            return "the life is over, and only another may begin"
        if self._expects_init:
            return "the life has a state that no call has committed, so its first call is init"
        return "only a call may follow, and no init, or the end of the life"

    # ---- the record

    def _take(self, payload: Payload) -> None:
        """The next entry is believed."""
        assert self._next is not None
        self._descent.note(self._next.seq, payload)
        self._advance(self._next.digest)

    def _reproduce(self, kind: Kind, payload: Payload) -> None:
        """The guest has done this: it must be what the next entry says, to the digest.

        It is encoded before it is compared, for what has no place in a record ends the guest first, now as then.
        """
        entry, record = self._next, self._record
        payload = payload if self._veil is None else self._veil.hide_in(payload)
        is_inline = entry is not None and record is not None and _is_inline(entry, record)
        encoder = self._inline_encoder if is_inline else self._encoder
        if record is not None:  # Not the head: of a lineage, entries are missing before it.
            encoder.entries, encoder.digest, encoder.offset = record.seq, record.previous, record.offset
        _, digest = encoder.entry(kind, payload, 0 if entry is None else entry.time_ns)
        if entry is None or digest != entry.digest:
            self._diverge(payload)
        if kind is not Kind.HOST_CALL:
            self._descent.note(entry.seq, payload)
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
            if record.has_refs:
                is_large = entry.kind is Kind.LIFECYCLE and is_snapshot(payload)
                payload = resolve_all_but_memory(payload, self._get) if is_large else resolve(payload, self._get)
            return read_payload(entry.kind, payload)
        except TheaterError as error:
            raise damaged(entry.seq, error) from error

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
        raise diverged(self.head.entries if self._next is None else self._next.seq, recorded, happened)


def _what_it_goes_on_with(lineage: Lineage | None) -> str:
    if lineage is None:
        return "there is no memory to go on with"
    left_out = f" and leaves out {', '.join(map(str, lineage.left_out))}" if lineage.left_out else ""
    return f"the life goes on with the memory that begins with entry {lineage.begins}{left_out}"


def _trap_kind(outcome: Outcome) -> Any:
    value = outcome.value
    return value[0] if isinstance(value, list) and len(value) == 3 else None


def _name_content(content: bytes) -> str:
    """What a content store would call it; nothing is kept."""
    return content_digest(content).hex()


def _is_inline(entry: Entry, record: Record) -> bool:
    """Whether the writer of this entry kept nothing elsewhere, though it is long enough."""
    return len(record.body) > INLINE_MAX and not refs(entry.payload)


def damaged(seq: int, error: TheaterError) -> IntegrityError:
    """What is said when something of an entry cannot be had."""
    return IntegrityError(f"entry {seq}: what it says, or refers to, cannot be had: {error.message}", index=seq)
