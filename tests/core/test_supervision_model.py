"""The machine against OTP's own way of working: a supervisor that blocks, written as one would write it in Erlang.

`Otp` handles one message to its end before it takes the next, as a process does, and learns at once what came of a
start or a stop. The machine learns it event by event, with other events in between. Whatever is done to both, they
must agree on every child, every answer and every report.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from math import floor
from typing import Any

from effort import effort
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from supervised_world import CRASH, Fate, Script, World

from theater.core.child_spec import AutoShutdown, ChildSpec, Restart, ShutdownRule, Strategy, SupervisorFlags
from theater.core.exit_reason import ExitKind, ExitReason
from theater.core.supervision import (
    Accepted,
    ChildCounts,
    ChildRef,
    NoteKind,
    Phase,
    Refusal,
    Refused,
    Supervisor,
)

UNDEFINED, RESTARTING = "undefined", "restarting"
NORMAL = (ExitKind.NORMAL, ExitKind.SHUTDOWN)


class Shutdown(Exception):
    """The supervisor process ends."""


@dataclass(eq=False)
class Record:
    """A child in Erlang's sense: `pid` is an incarnation, or one of two atoms."""

    spec: ChildSpec
    pid: Any


class Otp:
    """A blocking supervisor with a mailbox. `outcomes` says what comes of the next starts of a child."""

    def __init__(self, flags: SupervisorFlags, specs: list[ChildSpec], outcomes: dict[str, deque[str]]) -> None:
        self.flags = flags
        self.outcomes = outcomes
        self.children: list[Record] = []  # in start order
        self.mailbox: deque[tuple[Any, ...]] = deque()
        self.dead: dict[ChildRef, ExitReason] = {}  # exits that still lie in the mailbox
        self.lives: dict[str, int] = defaultdict(int)
        self.restarts: list[int] = []
        self.now = 0.0
        self.reports: list[str] = []
        self.answers: dict[Any, Any] = {}
        self.ended: str | None = None
        self.boot(specs)

    # ---- the process

    def boot(self, specs: list[ChildSpec]) -> None:
        self.children = [Record(spec, UNDEFINED) for spec in specs]
        for record in list(self.children):
            if self.start_one(record) == "failed":
                self.report("start_error", record)
                self.terminate(list(self.children))
                self.ended = "start_failed"
                return

    def work(self, now: float) -> None:
        """Empty the mailbox."""
        self.now = now
        try:
            while self.mailbox and self.ended is None:
                kind, *arguments = self.mailbox.popleft()
                getattr(self, f"on_{kind}")(*arguments)
        except Shutdown as end:
            self.terminate(list(self.children))
            self.ended = str(end)

    def report(self, kind: str, record: Record) -> None:
        self.reports.append(f"{kind} {record.spec.id}")

    @property
    def is_dynamic(self) -> bool:
        return self.flags.strategy is Strategy.DYNAMIC

    # ---- starting and stopping, blocking

    def start_one(self, record: Record) -> str:
        """`started`, `ignored` (a temporary one is forgotten), or `failed`."""
        id = record.spec.id
        self.lives[id] += 1
        outcome = self.outcomes[id].popleft() if self.outcomes[id] else "started"
        if outcome == "started":
            record.pid = self.lives[id]
            self.report("progress", record)
        elif outcome == "ignored":
            self.del_child(record)
        return outcome

    def terminate(self, records: list[Record]) -> None:
        for record in reversed(records):
            if isinstance(record.pid, int):
                reason = self.dead.pop(ChildRef(record.spec.id, record.pid), None)
                if reason is None:
                    brutal = record.spec.shutdown is ShutdownRule.BRUTAL_KILL
                    reason = ExitReason.killed() if brutal else ExitReason.shutdown()
                if not self.went_well(record.spec, reason):
                    self.report("shutdown_error", record)
            self.del_child(record)

    def went_well(self, spec: ChildSpec, reason: ExitReason) -> bool:
        if spec.shutdown is ShutdownRule.BRUTAL_KILL:
            wanted = reason.kind is ExitKind.KILLED or reason.signal == 9
        else:
            wanted = reason.kind is ExitKind.SHUTDOWN and reason.detail is None
        return wanted or (spec.restart is not Restart.PERMANENT and reason.kind in NORMAL)

    def del_child(self, record: Record) -> None:
        record.pid = UNDEFINED
        if record.spec.restart is Restart.TEMPORARY or self.is_dynamic:
            self.children = [other for other in self.children if other is not record]

    def find(self, id: str) -> Record | None:
        return next((record for record in self.children if record.spec.id == id), None)

    # ---- exits and restarts

    def on_exit(self, child: ChildRef) -> None:
        reason = self.dead.pop(child, None)
        record = self.find(child.id)
        if reason is None or record is None or record.pid != child.incarnation:
            return
        normal = reason.kind in NORMAL
        if record.spec.restart is Restart.PERMANENT or not normal:
            self.report("child_terminated", record)
        if record.spec.restart is Restart.PERMANENT or (record.spec.restart is Restart.TRANSIENT and not normal):
            record.pid = UNDEFINED
            self.restart(record)
        else:
            self.del_child(record)
            self.auto_shutdown(record)

    def auto_shutdown(self, record: Record) -> None:
        mode = self.flags.auto_shutdown
        if mode is AutoShutdown.NEVER or not record.spec.significant:
            return
        left = any(other.spec.significant and other.pid != UNDEFINED for other in self.children)
        if mode is AutoShutdown.ANY_SIGNIFICANT or not left:
            raise Shutdown("shutdown")

    def restart(self, record: Record) -> None:
        second = floor(self.now)
        self.restarts = [second] + [old for old in self.restarts if old >= second - self.flags.period]
        if len(self.restarts) > self.flags.intensity:
            self.report("gave_up", record)
            self.del_child(record)
            raise Shutdown("gave_up")
        if self.flags.strategy is Strategy.ONE_FOR_ONE or self.is_dynamic:
            self.start_all([record])
            return
        first = 0 if self.flags.strategy is Strategy.ONE_FOR_ALL else self.children.index(record)
        concerned = self.children[first:]
        record.pid = UNDEFINED
        self.terminate(concerned)
        self.start_all([one for one in concerned if one in self.children])

    def start_all(self, records: list[Record]) -> None:
        for record in records:
            if self.start_one(record) == "failed":
                self.report("start_error", record)
                record.pid = RESTARTING
                self.mailbox.append(("try_again", record.spec.id, self.lives[record.spec.id]))
                return

    def on_try_again(self, id: str, life: int) -> None:
        record = self.find(id)
        if record is not None and record.pid == RESTARTING and self.lives[id] == life:
            self.restart(record)

    # ---- calls

    def on_call(self, token: int, call: str, *arguments: Any) -> None:
        self.answers[token] = getattr(self, call)(*arguments)

    def start_child(self, spec: ChildSpec) -> Any:
        known = self.find(spec.id)
        if known is not None:
            return "already_started" if isinstance(known.pid, int) else "already_present"
        record = Record(spec, UNDEFINED)
        self.children.append(record)
        outcome = self.start_one(record)
        if outcome == "failed":
            self.children.remove(record)
            return "start_failed"
        return record.pid

    def terminate_child(self, id: str) -> Any:
        record = self.find(id)
        if record is not None:
            self.terminate([record])
            return "ok"
        return "ok" if self.is_dynamic and self.lives[id] > 0 else "not_found"

    def restart_child(self, id: str) -> Any:
        record = self.find(id)
        if self.is_dynamic or record is None or record.pid != UNDEFINED:
            return self.in_the_way(record)
        return "start_failed" if self.start_one(record) == "failed" else record.pid

    def delete_child(self, id: str) -> Any:
        record = self.find(id)
        if self.is_dynamic or record is None or record.pid != UNDEFINED:
            return self.in_the_way(record)
        self.children.remove(record)
        return "ok"

    def in_the_way(self, record: Record | None) -> str:
        if self.is_dynamic:
            return "dynamic"
        if record is None:
            return "not_found"
        return "restarting" if record.pid == RESTARTING else "running"

    def change(self, flags: SupervisorFlags, specs: list[ChildSpec]) -> Any:
        becomes_dynamic = flags.strategy is Strategy.DYNAMIC
        if becomes_dynamic is not self.is_dynamic or (specs and becomes_dynamic):
            return "bad_spec"
        self.flags = flags
        listed = [self.find(spec.id) or Record(spec, UNDEFINED) for spec in specs]
        for record, spec in zip(listed, specs, strict=True):
            record.spec = spec
        self.children = listed + [record for record in self.children if record not in listed]
        return "ok"

    def which_children(self) -> Any:
        return [(record.spec.id, record.pid) for record in reversed(self.children)]

    def count_children(self) -> Any:
        """Only the specs: who is alive this instant is not for a model to say that handles everything afterwards."""
        return len(self.children)


