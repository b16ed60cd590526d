"""What actors do with their children: have them started, stopped and started again, look at them, get them back.

An actor reaches its own descendants only. Each question of a worker is answered once, unless that life is over; what
takes time, compiling a component above all, is waited for without holding up anybody else.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from theater.core.codec import DIGEST_SIZE
from theater.core.exit_reason import ExitReason
from theater.core.held_limits import held
from theater.core.ids import is_id
from theater.core.supervision import Accepted, Refusal, Refused, Result
from theater.core.wire import Missing, Named, OfChild, Spawn, Told
from theater.errors import InvalidInput, LifecycleError, NameTaken, TheaterError, UnknownActor, WrongState, disk_error
from theater.log import Logger
from theater.server.cast import Actor, Cast, State
from theater.server.larder import Larder
from theater.server.lives import Lives
from theater.server.records import Records
from theater.server.stage import Stage, Worker
from theater.server.switchboard import Switchboard
from theater.server.tree import Branch
from theater.server.wishes import Role, member, new_actor
from theater.store.content import ContentStore
from theater.wasm.artefacts import Artefact


class Parenthood:
    """Answers `Spawn` and `OfChild`, and brings back the children of an actor that goes on."""

    def __init__(
        self,
        cast: Cast,
        stage: Stage,
        switchboard: Switchboard,
        lives: Lives,
        larder: Larder,
        records: Records,
        content: ContentStore,
        log: Logger,
    ) -> None:
        self._cast = cast
        self._stage = stage
        self._switchboard = switchboard
        self._lives = lives
        self._larder = larder
        self._records = records
        self._content = content
        self._log = log
        switchboard.on(Spawn, self._on_spawn)
        switchboard.on(OfChild, self._on_question)

    # ---- having children

    def _on_spawn(self, worker: Worker, wish: Spawn) -> None:
        def failed(error: TheaterError) -> None:
            self._switchboard.tell(worker, Missing(wish.number, error.to_wire()))

        try:
            self._spawn(worker, wish, failed)
        except TheaterError as error:
            failed(error)

    def _spawn(self, worker: Worker, wish: Spawn, failed: Callable[[TheaterError], None]) -> None:
        parent = worker.actor
        _living_family(worker)
        if not is_id(wish.child):
            raise InvalidInput(f"{wish.child!r} is no id of an actor")
        if len(wish.origin) != DIGEST_SIZE:
            raise InvalidInput(f"{wish.origin.hex()} is no digest of an entry")
        role = self._larder.role(parent, wish.manifest)
        role = replace(role, manifest=held(role.manifest, parent.manifest.limits))
        if wish.resume or wish.state is not None:
            role = replace(role, init_state=self._content.put(wish.state) if wish.state is not None else None)

        def ready(artefact: Artefact) -> None:
            name = role.manifest.name if role.manifest.actor.register else ""
            if self._switchboard.waits_for_fate(worker, name, lambda: ready(artefact)):
                return  # The parent may know that the owner of this name is dead, while that is still being settled.
            try:
                self._add(worker, wish, role, artefact, failed)
            except TheaterError as error:
                failed(error)

        self._lives.prepare(role.component, role.manifest, ready, failed)

    def _add(
        self, worker: Worker, wish: Spawn, role: Role, artefact: Artefact, failed: Callable[[TheaterError], None]
    ) -> None:
        """Makes the child known, and has it started."""
        family = _living_family(worker)  # Compiling has taken its time.
        self._lives.refuse_while_stopping()
        if self._cast.get(wish.child) is not None:
            raise WrongState(f"there is an actor {wish.child} already")
        child = new_actor(role, self._cast.next_number(), os.urandom(16))
        child.id, child.artefact = wish.child, artefact
        child.parent = child.supervisor = worker.actor.id
        child.parent_head = wish.origin
        child.resumed = wish.resume
        child.branch = family
        self._lives.check(child)
        self._lives.crowd.admit(child)
        self._lives.enlist(child)

        def answer(result: Result) -> None:
            if isinstance(result, Accepted):
                self._stage.keep(child)
                self._switchboard.tell(worker, Named(wish.number, child.id))
            elif isinstance(result, Refused):
                self._lives.discard(child, self._stage.refusal(child, result), failed)

        family.call("start_child", answer, member(child, worker.actor))

    # ---- getting them back

    def restore(self, parent: Actor) -> None:
        """The parent is up: the children come back that it had, and wanted, in the life it goes on from."""
        family = parent.family
        if family is None or not self._cast.children(parent):
            return
        missing = [
            child
            for child in self._cast.children(parent)
            if child.branch is not family and child.wanted and child.state is not State.FAILED
        ]
        for child in missing:
            child.manifest = held(child.manifest, parent.manifest.limits)  # The parent may be another by now.
            child.branch = family
            child.state = State.RESTARTING
        self._bring_back(parent, family, deque(missing))

    def _bring_back(self, parent: Actor, family: Branch, missing: deque[Actor]) -> None:
        """Has the next one started, and then the others; the machine keeps their order."""
        while missing and not self._is_missed(family, missing[0]):
            missing.popleft()
        if not missing:
            return
        child = missing.popleft()

        def failed(error: TheaterError) -> None:
            self._stay_away(child, error)
            self._bring_back(parent, family, missing)

        def answer(result: Result) -> None:
            if isinstance(result, Refused) and result.why is not Refusal.DOWN:
                self._did_not_come_back(child, parent, family, result)

        def ready() -> None:
            if self._is_missed(family, child):
                last = child.incarnation
                family.call("start_child", answer, member(child, parent), last_incarnation=last)
            self._bring_back(parent, family, missing)

        try:
            self._lives.recall(child)
        except NameTaken as error:
            failed(error)
        else:
            self._lives.with_artefact(child, ready, failed)

    def _is_missed(self, family: Branch, child: Actor) -> bool:
        """Whether a child is still to come back: time has passed, in which much may have happened."""
        known = self._cast.get(child.id) is child
        return known and child.wanted and child.branch is family and child.worker is None and family.ended is None

    def _did_not_come_back(self, child: Actor, parent: Actor, family: Branch, refused: Refused) -> None:
        """A supervisor whose child does not start has not started either (OTP 1.3.3), and so its own tries again; an
        actor that decides itself is told."""
        error = self._stage.refusal(child, refused)
        if parent.manifest.supervision.children is None or refused.reason is None:
            self._stay_away(child, error)
        else:
            self._log.error("did not come back", actor=child.id, why=error.message)
            family.stop(ExitReason.start_failed(child.manifest.name, refused.reason))

    def _stay_away(self, child: Actor, error: TheaterError) -> None:
        self._log.error("did not come back", actor=child.id, why=error.message)
        self._stage.rest(child, State.FAILED)
        self._stage.families.tell_of_failure(child, error)

    # ---- questions and orders

    def _on_question(self, worker: Worker, question: OfChild) -> None:
        def failed(error: TheaterError) -> None:
            self._switchboard.tell(worker, Missing(question.number, error.to_wire()))

        def told(value: object = None) -> None:
            self._switchboard.tell(worker, Told(question.number, value))

        parent = worker.actor
        try:
            if question.what == "list":
                told([child.id for child in self._cast.children(parent)])
                return
            child = self._descendant(parent, question.child)
            match question.what:
                case "stop":
                    self._lives.stop(child, told, failed, ended_by=parent.id)
                case "restart":
                    self._lives.restart(child, told, failed, ended_by=parent.id)
                case "state":
                    told(self._records.state(child).state)
                case "events":
                    told(self._records.newest(child))
                case unknown:
                    raise InvalidInput(f"{unknown!r} is nothing that can be asked about a child")
        except TheaterError as error:
            failed(error)
        except OSError as error:
            failed(disk_error(error, f"reading the chain of {question.child}"))

    def _descendant(self, parent: Actor, words: str) -> Actor:
        """The child, grandchild... of that id.

        Raises:
            UnknownActor: there is none; whether there is a stranger of that id is not said.
        """
        found = self._cast.get(words)
        if found is None or not self._cast.descends(found, parent):
            raise UnknownActor(f"{parent.manifest.name} has no child {words}, and no child of one")
        return found


def _living_family(worker: Worker) -> Branch:
    """The family of a life.

    Raises:
        LifecycleError: that life is over, or about to be.
        InvalidInput: it may have no children.
    """
    actor = worker.actor
    if not actor.is_parent:
        raise InvalidInput(f'{actor.manifest.name} may have no children: its manifest has no handler "supervisor"')
    if actor.worker is not worker or worker.asked_to_end or actor.family is None or actor.family.ended is not None:
        raise LifecycleError(f"{actor.manifest.name} is ending and has no more children")
    return actor.family
