"""The server put together, and what it does with actors on behalf of its users."""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from theater import config
from theater.bus.sockets import Context
from theater.config import Home
from theater.core import component_contract, ids
from theater.core.child_spec import ChildSpec, ChildType, SupervisorFlags
from theater.core.handlers import GRANTED_TO_ALL
from theater.core.manifest import Manifest
from theater.core.supervision import Accepted, Refusal, Refused, Result
from theater.core.tree_file import ROOT, ChildRow, SupervisorRow, TreeFile
from theater.errors import (
    ComponentError,
    DiskFull,
    NameTaken,
    TheaterError,
    UnknownActor,
    WrongState,
)
from theater.log import Logger
from theater.server.cast import COMING, Actor, Cast, State, packed_manifest, plain_manifest
from theater.server.control import Control
from theater.server.dead_letters import DeadLetters
from theater.server.ledger import Ledger
from theater.server.loop import Loop
from theater.server.nursery import Nursery
from theater.server.processes import Processes
from theater.server.stage import Stage
from theater.server.switchboard import Switchboard
from theater.server.tree import Bough, Branch, Twig
from theater.server.watch import Watch
from theater.server.workshop import Wish, Workshop
from theater.store.content import ContentStore
from theater.wasm.artefacts import Artefact, ArtefactCache

_WATCH_EVERY_S = 0.5
_TIDY_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Role:
    """What is needed to start an actor.

    Args:
        where: the manifest's file, for people.
        component, program, init_state: digests in the content store, hex.
    """

    manifest: Manifest
    where: str
    component: str
    program: str | None
    init_state: str | None


