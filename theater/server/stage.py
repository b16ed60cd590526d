"""Lives of actors: from an order in the nursery to a judged exit.

A life begins when a supervisor's machine says so, is up when the worker reports `Ready`, and ends when its process
has been reaped. Before an end is announced to anybody its reason is known, its head is in the record, and nobody
waits for it any more; before it is announced to the supervisor, the actor's children have ended, too (families.py).
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from theater.bus.ends import Gone
from theater.bus.links import Link
from theater.config import Home
from theater.core import schema
from theater.core.child_spec import ShutdownRule
from theater.core.codec import content_digest, pack
from theater.core.exit_reason import ExitKind, ExitReason
from theater.core.handlers import GRANTED_TO_ALL
from theater.core.manifest import Manifest
from theater.core.permissions.environment import Environment
from theater.core.permissions.filesystem import Filesystem
from theater.core.process_bounds import nice
from theater.core.pulse import SIZE, Pulse
from theater.core.secrets import message_digest
from theater.core.supervision import ChildRef, Note, NoteKind, Phase, Refusal, Refused
from theater.core.watchdog import Watchdog
from theater.core.wire import Pardon, Stop
from theater.errors import StartFailed, TheaterError
from theater.log import Logger
from theater.server import autopsy
from theater.server.cast import COMING, Actor, Cast, State, packed_manifest
from theater.server.cgroups import Group, Groups
from theater.server.families import Families
from theater.server.ledger import Ledger
from theater.server.loop import Alarm, Loop
from theater.server.nursery import Breed, Newborn, Nursery, Order
from theater.server.oom import OomKills
from theater.server.processes import Ended, Processes
from theater.server.services import Services
from theater.server.tree import Branch, Twig
from theater.server.vault import Vault
from theater.store.content import ContentStore
from theater.wasm.artefacts import Artefact
from theater.worker.assignment import Assignment, Limits

if TYPE_CHECKING:
    from theater.server.switchboard import Switchboard

_POISON_KEPT = 100
_DESCRIPTORS_KEPT = 64
_USUAL_WEIGHT = 100
_LARGEST_ENVIRONMENT = 64 << 10
_AS_ASKED = frozenset({ExitKind.SHUTDOWN, ExitKind.KILLED})

OUTSIDE = "outside"
"""Whose order an end was that no actor has given."""


@dataclass(slots=True, eq=False)
class Worker:
    """One life.

    Args:
        line: its link to the supervisor, once it is born.
        met: the lives that it has been given a link to.
        is_due: it will be heard in this turn.
        branch, child: the supervisor and the child that it is.
        overdue: why the server killed it, if it did so on its own account.
        by_link: it did so because another actor had ended; what this one was doing is not to blame.
        successor_of: number of the life before it; 0 for the first.
        patience: of an actor that has children: how long it has to end once they have.
        verdict: why its family has ended by its own decision, so that it ends, too.
        asked_to_end: a supervisor has asked for its end.
        ended_by: whose order that was: an actor's id, or `OUTSIDE`; None for the supervisor's own rules.
        spoke_to_parent: it knew the address of its parent's present life.
        watchdog: watches its progress, if its manifest wants that.
        group: the control group that it is in, if there are any.
        queued: seconds that it had waited for a processor when the watchdog looked last.
    """

    actor: Actor
    incarnation: int
    branch: Branch
    child: ChildRef
    successor_of: int = 0
    patience: int | ShutdownRule | None = None
    order: Order | None = None
    pid: int | None = None
    line: Link | None = None
    met: set[tuple[str, int]] = field(default_factory=set)
    is_due: bool = False
    page: mmap.mmap | None = None
    pulse: Pulse | None = None
    alarm: Alarm | None = None
    ready: bool = False
    overdue: ExitReason | None = None
    by_link: bool = False
    verdict: ExitReason | None = None
    asked_to_end: bool = False
    ended_by: str | None = None
    spoke_to_parent: bool = False
    outstanding: dict[int, Any] = field(default_factory=dict)
    watchdog: Watchdog | None = None
    queued: float = 0.0
    group: Group | None = None


class Stage:
    """Plays what the supervisors' machines decide."""

    def __init__(
        self,
        home: Home,
        content: ContentStore,
        loop: Loop,
        processes: Processes,
        nursery: Nursery,
        cast: Cast,
        ledger: Ledger,
        log: Logger,
    ) -> None:
        self._home = home
        self._content = content
        self._loop = loop
        self._processes = processes
        self._nursery = nursery
        self._cast = cast
        self._ledger = ledger
        self._log = log
        self.switchboard: Switchboard | None = None
        self.groups = Groups.none()
        self.oom_kills = OomKills()
        self.families = Families(home, content, loop, cast, self)
        self._vault = Vault(home, os.environ)
        self.services: Services | None = None
        self._paused: dict[str, float] = {}
        self.on_ready: Callable[[Actor], None] = lambda actor: None
        self.on_supervisor: Callable[[Branch], None] = lambda branch: None
        self.on_supervisor_down: Callable[[str], None] = lambda name: None
        self.lives_of_supervisor: Callable[[str], int] = lambda name: 0

    # ---- what a supervisor's machine asks for

    def begin(self, twig: Twig, incarnation: int, branch: Branch, child: ChildRef) -> None:
        found = self._cast.get(twig.actor)
        if found is not None:
            found.renew()
        if found is None or found.artefact is None:
            branch.start_failed(child, ExitReason.error("its component is not ready"))
            return
        if found.worker is not None:
            branch.start_failed(child, ExitReason.error(f"its incarnation {found.worker.incarnation} is not over"))
            return
        again = found.incarnation > 0 and found.last_exit is not None and branch.machine.phase is Phase.RUNNING
        if again and found.id not in self._paused:
            self._ledger.event("restarting", {"actor": found.id, "old": found.incarnation, "delay_ms": 0})
        self._paused.pop(found.id, None)
        found.state = State.RESTARTING if again else State.STARTING
        found.branch = branch
        taken = self._take_name(found)
        if taken is not None:
            branch.start_failed(child, ExitReason.error(taken))
            return
        worker = Worker(found, incarnation, branch, child, found.incarnation, twig.patience)
        found.incarnation = incarnation
        found.worker = worker
        found.wanted = True  # One that had ended, or was stopped, comes back with its siblings (OTP 1.6.3).
        if self.switchboard is not None:
            self.switchboard.comes_back(found)
        self.families.begin(worker)
        self._order(worker, found.artefact)

    def _take_name(self, actor: Actor) -> str | None:
        """Gives the actor the name of its manifest, which is not its own any more if it had ended for good before its
        supervisor started it again; returns why it cannot have it."""
        if self.switchboard is None or not actor.manifest.actor.register:
            return None
        try:
            self.switchboard.directory.register(actor.manifest.name, actor.id)
        except TheaterError as error:
            return error.message
        return None

    def expect(self, actors: Iterable[str]) -> None:
        """These are about to begin, one after the other."""
        found = (self._cast.get(actor) for actor in actors)
        breeds = Counter(self._breed(actor, actor.artefact) for actor in found if actor and actor.artefact)
        for breed, count in breeds.items():
            self._nursery.expect(breed, count)

    def ask_to_end(self, actor: str, *, comes_back: bool) -> None:
        worker = self._worker(actor)
        if worker is None:
            return
        worker.actor.state = State.RESTARTING if comes_back else State.STOPPING
        worker.asked_to_end = True
        if worker.pid is None:
            self._withdraw(worker, ExitReason.shutdown())
        else:
            self.families.end(worker.actor, lambda: self._ask(worker))

    def end_with_family(self, worker: Worker, verdict: ExitReason) -> None:
        """The actor's family has ended by its own decision, so the actor does."""
        worker.verdict = verdict
        if worker.pid is None:
            self._withdraw(worker, verdict)
        else:
            self._ask(worker)

    def kill(self, actor: str) -> None:
        found = self._cast.get(actor)
        if found is None:
            return
        self.families.kill(found)
        worker = found.worker
        if worker is None:
            return
        worker.asked_to_end = True
        if worker.pid is None:
            self._withdraw(worker, ExitReason.killed())
        else:
            worker.overdue = worker.overdue or ExitReason.killed()
            self._processes.kill(worker.pid)

    def pauses(self, child: ChildRef, seconds: float) -> None:
        self._paused[child.id] = self._loop.now() + seconds
        delay_ms = round(seconds * 1000)
        self._ledger.event("restarting", {"actor": child.id, "old": child.incarnation, "delay_ms": delay_ms})
        actor = self._cast.get(child.id)
        if actor is not None and self.switchboard is not None:
            self.switchboard.comes_back(actor)

    def attempt_at(self, actor: str) -> float | None:
        """When the next attempt is made to start an actor that its supervisor has paused; on the loop's clock."""
        return self._paused.get(actor)

    def end_with(self, worker: Worker, reason: ExitReason) -> None:
        """Kills a worker that was linked to one that has ended, for this reason; one that is dying already may die."""
        if worker.pid is None or worker.overdue is not None:
            return
        worker.overdue, worker.by_link = reason, True
        self._processes.kill(worker.pid)

    def end_at_fault(self, worker: Worker, fault: str) -> None:
        """Kills a worker that has said what none of ours says: something else speaks in its place."""
        if worker.pid is None or worker.overdue is not None:
            return
        self._log.error("a worker broke the rules of the bus and is killed", actor=worker.actor.id, why=fault)
        worker.overdue = ExitReason.error(f"its process broke the rules of the bus: {fault}")
        self._processes.kill(worker.pid)

    def last_incarnation(self, actor: str) -> int:
        found = self._cast.get(actor)
        return found.incarnation if found is not None else self.lives_of_supervisor(actor)

    def note(self, branch: Branch, note: Note) -> None:
        actor = self._cast.get(note.child.id)
        if actor is None:
            return
        facts = {"actor": actor.id, "name": actor.manifest.name, "incarnation": note.child.incarnation}
        if note.kind is NoteKind.GAVE_UP:
            # The one who gives up says so: the last reason stays visible as the offender's.
            because = note.reason.describe() if note.reason is not None else "was restarted too often"
            branch.offence = f"{actor.manifest.name} ({actor.id}) {because}"
            self._ledger.event("gave-up", {**facts, "supervisor": branch.name, "why": because})
            self._log.error("gave up: restarted too often", supervisor=branch.name, **facts)
            if branch.name == actor.id:
                actor.last_exit = ExitReason.gave_up(note.reason.describe() if note.reason else None)
        elif note.kind is NoteKind.START_ERROR and note.reason is not None:
            actor.last_exit = note.reason
            self._say(actor, f"did not start: {note.reason.describe()}")
            self.families.tell_of_failed_restart(actor, note.child, note.reason)
            self._log.warning("did not start", why=note.reason.describe(), **facts)
        elif note.kind in (NoteKind.SHUTDOWN_ERROR, NoteKind.UNKILLABLE):
            why = note.reason.describe() if note.reason else "it outlived its kill"
            self._log.warning("did not end in order", why=why, **facts)

    def supervisor_begins(self, branch: Branch) -> None:
        self.on_supervisor(branch)

    def gave_up(self, branch: Branch) -> None:
        """A supervisor has ended: its actors that are down stay down, unless it or their parent may come back."""
        owner = self._cast.get(branch.name)
        if owner is not None and owner.family is branch:
            return
        ended = branch.ended
        failed = ended is not None and ended.reason.kind in (ExitKind.GAVE_UP, ExitKind.START_FAILED)
        for actor in self._cast:
            if actor.branch is branch and actor.worker is None and actor.state is not State.STOPPED:
                if actor.wanted and branch.may_return:
                    actor.state = State.RESTARTING
                else:
                    self.rest(actor, State.FAILED if failed else State.STOPPED)
        self.on_supervisor(branch)

    def stays_down(self, actor: str) -> None:
        found = self._cast.get(actor)
        if found is None:
            self.on_supervisor_down(actor)
        if found is not None and found.worker is None and found.state in (*COMING, State.STOPPING):
            if not found.in_transit:
                found.wanted = False  # It has done its work: a server that starts again leaves it be, even one that
                self.keep(found)  # does so because this one is killed at once.
            self.rest(found, State.STOPPED)
            self.families.tidy(found)

    def rest(self, actor: Actor, state: State) -> None:
        """The actor is down and nobody is about to start it: those who wait for it are told, its names are free."""
        if actor.state is not state:
            self._ledger.event(state.value, {"actor": actor.id, "incarnation": actor.incarnation})
        actor.state = state
        self._save(actor)
        if self.switchboard is not None:
            self.switchboard.actor_is_down(actor)
        if self.services is not None:
            self.services.rest(actor)
        self.families.rest(actor)

    # ---- birth

    def _order(self, worker: Worker, artefact: Artefact) -> None:
        order = Order(
            lambda newborn: self._assign(worker, artefact, newborn), lambda error: self._not_born(worker, error)
        )
        worker.order = order
        self._nursery.order(self._breed(worker.actor, artefact), order)

    def _assign(self, worker: Worker, artefact: Artefact, newborn: Newborn) -> None:
        """Tells a process who it is."""
        actor = worker.actor
        worker.order = None
        try:
            secrets = self._vault.open(actor)
            environment = _environment(actor.manifest)
        except TheaterError as error:
            self._turn_away(newborn)
            self._not_born(worker, error)
            return
        try:
            page = _share_page(worker)
        except OSError as error:
            self._turn_away(newborn)
            self._not_born(worker, StartFailed(f"the server cannot share a page with a worker: {error.strerror}"))
            return
        try:
            newborn.line.send(pack(self._assignment(worker, secrets, environment).to_plain()), descriptor=page)
        except Gone:
            # A spare that was killed while it was nobody yet. That is not the end of this life: another takes it up.
            self._turn_away(newborn)
            self._order(worker, artefact)
            return
        worker.pid = newborn.pid
        worker.line = newborn.line
        actor.comes_to_life(self._loop.now())
        if self.switchboard is not None:
            self.switchboard.attend(worker)
        if self.services is not None:
            self.services.introduce(worker)
        self._ledger.event("spawned", {"actor": actor.id, "incarnation": worker.incarnation, "pid": newborn.pid})
        facts = {"name": actor.manifest.name, "incarnation": worker.incarnation}
        self._processes.introduce(newborn.pid, process="worker", actor=actor.id, **facts)
        self._bound(worker, newborn.pid)
        self._processes.adopt(newborn.pid, lambda ended: self._ended(worker, ended))

    def _bound(self, worker: Worker, pid: int) -> None:
        """Holds a process from outside to the limits that its manifest has."""
        actor, limits, groups = worker.actor, worker.actor.manifest.limits, self.groups
        worker.group = groups.admit(actor.id, worker.incarnation, pid, limits, self._log)
        if limits.cpu_weight != _USUAL_WEIGHT and (worker.group is None or "cpu" not in groups.controllers):
            with contextlib.suppress(OSError):  # It has ended; or only root may raise what is usual.
                os.setpriority(os.PRIO_PROCESS, pid, nice(limits.cpu_weight))

    def _turn_away(self, newborn: Newborn) -> None:
        newborn.line.close()
        self._nursery.is_up(newborn.pid)
        self._processes.adopt(newborn.pid, lambda ended: None)

    def _assignment(self, worker: Worker, secrets: str | None, environment: dict[str, str]) -> Assignment:
        actor, manifest = worker.actor, worker.actor.manifest
        limits = manifest.limits
        permissions = {handler.type: schema.plain(handler.permissions) for handler in manifest.handlers}
        services = self.services.admit(worker) if self.services is not None else ()
        return Assignment(
            actor=actor.id,
            name=manifest.name,
            parent=actor.parent,
            parent_head=actor.parent_head,
            incarnation=worker.incarnation,
            folder=str(self._home.actor(actor.id)),
            content=str(self._home.content),
            labels=str(self._home.labels),
            handlers=tuple(sorted(manifest.handler_types | GRANTED_TO_ALL)),
            permissions=permissions,
            where=actor.where,
            services=services,
            environment=environment,
            state_policy=manifest.supervision.state.value,
            durability=manifest.chain.durability.value,
            limits=Limits(
                memory=limits.memory,
                call_timeout=limits.call_timeout / 1000 if limits.call_timeout is not None else None,
                request_timeout=limits.request_timeout / 1000,
                fuel=limits.fuel,
                mailbox=limits.mailbox,
                state=limits.state,
                message=limits.message,
                record=limits.record,
                log=limits.log,
                chain=limits.chain,
                messages_per_second=limits.messages_per_second,
                cpu=limits.cpu,
                descriptors=limits.descriptors,
            ),
            known=actor.head,
            manifest_digest=content_digest(packed_manifest(manifest)),
            randomness=actor.randomness,
            component=actor.component,
            program=actor.program,
            init_state=actor.init_state,
            resumed=actor.resumed,
            poison=actor.poison,
            state_root=manifest.chain.state_root,
            snapshot=(manifest.chain.snapshot.entries, manifest.chain.snapshot.bytes)
            if manifest.chain.snapshot
            else None,
            secrets=tuple(each.name for each in manifest.secrets),
            secrets_folder=secrets,
        )

    def _not_born(self, worker: Worker, error: TheaterError) -> None:
        worker.order = None
        self._over(worker, ExitReason.error(error.message))

    def _ask(self, worker: Worker) -> None:
        """Asks a worker to end, and kills it when its own patience is over; where it has none, its supervisor does."""
        if worker.actor.worker is not worker or worker.pid is None:
            return  # It has died meanwhile.
        if worker.ready and self.switchboard is not None:
            self.switchboard.tell(worker, Stop())
        else:
            self._processes.kill(worker.pid, signal.SIGTERM)
        patience = 0 if worker.patience is ShutdownRule.BRUTAL_KILL else worker.patience
        if isinstance(patience, int):
            worker.alarm = self._loop.after(patience / 1000, lambda: self._lose_patience(worker))

    def _lose_patience(self, worker: Worker) -> None:
        if worker.actor.worker is worker and worker.pid is not None:
            worker.overdue = worker.overdue or ExitReason.killed()
            self._processes.kill(worker.pid)

    def _withdraw(self, worker: Worker, reason: ExitReason) -> None:
        """Ends a life that has not been born yet."""
        if worker.order is not None:
            worker.order.cancelled = True
            worker.order = None
        self._over(worker, reason)

    def ready(self, worker: Worker) -> None:
        """The worker reports that its actor is up."""
        if worker.ready or worker.actor.worker is not worker:
            return
        worker.ready = True
        if worker.pid is not None:
            self._nursery.is_up(worker.pid)
        actor = worker.actor
        if worker.incarnation > 1 and actor.state is State.RESTARTING:
            actor.restarts += 1
            self._say(actor, f"restarted, incarnation {worker.incarnation}")
        if actor.state in COMING:
            actor.state = State.RUNNING
        self._ledger.event("ready", {"actor": actor.id, "incarnation": worker.incarnation})
        if worker.successor_of:
            self._ledger.event("restarted", {"actor": actor.id, "old": worker.successor_of, "new": worker.incarnation})
        self.current_mark(actor)
        facts = {"actor": actor.id, **actor.facts()}
        self._loop.later(lambda: self._log.info("running", **facts))
        worker.branch.started(worker.child)
        self._save(actor)
        self.on_ready(actor)

    # ---- death

    def _ended(self, worker: Worker, ended: Ended) -> None:
        """The process is reaped."""
        rests_until = worker.actor.used(self._loop.now(), ended.user_seconds + ended.system_seconds)
        if rests_until is not None:
            worker.branch.rests(worker.child, rests_until)
        reason = self._judge(worker, ended)
        if worker.group is not None:
            self.groups.dismiss(worker.group)
        if worker.pulse is not None:
            self._examine(worker, reason)
        facts: dict[str, object] = {
            "actor": worker.actor.id,
            "incarnation": worker.incarnation,
            "pid": worker.pid,
            **reason.to_dict(),
            "user_ms": int(ended.user_seconds * 1000),
            "system_ms": int(ended.system_seconds * 1000),
            "max_rss": ended.max_rss,
        }
        worker.actor.last_usage = {name: facts[name] for name in ("user_ms", "system_ms", "max_rss")}
        self._ledger.checkpoint([worker.actor])
        self._ledger.event("exited", facts)
        self._over(worker, reason)

    def _judge(self, worker: Worker, ended: Ended) -> ExitReason:
        words = worker.pulse.read_last_words() if worker.pulse is not None else None
        asked = worker.asked_to_end or worker.verdict is not None
        if worker.pid is not None and (offence := self._nursery.warden.offence(worker.pid)) is not None:
            return ExitReason.trap("hostile", offence)
        oom_kills: autopsy.OomKills = self.oom_kills
        if worker.group is not None and worker.group.counts_memory:
            oom_kills = worker.group
            if oom_kills.claim():
                self.oom_kills.claim()  # The machine has counted it, too, and nobody else is to blame.
        reason = autopsy.judge(ended, words, worker.overdue, asked=asked, oom_kills=oom_kills)
        if worker.asked_to_end:
            return reason.as_commanded()
        return worker.verdict if worker.verdict is not None and reason.kind in _AS_ASKED else reason

    def _examine(self, worker: Worker, reason: ExitReason) -> None:
        """Reads from the chain what the dead worker had done last."""
        assert worker.pulse is not None
        known = worker.pulse.read_mark() or worker.actor.head
        guests_doing = not worker.by_link and autopsy.is_guests_doing(reason)
        last_call = worker.pulse.last_call() if guests_doing else None
        chain, durable = self._home.chain(worker.actor.id), worker.actor.is_durable
        found = autopsy.examine(chain, known, last_call, durable=durable)
        actor = worker.actor
        actor.head = found.mark
        message = found.last_message
        if message is None or not guests_doing:
            return
        digest, times = actor.killer
        times = times + 1 if digest == message else 1
        actor.killer = (message, times)
        if times >= actor.manifest.supervision.poison and message not in actor.poison:
            actor.poison = (*actor.poison, message)[-_POISON_KEPT:]

    def _over(self, worker: Worker, reason: ExitReason) -> None:
        """The life is over: clean up, tell, and let the supervisor decide."""
        actor = worker.actor
        actor.worker = None
        actor.last_exit = reason
        if worker.pid is not None:
            self._nursery.is_up(worker.pid)
        if worker.alarm is not None:
            worker.alarm.cancel()
        self._say(actor, f"ended: {reason.describe()}")
        level = 20 if reason.is_normal or reason.commanded else 30
        facts = {"actor": actor.id, **actor.facts()}
        self._loop.later(lambda: self._log.log(level, "ended", **facts, why=reason.describe()))
        if self.switchboard is not None:
            worker.spoke_to_parent = self.switchboard.directory.has_asked(actor.id, actor.parent or "")
            self.switchboard.worker_is_dead(worker, reason)
        if self.services is not None:
            self.services.dismiss(worker)
        if actor.state is State.RUNNING:
            actor.state = State.RESTARTING
        self.families.end(actor, lambda: self._announce(worker, reason))
        if worker.pulse is not None and worker.page is not None:
            worker.pulse.release()
            worker.page.close()
        worker.pulse = worker.page = None

    def _announce(self, worker: Worker, reason: ExitReason) -> None:
        """Nobody is left, neither the worker nor the actor's children."""
        self.families.tell(worker, reason)
        if worker.ready or worker.asked_to_end:
            worker.branch.exited(worker.child, reason)
        else:
            worker.branch.start_failed(worker.child, reason)

    def pardon(self, actor: Actor, body: bytes) -> None:
        """A message may be tried again although it has ended the actor."""
        digest = self.known_as(actor, body)
        actor.poison = tuple(other for other in actor.poison if other != digest)
        actor.killer = (b"", 0)
        if actor.worker is not None and self.switchboard is not None:
            self.switchboard.tell(actor.worker, Pardon(digest))

    def known_as(self, actor: Actor, body: bytes) -> bytes:
        """What a message to an actor is called in its `poison`."""
        return message_digest(body, self._vault.veil(actor.id))

    # ---- what chains say of actors

    def recall(self, actor: Actor) -> None:
        """Learns from its chain what a server that was killed had not written into the actor's row."""
        actor.head = autopsy.examine(self._home.chain(actor.id), actor.head, None, durable=actor.is_durable).mark
        if actor.head is not None:
            actor.incarnation = max(actor.incarnation, actor.head.incarnation)

    def current_mark(self, actor: Actor) -> None:
        """Brings `actor.head` up to date."""
        if actor.worker is not None and actor.worker.pulse is not None:
            actor.head = actor.worker.pulse.read_mark() or actor.head

    def live_workers(self) -> list[Worker]:
        return [actor.worker for actor in self._cast if actor.worker is not None]

    def breeds_in_use(self) -> set[Breed]:
        return {
            self._breed(actor, actor.artefact)
            for actor in self._cast
            if actor.artefact is not None and (actor.worker is not None or actor.state in COMING)
        }

    def start_error(self, actor: Actor) -> StartFailed:
        """Why the actor is not up, as an error for who asked for it."""
        reason = actor.last_exit
        because = reason.describe() if reason is not None else "it ended"
        facts = reason.to_dict() if reason is not None else {}
        return StartFailed(f"{actor.manifest.name} did not start: it {because}", **facts)

    def refusal(self, actor: Actor, refused: Refused) -> TheaterError:
        """Why the actor's supervisor did not start it, as an error for who asked for it."""
        if refused.why is not Refusal.START_FAILED or refused.reason is None:
            return refused.to_error()
        actor.last_exit = refused.reason
        return self.start_error(actor)

    # ---- small things

    def _worker(self, actor: str) -> Worker | None:
        found = self._cast.get(actor)
        return found.worker if found is not None else None

    def _breed(self, actor: Actor, artefact: Artefact) -> Breed:
        program = str(self._content.path(actor.program)) if actor.program is not None else None
        cache, stages, home = str(artefact.path.parent), str(self._home.run), str(self._home.root)
        return Breed(cache, actor.component, artefact.meta.fuel, program, stages, home, _folders(actor))

    def _save(self, actor: Actor) -> None:
        """Writes the row soon. Nobody waits for that: what a killed server had not written, the chain says too."""
        self._loop.later(lambda: self.keep(actor))

    def keep(self, actor: Actor) -> None:
        """Writes the row now."""
        if self._cast.get(actor.id) is not actor:
            return
        try:
            self._cast.save(actor)
        except OSError as error:
            self._log.error("cannot write the actor's row", actor=actor.id, why=str(error))

    def _say(self, actor: Actor, text: str) -> None:
        incarnation = actor.incarnation
        self._loop.later(lambda: self._ledger.system_line(actor.id, incarnation, text))