def plain(call: str, result: Any) -> Any:
    """An answer of the machine in the words of `Otp`."""
    if isinstance(result, Refused):
        return result.why.value
    if isinstance(result, Accepted):
        if call in ("terminate_child", "delete_child", "change"):
            return "ok"
        return UNDEFINED if result.child is None else result.child.incarnation
    if isinstance(result, ChildCounts):
        return result.specs
    return [(view.id, view.child.incarnation if view.child else view.state) for view in result]


FATES = {"started": Fate(0, "started"), "ignored": Fate(0, "ignored"), "failed": Fate(0, CRASH)}
REASONS = [
    ExitReason.normal(),
    ExitReason.shutdown(),
    ExitReason.shutdown("done"),
    ExitReason.by_signal(15),
    ExitReason.by_signal(9),
    ExitReason.by_status(0),
    CRASH,
]
IDS = st.sampled_from("abcde")
CALLS = [
    "start_child", "terminate_child", "restart_child", "delete_child", "which_children", "count_children", "change",
]  # fmt: skip
OUTCOMES = st.lists(st.sampled_from(sorted(FATES)), min_size=1, max_size=3)
INTENSITIES, PERIODS = st.sampled_from([0, 1, 3, 8, 1000]), st.sampled_from([1, 5])
STATIC = st.sampled_from([Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
FLAGS = st.one_of(
    st.builds(SupervisorFlags, STATIC, INTENSITIES, PERIODS, st.sampled_from(AutoShutdown)),
    st.builds(SupervisorFlags, STATIC, INTENSITIES, PERIODS, st.sampled_from(AutoShutdown)),
    st.builds(SupervisorFlags, st.just(Strategy.DYNAMIC), INTENSITIES, PERIODS),
)
FIELDS = st.tuples(st.sampled_from(Restart), st.booleans(), st.sampled_from([0, 5000, *ShutdownRule]))


class Nobody:
    """A clerk who is not there: here the model is the judge."""

    def __getattr__(self, name: str) -> Any:
        return lambda *facts: None


class Agreement(RuleBasedStateMachine):
    """The same things are done to both, some of them at one instant, so that they meet in the mailbox."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[int, str] = {}

    @initialize(flags=FLAGS, fields=st.lists(FIELDS, max_size=5), unlucky=st.dictionaries(IDS, OUTCOMES, max_size=1))
    def begin(self, flags: SupervisorFlags, fields: list[Any], unlucky: dict[str, list[str]]) -> None:
        self.flags = flags
        chosen = [] if flags.strategy is Strategy.DYNAMIC else fields
        specs = [self.spec(id, *each) for id, each in zip("abcde", chosen, strict=False)]
        nobody: Any = Nobody()
        self.world = World(Supervisor(flags, specs), Script(), nobody)
        outcomes: dict[str, deque[str]] = defaultdict(deque)
        for id, planned in unlucky.items():
            self.world.script.starts[id] = [FATES[outcome] for outcome in planned]
            outcomes[id].extend(planned)
        self.otp = Otp(flags, specs, outcomes)
        self.world.boot()

    def spec(self, id: str, restart: Restart, significant: bool, shutdown: Any) -> ChildSpec:
        possible = restart is not Restart.PERMANENT and self.flags.auto_shutdown is not AutoShutdown.NEVER
        return ChildSpec(id, f"start {id}", restart, significant and possible, shutdown=shutdown)

    @property
    def going(self) -> bool:
        return self.otp.ended is None

    def both_work(self) -> None:
        self.world.run(self.world.now)
        self.otp.work(self.world.now)

    # ---- what can happen

    @rule(seconds=st.sampled_from([0.3, 1.0, 2.5, 7.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.run(self.world.now + seconds)

    @rule(id=IDS, outcomes=OUTCOMES)
    def the_next_starts_are_decided(self, id: str, outcomes: list[str]) -> None:
        self.world.script.starts[id] = [FATES[outcome] for outcome in outcomes]
        self.otp.outcomes[id] = deque(outcomes)

    @precondition(lambda self: self.going)
    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        self.happen(data)
        self.both_work()

    @precondition(lambda self: self.going)
    @rule(data=st.data(), times=st.integers(2, 5))
    def several_things_happen_at_once(self, data: st.DataObject, times: int) -> None:
        for _ in range(times):
            self.happen(data)
        self.both_work()

    @precondition(lambda self: self.going)
    @rule()
    def the_parent_stops_it(self) -> None:
        self.world.stop()
        self.otp.terminate(list(self.otp.children))
        self.otp.ended = "shutdown"

    def happen(self, data: st.DataObject) -> None:
        alive = sorted(id for id, state in self.world.states().items() if state == "running" and id in self.world.lives)
        somebody_dies: bool = data.draw(st.booleans()) if alive else False
        if somebody_dies:
            self.dies(data.draw(st.sampled_from(alive)), data.draw(st.sampled_from(REASONS)))
        else:
            self.is_called(data)

    def dies(self, id: str, reason: ExitReason) -> None:
        child = self.world.running(id)
        self.otp.dead[child] = reason
        self.otp.mailbox.append(("exit", child))
        self.world.drop(id, reason)

    def is_called(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(CALLS))
        arguments: tuple[Any, ...] = ()
        if call == "start_child":
            arguments = (self.spec(data.draw(IDS), *data.draw(FIELDS)),)
        elif call == "change":
            arguments = self.is_changed(data)
        elif call.endswith("child"):
            arguments = (data.draw(IDS),)
        token = len(self.calls)
        self.calls[token] = call
        self.otp.mailbox.append(("call", token, call, *arguments))
        self.world.ask(token, call, *arguments)

    def is_changed(self, data: st.DataObject) -> tuple[SupervisorFlags, list[ChildSpec]]:
        flags = data.draw(FLAGS)
        is_dynamic = self.flags.strategy is Strategy.DYNAMIC
        if (flags.strategy is Strategy.DYNAMIC) is is_dynamic:
            self.flags = flags
        ids = data.draw(st.lists(IDS, max_size=1 if is_dynamic else 4, unique=True))
        return flags, [self.spec(id, *data.draw(FIELDS)) for id in ids]

    # ---- in what they must agree

    @invariant()
    def they_agree_on_the_children(self) -> None:
        views = self.world.root.supervisor.snapshot()
        mine = [(view.id, view.child.incarnation if view.child else view.state) for view in views]
        assert not self.going or mine == [(record.spec.id, record.pid) for record in self.otp.children]
        running = {record.spec.id: record.pid for record in self.otp.children if isinstance(record.pid, int)}
        assert self.world.lives == running

    @invariant()
    def they_agree_on_the_reports(self) -> None:
        mine = [f"{note.kind.value} {note.child.id}" for note in self.world.notes if note.kind is not NoteKind.EXITED]
        assert mine == self.otp.reports

    @invariant()
    def they_agree_on_the_answers(self) -> None:
        mine = {token: plain(self.calls[token], result) for token, result in self.world.answers.items()}
        down = {token for token, answer in mine.items() if answer == Refusal.DOWN.value}
        assert {token: answer for token, answer in mine.items() if token not in down} == self.otp.answers
        assert self.going or set(mine) == set(self.calls)

    @invariant()
    def they_agree_on_the_end(self) -> None:
        assert (self.world.root.supervisor.phase is Phase.ENDED) is not self.going
        if self.world.root.ended is not None:
            assert self.world.root.ended.reason.kind.value == self.otp.ended


TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(
    max_examples=effort(60, 1000),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