class House:
    """Everything that one server consists of."""

    def __init__(self, home: Home, log: Logger) -> None:
        self.home = home
        self.log = log
        self.version = importlib.metadata.version("theater")
        self.started_ms = time.time_ns() // 1_000_000
        self.loop = Loop()
        self.processes = Processes(self.loop)
        self.nursery = Nursery(self.loop, self.processes, log)
        self.nursery.start()  # Before any ZeroMQ context exists: the spawner must not inherit one.
        self.content = ContentStore(home.content)
        self.cast = Cast(home)
        self.cast.load()
        self.ledger = Ledger(home, log, self.version)
        self.dead_letters = DeadLetters(home.dead_letters, log)
        self.watch = Watch(self.loop, self.cast)
        self.workshop = Workshop(
            self.loop, self.processes, ArtefactCache(config.cache() / "artefacts"), self.content.path, log
        )
        self.stage = Stage(home, self.content, self.loop, self.processes, self.nursery, self.cast, self.ledger, log)
        self.context = Context()
        self.switchboard = Switchboard(home, self.context, self.loop, self.cast, self.stage, self.dead_letters, log)
        self.stage.switchboard = self.switchboard
        self.stage.on_ready = self._on_ready
        self.switchboard.on_grown = self.watch.changed
        self.ledger.on_change = self.watch.changed
        self.tops: list[Branch] = []
        self.root: Branch | None = None
        self.stopping = False
        self.failure: TheaterError | None = None
        self.control: Control | None = None
        self.on_root_ended: Callable[[], None] = self.loop.stop
        self._every(_WATCH_EVERY_S, self.stage.watch_over)
        self._every(_TIDY_EVERY_S, self._tidy)

    def refused(self) -> int:
        """Frames on both sockets that were no message."""
        return self.switchboard.refused + (self.control.refused if self.control is not None else 0)

    def find(self, words: str) -> Actor:
        return self.cast.find(words, self.switchboard.names())

    def put(self, content: bytes) -> str:
        """Keeps content; returns its digest, hex.

        Raises:
            DiskFull: the disk does not take it.
        """
        try:
            return self.content.put(content)
        except OSError as error:
            raise DiskFull(f"the content store cannot take {len(content)} bytes: {error.strerror}") from error

    # ---- starting

    def start(
        self,
        role: Role,
        on_up: Callable[[Actor], None],
        on_failed: Callable[[TheaterError], None],
        on_progress: Callable[[str], None],
    ) -> None:
        """Starts a new actor under a supervisor of its own. Exactly one of `on_up`, `on_failed` is called."""
        self._refuse_while_stopping()
        randomness = os.urandom(16)

        def ready(artefact: Artefact) -> None:
            actor = Actor(
                id=ids.root_id(randomness),
                number=self.cast.next_number(),
                manifest=role.manifest,
                where=role.where,
                component=role.component,
                program=role.program,
                init_state=role.init_state,
                randomness=randomness,
                started_ms=time.time_ns() // 1_000_000,
                artefact=artefact,
            )
            try:
                self._refuse_while_stopping()
                self._check(actor)
                self._enlist(actor)
            except TheaterError as error:
                on_failed(error)
            else:
                self._begin_solo(actor, lambda: on_up(actor), lambda error: self._discard(actor, error, on_failed))

        self.workshop.prepare(
            role.component, role.manifest.limits.fuel is not None, Wish(ready, on_failed, on_progress)
        )

    def _check(self, actor: Actor) -> None:
        """Refuses a component that does not fit its manifest."""
        assert actor.artefact is not None
        if actor.program is not None:
            return  # The runner imports every interface; the seam refuses what is not granted.
        meta = actor.artefact.meta
        problems = component_contract.check(actor.manifest, _by_interface(meta.imports), _by_interface(meta.exports))
        if problems:
            raise ComponentError(f"{actor.where}: " + "; ".join(problems), problems=problems)

    def _enlist(self, actor: Actor) -> None:
        """Makes the actor known, with its name; or leaves nothing of it, and raises."""
        is_new = self.cast.get(actor.id) is None
        if actor.manifest.actor.register:
            self.switchboard.directory.register(actor.manifest.name, actor.id)
        try:
            self.cast.add(actor)
            self.put_manifest(actor)
        except (OSError, TheaterError) as error:
            self.switchboard.directory.release(actor.id)
            if is_new:
                self.cast.remove(actor)
            why = error.strerror if isinstance(error, OSError) else error.message
            raise DiskFull(f"the home does not take {actor.manifest.name}: {why}") from error
        self.ledger.event("started", {"actor": actor.id, "name": actor.manifest.name, "component": actor.component})

    def put_manifest(self, actor: Actor) -> None:
        """Keeps the manifest in the content store, where its digest in the genesis finds it."""
        self.content.put(packed_manifest(actor.manifest))

    def _begin_solo(self, actor: Actor, on_up: Callable[[], None], on_failed: Callable[[TheaterError], None]) -> None:
        """Gives the actor a supervisor of its own."""
        supervision = actor.manifest.supervision
        flags = SupervisorFlags(intensity=supervision.intensity, period=supervision.period)
        branch = Branch(Bough(actor.id, flags, (_child_spec(actor),)), self.loop, self.stage)
        actor.branch = branch
        actor.wanted = True
        self.tops.append(branch)
        branch.on_up = on_up

        def ended(_: object) -> None:
            if branch in self.tops:
                self.tops.remove(branch)
            if not branch.is_up:
                on_failed(self.stage.start_error(actor))

        branch.on_ended = ended
        branch.start()

    def _discard(self, actor: Actor, error: TheaterError, on_failed: Callable[[TheaterError], None]) -> None:
        """A start that failed leaves no actor behind, as in OTP; its chain stays."""
        self.switchboard.directory.release(actor.id)
        self.cast.remove(actor)
        self.ledger.event("removed", {"actor": actor.id, "why": error.message})
        on_failed(error)

    # ---- stopping and restarting

    def stop_actor(
        self, actor: Actor, on_stopped: Callable[[], None], on_failed: Callable[[TheaterError], None]
    ) -> None:
        """Ends an actor by its shutdown rule and keeps it down; one that is down already stays so."""
        actor.wanted = False
        self.ledger.event("stop", {"actor": actor.id})
        branch = actor.branch
        if branch is None or branch.ended is not None:
            self.stage.rest(actor, actor.state if actor.state is State.FAILED else State.STOPPED)
            on_stopped()
            return

        def answer(result: Result) -> None:
            if isinstance(result, Refused) and result.why not in (Refusal.NOT_FOUND, Refusal.DOWN):
                on_failed(result.to_error())
                return
            self.stage.rest(actor, State.STOPPED)
            on_stopped()

        branch.call("terminate_child", answer, actor.id)

    def restart_actor(self, actor: Actor, on_up: Callable[[], None], on_failed: Callable[[TheaterError], None]) -> None:
        """Ends an actor, if it runs, and starts its next incarnation; also one that has given up."""
        self._refuse_while_stopping()

        def stopped() -> None:
            try:
                self._start_again(actor, on_up, on_failed)
            except TheaterError as error:
                on_failed(error)

        self.stop_actor(actor, stopped, on_failed)

    def _start_again(self, actor: Actor, on_up: Callable[[], None], on_failed: Callable[[TheaterError], None]) -> None:
        if self.cast.get(actor.id) is not actor:
            raise UnknownActor(f"{actor.manifest.name} was removed")
        actor.poison = ()
        branch = actor.branch
        if actor.manifest.actor.register:
            self.switchboard.directory.register(actor.manifest.name, actor.id)
        if branch is None or branch.ended is not None:
            if actor.supervisor != ROOT:
                raise WrongState(f"the supervisor {actor.supervisor!r} of {actor.manifest.name} has ended")
            self._with_artefact(actor, lambda: self._begin_solo(actor, on_up, on_failed), on_failed)
            return
        actor.wanted = True

        def answer(result: Result) -> None:
            if isinstance(result, Accepted):
                actor.restarts += 1
                on_up()
            elif isinstance(result, Refused) and result.why is Refusal.NOT_FOUND:
                branch.call("start_child", answer, _child_spec(actor), last_incarnation=actor.incarnation)
            elif isinstance(result, Refused):
                on_failed(self.stage.start_error(actor) if result.why is Refusal.START_FAILED else result.to_error())

        branch.call("restart_child", answer, actor.id)

    def _with_artefact(
        self, actor: Actor, go_on: Callable[[], None], on_failed: Callable[[TheaterError], None]
    ) -> None:
        def ready(artefact: Artefact) -> None:
            actor.artefact = artefact
            go_on()

        wish = Wish(ready, on_failed, lambda text: None)
        self.workshop.prepare(actor.component, actor.manifest.limits.fuel is not None, wish)

    def remove(self, actor: Actor) -> None:
        """Forgets an actor that is down; its chain stays.

        Raises:
            WrongState: it is up.
        """
        if self.cast.get(actor.id) is not actor:
            return  # Somebody else removed it while it was being stopped.
        if actor.worker is not None or actor.state in COMING:
            raise WrongState(f"{actor.manifest.name} is {actor.state.value}; stop it first")
        self.switchboard.directory.release(actor.id)
        self.cast.remove(actor)
        self.ledger.event("removed", {"actor": actor.id})

    # ---- the actors of a home, and a tree

    def revive(self, tree: TreeFile | None, roles: Mapping[str, Role]) -> None:
        """Starts the actors that this home had, with their last state, and the tree.

        Args:
            tree: supervisors and children, or None.
            roles: by child name, what the tree's children are.
        """
        of_tree = {actor.manifest.name: actor for actor in self.cast if actor.supervisor != ROOT or actor.in_tree}
        for actor in list(self.cast):
            if tree is not None and of_tree.get(actor.manifest.name) is actor and actor.manifest.name in roles:
                continue
            if actor.wanted and actor.state is not State.FAILED:
                self._revive(actor)
        if tree is not None:
            self._grow(tree, roles, of_tree)

    def _revive(self, actor: Actor) -> None:
        actor.state = State.STARTING
        self.stage.recall(actor)
        try:
            if actor.manifest.actor.register:
                self.switchboard.directory.register(actor.manifest.name, actor.id)
        except NameTaken as error:
            self.log.error("cannot start", actor=actor.id, why=error.message)
            self.stage.rest(actor, State.FAILED)
            return

        def failed(error: TheaterError) -> None:
            self.log.error("did not start again", actor=actor.id, name=actor.manifest.name, why=error.message)
            self.stage.rest(actor, State.FAILED)

        self._with_artefact(actor, lambda: self._begin_solo(actor, lambda: None, failed), failed)

    def _grow(self, tree: TreeFile, roles: Mapping[str, Role], known: Mapping[str, Actor]) -> None:
        """Starts the supervisors of a tree, once all components are ready."""
        actors: dict[str, Actor] = {}
        missing = set(roles)

        def ready(name: str, artefact: Artefact) -> None:
            actors[name].artefact = artefact
            missing.discard(name)
            if not missing:
                self._plant(tree, actors)

        def failed(name: str, error: TheaterError) -> None:
            self.log.error("the tree cannot start", child=name, why=error.message)
            self.failure = error
            self.loop.stop()

        for row in (row for row in tree.rows if isinstance(row, ChildRow)):
            role = roles[row.name]
            actor = known.get(row.name) or self._recruit(role)
            actor.manifest, actor.where, actor.component = role.manifest, role.where, role.component
            actor.program, actor.init_state = role.program, role.init_state
            actor.supervisor, actor.in_tree, actor.wanted = row.under, True, True
            self.stage.recall(actor)
            actors[row.name] = actor
        for name, role in roles.items():
            wish = Wish(
                lambda artefact, name=name: ready(name, artefact),  # type: ignore[misc]
                lambda error, name=name: failed(name, error),  # type: ignore[misc]
                lambda text, name=name: self.log.info(text, child=name),  # type: ignore[misc]
            )
            self.workshop.prepare(role.component, role.manifest.limits.fuel is not None, wish)
        if not roles:
            self._plant(tree, actors)

    def _recruit(self, role: Role) -> Actor:
        randomness = os.urandom(16)
        return Actor(
            id=ids.root_id(randomness),
            number=0,
            manifest=role.manifest,
            where=role.where,
            component=role.component,
            program=role.program,
            init_state=role.init_state,
            randomness=randomness,
            started_ms=time.time_ns() // 1_000_000,
        )

    def _plant(self, tree: TreeFile, actors: Mapping[str, Actor]) -> None:
        try:
            for actor in actors.values():
                self._check(actor)
                if actor.number == 0:
                    actor.number = self.cast.next_number()
                self._enlist(actor)
        except TheaterError as error:
            self.log.error("the tree cannot start", why=error.message)
            self.failure = error
            self.loop.stop()
            return
        self.root = Branch(_bough(tree, tree.root, actors), self.loop, self.stage)
        self.root.on_ended = self._root_ended
        self.tops.append(self.root)
        self.root.start()

    def _root_ended(self, ended: Any) -> None:
        if self.root in self.tops:
            self.tops.remove(self.root)
        if not self.stopping:
            self.log.error("the root supervisor has ended", reason=ended.reason.describe())
            self.failure = TheaterError(f"the root supervisor {ended.reason.describe()}")
            self.on_root_ended()

    # ---- looking

    def row(self, actor: Actor) -> dict[str, Any]:
        """The published fields of an actor (DESIGN 7)."""
        self.stage.current_mark(actor)
        return {
            "id": actor.id,
            "name": actor.manifest.name,
            "state": actor.state.value,
            "incarnation": actor.incarnation,
            "restarts": actor.restarts,
            "pid": actor.worker.pid if actor.worker is not None else None,
            "parent": actor.parent,
            "supervisor": actor.supervisor,
            "mailbox": self.switchboard.waiting_for(actor),
            "head": actor.head.digest.hex() if actor.head is not None else None,
            "entries": actor.head.entries if actor.head is not None else 0,
            "last_exit": actor.last_exit.to_dict() if actor.last_exit is not None else None,
        }

    def inspection(self, actor: Actor) -> dict[str, Any]:
        """All that is known of an actor."""
        worker = actor.worker
        gauges = worker.pulse.read_gauges() if worker is not None and worker.pulse is not None else (0, 0, 0)
        since = worker.pulse.call_since() if worker is not None and worker.pulse is not None else None
        supervision = actor.manifest.supervision
        meta = actor.artefact.meta if actor.artefact is not None else None
        return {
            **self.row(actor),
            "registered": self.switchboard.directory.names(actor.id),
            "handlers": sorted(actor.manifest.handler_types | GRANTED_TO_ALL),
            "manifest": plain_manifest(actor.manifest),
            "manifest_file": actor.where,
            "component_digest": actor.component,
            "program_digest": actor.program,
            "mode": meta.mode.value if meta is not None else None,
            "mode_reason": meta.reason if meta is not None else None,
            "memory": gauges[1],
            "state_size": gauges[2],
            "started_ms": actor.started_ms,
            "call": {"for_ms": (time.monotonic_ns() - since) // 1_000_000} if since is not None else None,
            "supervision": {
                "restart": supervision.restart.value,
                "shutdown": supervision.shutdown,
                "state": supervision.state.value,
                "intensity": supervision.intensity,
                "period": supervision.period,
            },
            "dead_letters": self.dead_letters.count_for(actor.id),
        }

    # ---- the end

    def stop(self, on_stopped: Callable[[], None]) -> None:
        """Ends all actors in reverse order of their start, one after the other, then every process."""
        self.stopping = True
        self.watch.end_all()

        def next_one(_: object = None) -> None:
            if not self.tops:
                self._end_processes(on_stopped)
                return
            branch = self.tops[-1]
            before = branch.on_ended

            def ended(command: Any) -> None:
                if before is not None:
                    before(command)
                if branch in self.tops:
                    self.tops.remove(branch)
                next_one()

            if branch.ended is not None:
                self.tops.remove(branch)
                next_one()
            else:
                branch.on_ended = ended
                branch.stop()

        next_one()

    def _end_processes(self, on_stopped: Callable[[], None]) -> None:
        self.ledger.checkpoint(list(self.cast))
        self.nursery.close()
        self.workshop.close()
        deadline = self.loop.now() + 5.0

        def look() -> None:
            if not self.processes.alive or self.loop.now() > deadline:
                on_stopped()
                return
            if self.loop.now() > deadline - 3.0:
                for pid in self.processes.alive:
                    self.processes.kill(pid)
            self.loop.after(0.01, look)

        look()

    def close(self) -> None:
        """Lets go of sockets and files."""
        self.ledger.event("server-stopped", {})
        self.ledger.close()
        self.switchboard.close()
        self.context.close()
        self.loop.close()

    # ---- small things

    def _on_ready(self, actor: Actor) -> None:
        self.watch.attend(actor.id)

    def _refuse_while_stopping(self) -> None:
        if self.stopping:
            raise WrongState("the server is stopping and starts nothing any more")

    def _every(self, seconds: float, action: Callable[[], None]) -> None:
        def again() -> None:
            action()
            self.loop.after(seconds, again)

        self.loop.after(seconds, again)

    def _tidy(self) -> None:
        self.nursery.sweep(self.stage.breeds_in_use())
        self.watch.tidy()


def _child_spec(actor: Actor, row: ChildRow | None = None) -> ChildSpec:
    """The actor as a child: by its manifest, where a tree's row does not say otherwise."""
    supervision = actor.manifest.supervision
    restart = row.restart if row is not None and row.restart is not None else supervision.restart
    shutdown = row.shutdown if row is not None and row.shutdown is not None else supervision.shutdown
    significant = row.significant if row is not None and row.significant is not None else supervision.significant
    return ChildSpec(actor.id, Twig(actor.id), restart, significant and row is not None, shutdown=shutdown)


def _bough(tree: TreeFile, supervisor: SupervisorRow, actors: Mapping[str, Actor]) -> Bough:
    """A supervisor of a tree with everything under it, in the order of the file."""
    children: list[ChildSpec] = []
    for row in tree.under(supervisor.name):
        if isinstance(row, ChildRow):
            children.append(_child_spec(actors[row.name], row))
        else:
            below = _bough(tree, row, actors)
            spec = ChildSpec(row.name, below, row.restart, row.significant, ChildType.SUPERVISOR)
            children.append(spec)
    flags = SupervisorFlags(supervisor.strategy, supervisor.intensity, supervisor.period, supervisor.auto_shutdown)
    return Bough(supervisor.name, flags, tuple(children))


def _by_interface(functions: Sequence[tuple[str, str]] | frozenset[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for interface, function in functions:
        found.setdefault(interface, set()).add(function)
    return found


__all__ = ["House", "Role"]
