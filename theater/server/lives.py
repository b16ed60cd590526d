"""Lives of actors on behalf of users: start, stop, restart, remove, and start again what a home had.

Every method that cannot answer at once takes two functions and calls exactly one of them, from the loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from theater.core import component_contract
from theater.core.manifest import Durability, Manifest
from theater.core.supervision import Accepted, Refusal, Refused, Result
from theater.core.tree_file import ROOT
from theater.errors import ComponentError, DiskFull, NameTaken, TheaterError, UnknownActor, WrongState
from theater.log import Logger
from theater.server.cast import COMING, Actor, Cast, State, packed_manifest
from theater.server.crowd import Crowd
from theater.server.ledger import Ledger
from theater.server.loop import Loop
from theater.server.stage import OUTSIDE, Stage
from theater.server.switchboard import Switchboard
from theater.server.tree import Branch
from theater.server.wishes import Role, child_spec, member, new_actor, solo
from theater.server.workshop import Wish, Workshop
from theater.store.content import ContentStore
from theater.wasm.artefacts import Artefact

Failed = Callable[[TheaterError], None]


class Lives:
    """What users do with actors.

    Attributes:
        tops: the topmost supervisors, in the order of their start.
        crowd: how many actors there may be.
        stopping: the server is about to end, and starts nothing any more.
        on_removed: called when a user has removed an actor.
        when_whole: calls its argument once every supervisor of the tree knows its children, those asleep too.
    """

    def __init__(
        self,
        loop: Loop,
        cast: Cast,
        stage: Stage,
        switchboard: Switchboard,
        workshop: Workshop,
        content: ContentStore,
        ledger: Ledger,
        log: Logger,
    ) -> None:
        self._loop = loop
        self._cast = cast
        self._stage = stage
        self._directory = switchboard.directory
        self._switchboard = switchboard
        self._workshop = workshop
        self._content = content
        self._ledger = ledger
        self._log = log
        self.crowd = Crowd(cast)
        self.tops: list[Branch] = []
        self.stopping = False
        self.on_removed: Callable[[Actor], None] = lambda actor: None
        self.when_whole: Callable[[Callable[[], None]], None] = lambda action: action()
        stage.families.forget = self.forget

    # ---- starting

    def start(
        self,
        role: Role,
        on_up: Callable[[Actor], None],
        on_failed: Failed,
        on_progress: Callable[[str], None],
    ) -> None:
        """Starts a new actor under a supervisor of its own. Exactly one of `on_up`, `on_failed` is called."""
        self.refuse_while_stopping()

        def ready(artefact: Artefact) -> None:
            actor = new_actor(role, self._cast.next_number(), os.urandom(16))
            actor.artefact = artefact
            try:
                self.refuse_while_stopping()
                self.check(actor)
                self.crowd.admit(actor)
                self.enlist(actor)
            except TheaterError as error:
                on_failed(error)
            else:
                self._begin_solo(actor, lambda: on_up(actor), lambda error: self.discard(actor, error, on_failed))

        self.prepare(role.component, role.manifest, ready, on_failed, on_progress)

    def prepare(
        self,
        component: str,
        manifest: Manifest,
        on_ready: Callable[[Artefact], None],
        on_failed: Failed,
        on_progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Has a component compiled, if it has to be, as an actor with this manifest needs it."""
        self._workshop.prepare(component, manifest.limits.fuel is not None, Wish(on_ready, on_failed, on_progress))

    def check(self, actor: Actor) -> None:
        """Refuses a component that does not fit its manifest."""
        assert actor.artefact is not None
        if actor.program is not None:
            return  # The runner imports every interface; the seam refuses what is not granted.
        meta = actor.artefact.meta
        problems = component_contract.check(actor.manifest, _by_interface(meta.imports), _by_interface(meta.exports))
        if problems:
            raise ComponentError(f"{actor.where}: " + "; ".join(problems), problems=problems)

    def enlist(self, actor: Actor) -> None:
        """Makes the actor known, with its name; or leaves nothing of it, and raises."""
        is_new = self._cast.get(actor.id) is None
        if actor.manifest.actor.register:
            self._directory.register(actor.manifest.name, actor.id)
        try:
            self._cast.add(actor, keep=actor.parent is None)  # A child is kept when it is up and its parent is told.
            self.put_what_it_is(actor)
        except (OSError, TheaterError) as error:
            self._directory.release(actor.id)
            if is_new:
                self._cast.remove(actor)
            why = error.strerror if isinstance(error, OSError) else error.message
            raise DiskFull(f"the home does not take {actor.manifest.name}: {why}") from error
        if is_new:
            facts = {"actor": actor.id, "name": actor.manifest.name, "component": actor.component}
            self._ledger.event("started", {**facts, "parent": actor.parent})

    def put_what_it_is(self, part: Actor | Role) -> None:
        """Keeps the manifest, which chains name by its digest, and all else that they name as durably as they are kept.

        Raises:
            DiskFull, IntegrityError: the disk does not take it.
        """
        manifest = self._content.put(packed_manifest(part.manifest))
        if part.manifest.chain.durability is Durability.HOST:
            for digest in (manifest, part.component, part.program, part.init_state):
                if digest is not None:
                    self._content.make_durable(digest)

    def _begin_solo(self, actor: Actor, on_up: Callable[[], None], on_failed: Failed) -> None:
        """Gives the actor a supervisor of its own."""
        branch = Branch(solo(actor), self._loop, self._stage)
        actor.branch = branch
        actor.wanted = True
        self.tops.append(branch)
        branch.on_up = on_up

        def ended(_: object) -> None:
            if branch in self.tops:
                self.tops.remove(branch)
            if not branch.is_up:
                on_failed(self._stage.start_error(actor))

        branch.on_ended = ended
        branch.start()

    def discard(self, actor: Actor, error: TheaterError, on_failed: Failed) -> None:
        """A start that failed leaves no actor behind, as in OTP; its chain stays."""
        if self._cast.get(actor.id) is actor:
            self.forget(actor, error.message)
        on_failed(error)

    # ---- stopping and restarting

    def stop(self, actor: Actor, on_stopped: Callable[[], None], on_failed: Failed, *, ended_by: str = OUTSIDE) -> None:
        """Ends an actor by its shutdown rule and keeps it down; one that is down already stays so.

        Args:
            ended_by: id of the actor whose order it is.
        """
        self._want(actor, False)
        self._ledger.event("stop", {"actor": actor.id, "by": ended_by})
        if actor.branch is None and actor.in_tree:
            # Its supervisor has not come to it yet, and would start it after all.
            self.when_whole(lambda: self._stop(actor, on_stopped, on_failed, ended_by))
        else:
            self._stop(actor, on_stopped, on_failed, ended_by)

    def _stop(self, actor: Actor, on_stopped: Callable[[], None], on_failed: Failed, ended_by: str) -> None:
        branch = actor.branch
        if branch is None or branch.ended is not None:
            self._stage.rest(actor, actor.state if actor.state is State.FAILED else State.STOPPED)
            on_stopped()
            return
        was_between_lives = actor.worker is None and actor.state in COMING
        if actor.worker is not None:
            actor.worker.ended_by = ended_by

        def stopped() -> None:
            actor.wanted = False  # It may have been started again before its supervisor came to this order.
            self._stage.rest(actor, State.STOPPED)
            if was_between_lives:
                self._stage.families.tell_of_stop(actor, ended_by)
            on_stopped()

        def answer(result: Result) -> None:
            if isinstance(result, Refused) and result.why is Refusal.DOWN and branch.ended is None:
                branch.when_ended.append(stopped)
            elif isinstance(result, Refused) and result.why not in (Refusal.NOT_FOUND, Refusal.DOWN):
                on_failed(result.to_error())
            else:
                stopped()

        branch.call("terminate_child", answer, actor.id)

    def restart(self, actor: Actor, on_up: Callable[[], None], on_failed: Failed, *, ended_by: str = OUTSIDE) -> None:
        """Ends an actor, if it runs, and starts its next incarnation; also one that has given up.

        Args:
            ended_by: id of the actor whose order it is.
        """
        self.refuse_while_stopping()

        def again() -> None:
            try:
                self.refuse_while_stopping()
                self._start_again(actor, on_up, on_failed)
            except TheaterError as error:
                on_failed(error)

        self.stop(actor, again, on_failed, ended_by=ended_by)

    def _start_again(self, actor: Actor, on_up: Callable[[], None], on_failed: Failed) -> None:
        if self._cast.get(actor.id) is not actor:
            raise UnknownActor(f"{actor.manifest.name} was removed")
        actor.poison = ()
        parent = self._cast.get(actor.parent) if actor.parent is not None else None
        branch = parent.family if parent is not None else actor.branch
        ended = branch is None or branch.ended is not None
        if ended and actor.supervisor != ROOT:
            raise WrongState(f"the supervisor {actor.supervisor!r} of {actor.manifest.name} has ended")
        self.crowd.admit(actor)
        self.recall(actor)
        self._want(actor, True)
        if branch is None or branch.ended is not None:
            self.with_artefact(actor, lambda: self._begin_solo(actor, on_up, on_failed), on_failed)
            return
        actor.branch = branch
        spec = (branch.spec(actor.id) or child_spec(actor)) if parent is None else member(actor, parent)

        def answer(result: Result) -> None:
            if isinstance(result, Accepted):
                actor.restarts += 1
                on_up()
            elif isinstance(result, Refused) and result.why in (Refusal.NOT_FOUND, Refusal.DYNAMIC):
                branch.call("start_child", answer, spec, last_incarnation=actor.incarnation)
            elif isinstance(result, Refused):
                error = self._stage.refusal(actor, result)
                if result.why is Refusal.START_FAILED:
                    actor.wanted = not actor.in_tree  # A server that starts again must not end with it.
                    self._stage.rest(actor, State.FAILED)
                on_failed(error)

        self.with_artefact(actor, lambda: branch.call("restart_child", answer, actor.id), on_failed)

    def _want(self, actor: Actor, wanted: bool) -> None:
        """Notes what a user wants. He is told that it was done, so a server that starts again has to know it."""
        actor.wanted = wanted
        self._stage.keep(actor)

    def with_artefact(self, actor: Actor, go_on: Callable[[], None], on_failed: Failed) -> None:
        """Calls `go_on` once the actor's component is compiled."""

        def ready(artefact: Artefact) -> None:
            actor.artefact = artefact
            go_on()

        self.prepare(actor.component, actor.manifest, ready, on_failed)

    def remove(self, actor: Actor) -> None:
        """Forgets an actor that is down, with its children; their chains stay.

        Raises:
            WrongState: it is up.
        """
        if self._cast.get(actor.id) is not actor:
            return  # Somebody else removed it while it was being stopped.
        if actor.worker is not None or actor.state in (*COMING, State.STOPPING):
            raise WrongState(f"{actor.manifest.name} is {actor.state.value}; stop it first")
        self.forget(actor)
        self.on_removed(actor)

    def forget(self, actor: Actor, why: str | None = None) -> None:
        """Takes an actor that is down, and its children, out of the books. Who waits for one of them is told."""
        for child in self._cast.children(actor):
            self.forget(child, why)
        actor.state = State.STOPPED
        self._switchboard.actor_is_down(actor)
        self._cast.remove(actor)
        self._ledger.event("removed", {"actor": actor.id} if why is None else {"actor": actor.id, "why": why})

    # ---- the actors of a home

    def revive(self, actor: Actor) -> None:
        """Starts an actor that this home had, with its last state."""
        actor.state = State.STARTING
        actor.supervisor = ROOT
        self._await_parent(actor)
        try:
            self.recall(actor)
        except NameTaken as error:
            self._log.error("cannot start", actor=actor.id, why=error.message)
            self._stage.rest(actor, State.FAILED)
            return

        def failed(error: TheaterError) -> None:
            self._log.error("did not start again", actor=actor.id, why=error.message)
            self._stage.rest(actor, State.FAILED)

        self.with_artefact(actor, lambda: self._begin_solo(actor, lambda: None, failed), failed)

    def recall(self, actor: Actor) -> None:
        """Learns how far an actor had come that is to live again, and gives it its name back.

        Raises:
            NameTaken: another actor has its name.
        """
        self._stage.recall(actor)
        if actor.manifest.actor.register:
            self._directory.register(actor.manifest.name, actor.id)

    def _await_parent(self, parent: Actor) -> None:
        """The children of an actor that is about to start again come back with it, so it is worth waiting for them."""
        for child in self._cast.children(parent):
            if child.wanted and child.state is not State.FAILED:
                child.state = State.RESTARTING
                self._await_parent(child)

    def refuse_while_stopping(self) -> None:
        if self.stopping:
            raise WrongState("the server is stopping and starts nothing any more")


def _by_interface(functions: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for interface, function in functions:
        found.setdefault(interface, set()).add(function)
    return found