def _folders(actor: Actor) -> tuple[tuple[str, bool, int], ...]:
    """The folders that an actor is granted, with whether it may change them, and which they are now: one that is
    replaced is another one to the walls of a process."""
    granted = next((each.permissions for each in actor.manifest.handlers if each.type == "filesystem"), None)
    beside = os.path.dirname(actor.where)
    if not isinstance(granted, Filesystem) or not os.path.isabs(beside):
        return ()
    placed = granted.placed(beside)
    return tuple((path, path in placed.write, _number(path)) for path in sorted({*placed.read, *placed.write}))


def _number(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _environment(manifest: Manifest) -> dict[str, str]:
    """What the actor may see of the server's environment.

    Raises:
        StartFailed: it is more than an assignment has room for.
    """
    granted = next((each.permissions for each in manifest.handlers if each.type == "environment"), None)
    if not isinstance(granted, Environment):
        return {}
    found = {name: _readable(value) for name, value in granted.of(os.environ).items()}
    if len(pack(found)) > _LARGEST_ENVIRONMENT:
        raise StartFailed(
            f"the variables that {manifest.name} may see have over {_LARGEST_ENVIRONMENT} bytes; grant fewer of them"
        )
    return found


def _readable(value: str) -> str:
    """A variable's value as text; bytes that are none are replaced."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _share_page(worker: Worker) -> int:
    """Makes the page of a worker's pulse; returns the descriptor to give it.

    Raises:
        OSError: there is no memory, or there are too few descriptors left. ZeroMQ ends the process when it can accept
            no connection for want of one, so the last are kept for that. A new descriptor has the lowest number that
            is free, so its number says how many are in use.
    """
    if worker.page is not None and worker.pulse is not None:
        worker.pulse.release()
        worker.page.close()
    page = os.memfd_create(f"pulse {worker.actor.id[:8]}", os.MFD_CLOEXEC)
    try:
        if page + _DESCRIPTORS_KEPT >= resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        os.ftruncate(page, SIZE)
        worker.page = mmap.mmap(page, SIZE)
    except OSError:
        os.close(page)
        raise
    worker.pulse = Pulse(memoryview(worker.page))
    return page
