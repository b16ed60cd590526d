"""One apply: a tree file comes to a tree that runs.

First everything is checked, and nothing is changed if anything is wrong: components are made ready and matched to their
manifests, names are free, the supervisors' machines would take their specs. Then the home keeps the new tree, which is
the moment from which a killed server comes back with it. Then it is carried out (core/tree_change.py says what):

1. All supervisors learn of the new tree, from the root down, as OTP's code change has it: nobody is started or stopped
   by that. What is to end is wished no more from here on, so no restart brings it back.
2. What is pruned or moved ends and is taken out, in reverse order of starting.
3. What was moved becomes known in its new place.
4. What begins is started, in order. A start that fails concerns nobody else, and is told.

A supervisor may be restarted at any moment of that, by a child that crashes too often: the one above it knows the new
tree already. So whoever is not found is looked for again, until the time is over.
"""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from theater.core.child_spec import Strategy, check_supervisor
from theater.core.supervision import Accepted, Refusal, Refused, Result
from theater.core.tree_change import Step, TreeChange, Verdict, compare
from theater.core.tree_file import ROOT, ChildRow, Row, SupervisorRow, TreeFile
from theater.errors import NameTaken, SpecError, StartFailed, TheaterError, TimedOut, WrongState
from theater.server.cast import COMING, Actor, State, plain_manifest
from theater.server.grove import Failed, Grove, Kind, has_failed, in_turn, kind_of
from theater.server.tree import Bough, Branch
from theater.server.wishes import Application, Role, application, bough, new_actor
from theater.wasm.artefacts import Artefact

_PATIENCE_S: Final = 10.0
"""How long a supervisor that is between two lives is waited for."""

_AGAIN_S: Final = 0.02

_HOLDS_ALREADY: Final = frozenset(
    {Refusal.RUNNING, Refusal.RESTARTING, Refusal.ALREADY_STARTED, Refusal.ALREADY_PRESENT}
)

Next = Callable[[], None]
PlanStep = Callable[[Next], None]


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a tree is to be applied.

    Args:
        prune: what the file does not list is stopped and removed.
        restart_changed: children with another manifest or component begin a new life with it.
        dry_run: it is only said what would be done.
    """

    prune: bool = False
    restart_changed: bool = False
    dry_run: bool = False


@dataclass(slots=True, eq=False)
class Graft:
    """One apply.

    Args:
        wished: the tree.
        on_done: called with what was done with each row, or would be.
        on_failed: called instead when nothing was changed.
        on_progress: called with what is being done, for a person.
    """

    grove: Grove
    wished: Application
    wishes: Wishes
    on_done: Callable[[list[dict[str, Any]]], None]
    on_failed: Failed
    on_progress: Callable[[str], None]
    errors: dict[str, TheaterError] = field(default_factory=dict)
    before: TreeFile = field(init=False)
    change: TreeChange = field(init=False)
    parts: dict[str, Actor] = field(init=False)
    pruned: dict[str, Actor] = field(default_factory=dict)

    def begin(self) -> None:
        """Goes to work; ends in `on_done` or `on_failed`."""
        self.grove.prepare(self.wished.roles, self._decide, self.on_failed, self.on_progress)

    # ---- checking

    def _decide(self, artefacts: Mapping[Kind, Artefact]) -> None:
        try:
            self._refuse_while_stopping()
            self._plan(artefacts)
            idle = self.wishes.dry_run or self.change.is_empty
            if not idle:
                self._commit()
        except TheaterError as error:
            self.on_failed(error)
            return
        if idle:
            self._report()
        else:
            self._carry_out()

    def _plan(self, artefacts: Mapping[Kind, Artefact]) -> None:
        """What is to be done; `parts` are the actors as they will be, the real ones being untouched."""
        grove, self.before = self.grove, self.grove.applied.tree
        known = grove.known()
        self.parts = {
            name: self._part(role, known.get(name), artefacts[kind_of(role)])
            for name, role in self.wished.roles.items()
        }
        renewed = {
            name: keys
            for name, actor in grove.actors.items()
            if name in self.wished.roles and (keys := self._renewed(actor, self.wished.roles[name]))
        }
        self.change = compare(
            self.before,
            self.wished.tree,
            prune=self.wishes.prune,
            restart_changed=self.wishes.restart_changed,
            renewed=renewed,
            failed=self._failed(),
            resting={name for name, actor in grove.actors.items() if _rests(actor)},
        )
        for name, actor in grove.actors.items():
            self.parts.setdefault(name, actor)
        self._check_names()
        self._check_specs(bough(self.change.tree, self.change.tree.root, self.parts), grove.root)

    def _part(self, role: Role, known: Actor | None, artefact: Artefact) -> Actor:
        if known is None:
            part = new_actor(role, 0, os.urandom(16))
        else:
            part = dataclasses.replace(known)
            part.take(role)
        part.artefact, part.in_tree = artefact, True
        self.grove.ground.lives.check(part)
        return part

    def _renewed(self, actor: Actor, role: Role) -> tuple[str, ...]:
        """In which parts the role is another than the actor is, or will be with its next life.

        Whoever asks for restarts wants the next life to come; one who has not asked is told of a change once.
        """
        told = actor.renewal is not None and not self.wishes.restart_changed
        return _differences(actor.renewal[0] if told and actor.renewal else _role_of(actor), role)

    def _refuse_while_stopping(self) -> None:
        if self.grove.ground.lives.stopping:
            raise WrongState("the server is stopping and starts nothing any more")

    def _failed(self) -> set[str]:
        grove = self.grove
        actors = {name for name, actor in grove.actors.items() if actor.state is State.FAILED and actor.worker is None}
        rows = grove.applied.tree.supervisors
        return actors | {
            row.name for row in rows if grove.standing(row.name).down and has_failed(grove.standing(row.name))
        }

    def _check_names(self) -> None:
        directory = self.grove.ground.directory
        for name, part in self.parts.items():
            owner = directory.owner(name)
            if part.manifest.actor.register and owner not in (None, part.id):
                raise NameTaken(f"the name {name!r} belongs to actor {owner}", name=name, owner=owner)
            if part.number and name not in self.grove.actors and (part.worker or part.state in COMING):
                raise WrongState(f"{name} runs by itself, out of the tree; stop it first")

    def _check_specs(self, wish: Bough, branch: Branch | None) -> None:
        """Refuses what a machine would refuse, with the names of actors where it would give their ids."""
        try:
            check_supervisor(wish.flags, wish.children)
        except SpecError as error:
            sentence = error.message
            for name, part in self.parts.items():
                sentence = sentence.replace(part.id, name)
            raise SpecError(f"{wish.name}: {sentence}", **error.details) from error
        if branch is not None and branch is self.grove.root:
            self._check_root(wish, branch)
        for spec in wish.children:
            if isinstance(spec.start, Bough):
                self._check_specs(spec.start, None)

    def _check_root(self, wish: Bough, root: Branch) -> None:
        if (wish.flags.strategy is Strategy.DYNAMIC) is not (root.machine.flags.strategy is Strategy.DYNAMIC):
            raise WrongState("the root supervisor cannot become dynamic, or cease to be, while it runs")

    # ---- the moment from which it counts

    def _commit(self) -> None:
        """Makes new actors known and keeps the tree.

        Raises:
            DiskFull, NameTaken: it cannot be, and nothing has been changed.
        """
        grove, tree = self.grove, self.change.tree
        roles = {row.name: self._role(row.name) for row in tree.children}
        new = [self.parts[name] for name in roles if self.parts[name].number == 0]
        admitted: list[Actor] = []
        try:
            for name in self.wished.roles.keys() & self._touched():
                grove.put_manifest(self.parts[name])
            for part in new:
                part.number = grove.ground.cast.next_number()
                grove.ground.lives.crowd.admit(part)
                grove.ground.lives.enlist(part)
                admitted.append(part)
            leaving = (actor.id for name, actor in grove.actors.items() if name not in roles)
            grove.keep(application(self.wished.where, tree, roles), leaving)
        except TheaterError:
            for part in admitted:
                grove.ground.directory.release(part.id)
                grove.ground.cast.remove(part)
            raise
        self._adopt(application(self.wished.where, tree, roles))
        beginning = self._supervisors(Verdict.ADDED, Verdict.STARTED, Verdict.MOVED)
        grove.transfer(self._supervisors(Verdict.MOVED), beginning)
        self._record()

    def _touched(self) -> set[str]:
        return {step.row.name for step in self.change.steps if step.verdict not in (Verdict.UNCHANGED, Verdict.KEPT)}

    def _supervisors(self, *verdicts: Verdict) -> list[str]:
        return [step.row.name for step in self.change.of(*verdicts) if isinstance(step.row, SupervisorRow)]

    def _role(self, name: str) -> Role:
        return self.wished.roles[name] if name in self.wished.roles else self.grove.applied.roles[name]

    def _adopt(self, applied: Application) -> None:
        """The actors learn what they will be with their next life."""
        grove, ground = self.grove, self.grove.ground
        known = grove.known()
        actors: dict[str, Actor] = {}
        touched = self._touched()
        transient = {step.row.name for step in self.change.of(Verdict.MOVED, Verdict.RESTARTED)}
        for row in applied.tree.children:
            actor, part = known[row.name], self.parts[row.name]
            actors[row.name] = actor
            actor.supervisor, actor.in_tree = row.under, True
            in_transit = row.name in transient and not _rests(actor)
            if row.name in self.wished.roles:
                self._recast(actor, self.wished.roles[row.name], part)
            actor.in_transit = in_transit
            if row.name in touched:
                ground.stage.keep(actor)
        self.pruned = {name: actor for name, actor in grove.actors.items() if name not in actors}
        grove.applied, grove.actors = applied, actors

    def _recast(self, actor: Actor, role: Role, part: Actor) -> None:
        """A life that is under way keeps what it was given; one that is not finds the new."""
        assert part.artefact is not None
        actor.renewal = (role, part.artefact)
        if actor.worker is None:
            actor.renew()
        elif not _differences(_role_of(actor), role):
            actor.renewal = None

    def _record(self) -> None:
        done: dict[str, list[str]] = {}
        for step in self.change.steps:
            if step.verdict is not Verdict.UNCHANGED:
                done.setdefault(step.verdict.value, []).append(step.row.name)
        self.grove.ground.ledger.event("tree-changed", {"file": self.wished.where, **done})

    # ---- carrying out

    def _carry_out(self) -> None:
        grove, tree, root = self.grove, self.change.tree, self.grove.root
        assert root is not None, "applies wait until the tree has grown"
        moved = {step.row.name for step in self.change.of(Verdict.MOVED)}
        unmoved, whole = bough(tree, tree.root, grove.actors, moved), bough(tree, tree.root, grove.actors)
        steps: list[PlanStep] = [lambda done: grove.sync(root, unmoved, done)]
        steps += [self._ending(row) for row in self.change.ends]
        steps += [self._bury]
        if moved:
            steps += [lambda done: grove.sync(root, whole, done)]
        steps += [self._beginning(step) for step in self.change.begins]
        in_turn(steps, self._report)

    def _ending(self, row: Row) -> PlanStep:
        return lambda done: self._end(row, self._deadline(), done)

    def _end(self, row: Row, until: float, done: Next) -> None:
        """Stops a row and takes it out. A supervisor that is not there has nothing that runs, and will not have it."""
        branch = self.grove.branch(row.under, self.before)
        if branch is None:
            self.grove.ground.loop.soon(done)
            return
        key = self._key(row)

        def again() -> None:
            if self._now() < until:
                self._later(lambda: self._end(row, until, done))
            else:
                self._failed_row(row, TimedOut(f"{row.name} was started again and again while it was to end"), done)

        def stopped(result: Result) -> None:
            if isinstance(result, Refused) and result.why is Refusal.DOWN:
                again()
            elif isinstance(result, Refused) and result.why is Refusal.UNKILLABLE:
                self._failed_row(row, result.to_error(), done)
            else:
                branch.call("delete_child", deleted, key)

        def deleted(result: Result) -> None:
            if isinstance(result, Accepted) or (isinstance(result, Refused) and result.why is Refusal.NOT_FOUND):
                done()
            else:
                again()  # Its siblings were all restarted just then, and it with them.

        self.on_progress(f"stopping {row.name}")
        branch.call("terminate_child", stopped, key)

    def _bury(self, done: Next) -> None:
        """Forgets what was pruned, and lets what was moved rest until it begins in its new place."""
        ground = self.grove.ground
        for row in (*self.change.ends, *(step.row for step in self.change.of(Verdict.MOVED, Verdict.PRUNED))):
            actor = self._actor(row)
            if actor is not None and actor.worker is None and actor.state is not State.FAILED:
                ground.stage.rest(actor, State.STOPPED)
        ground.kept.retain({ROOT, *(row.name for row in self.change.tree.supervisors)})
        for name, actor in self.pruned.items():
            self.grove.release(actor)
            try:
                ground.lives.remove(actor)
            except TheaterError as error:
                self.errors[name] = error
        ground.loop.soon(done)

    def _beginning(self, step: Step) -> PlanStep:
        until = self._deadline
        if step.verdict is Verdict.RESTARTED:
            return lambda done: self._end_life(step.row, until(), lambda: self._start(step.row, until(), done))
        return lambda done: self._start(step.row, until(), done)

    def _end_life(self, row: Row, until: float, done: Next) -> None:
        """Ends the present life of a child, so that the next can be begun."""
        actor = self._actor(row)
        branch = self.grove.branch(row.under)
        if actor is None or actor.renewal is None or branch is None:
            self.grove.ground.loop.soon(done)  # It has begun its new life already, or will do so with its supervisor.
            return

        def answer(result: Result) -> None:
            if isinstance(result, Refused) and result.why is Refusal.DOWN and self._now() < until:
                self._later(lambda: self._end_life(row, until, done))
            elif isinstance(result, Refused) and result.why is Refusal.UNKILLABLE:
                self._failed_row(row, result.to_error(), done)
            else:
                done()

        branch.call("terminate_child", answer, actor.id)

    def _start(self, row: Row, until: float, done: Next) -> None:
        """Starts a row that its supervisor knows and that does not run; one that runs already is started."""
        branch = self.grove.branch(row.under)
        if branch is None or branch.ended is not None:
            if self._now() < until:
                self._later(lambda: self._start(row, until, done))
            else:
                self._failed_row(row, WrongState(f"its supervisor {row.under} is down"), done)
            return
        key, actor = self._key(row), self._actor(row)
        if actor is not None and actor.worker is None:
            actor.wanted, actor.state = True, State.STARTING

        def answer(result: Result) -> None:
            if not isinstance(result, Refused) or result.why in _HOLDS_ALREADY:
                done()
            elif result.why is Refusal.DOWN:
                self._later(lambda: self._start(row, until, done))
            elif result.why is Refusal.NOT_FOUND and (spec := branch.spec(key)) is not None:
                lived = self.grove.ground.stage.last_incarnation(key)
                branch.call("start_child", answer, spec, last_incarnation=lived)
            else:
                self._did_not_start(row, result, done)

        self.on_progress(f"starting {row.name}")
        branch.call("restart_child", answer, key)

    def _did_not_start(self, row: Row, refused: Refused, done: Next) -> None:
        """It stays down: a server that starts again must not fail with it."""
        ground, actor = self.grove.ground, self._actor(row)
        if actor is not None:
            actor.wanted = False
            ground.stage.rest(actor, State.FAILED)
            self._failed_row(row, ground.stage.refusal(actor, refused), done)
            return
        self.grove.mark_down(row.name)
        for child in self.change.tree.all_under(row.name):
            below = self._actor(child)
            if below is not None and below.worker is None:
                ground.stage.rest(below, State.FAILED)
        why = refused.reason.describe() if refused.reason is not None else refused.to_error().message
        self._failed_row(row, StartFailed(f"{row.name} did not start: it {why}"), done)

    def _failed_row(self, row: Row, error: TheaterError, done: Next) -> None:
        self.errors[row.name] = error
        self.grove.ground.log.warning("a part of the tree was not applied", row=row.name, why=error.message)
        done()

    def _report(self) -> None:
        self.grove.in_transit = frozenset()
        self.on_done([self._told(step) for step in self.change.steps])

    def _told(self, step: Step) -> dict[str, Any]:
        row, error = step.row, self.errors.get(step.row.name)
        actor = self._actor(row)
        return {
            "name": row.name,
            "kind": "child" if isinstance(row, ChildRow) else "supervisor",
            "under": None if row.name == ROOT else row.under,
            "id": actor.id if actor is not None and actor.number else None,
            "done": step.verdict.value,
            "changed": list(step.keys),
            "error": error.to_wire() if error is not None else None,
        }

    # ---- small things

    def _actor(self, row: Row) -> Actor | None:
        if not isinstance(row, ChildRow):
            return None
        return self.pruned.get(row.name) or self.grove.actors.get(row.name) or self.parts.get(row.name)

    def _key(self, row: Row) -> str:
        """Under which its supervisor's machine knows a row."""
        actor = self._actor(row)
        return actor.id if actor is not None else row.name

    def _deadline(self) -> float:
        return self._now() + _PATIENCE_S

    def _now(self) -> float:
        return self.grove.ground.loop.now()

    def _later(self, action: Next) -> None:
        self.grove.ground.loop.after(_AGAIN_S, action)


def _role_of(actor: Actor) -> Role:
    """What the actor is in its present life."""
    return Role(actor.manifest, actor.where, actor.component, actor.program, actor.init_state)


def _differences(now: Role, then: Role) -> tuple[str, ...]:
    """In which parts two roles differ."""
    parts = ("component", "program", "init_state")
    changed = tuple(part for part in parts if getattr(now, part) != getattr(then, part))
    return changed if plain_manifest(now.manifest) == plain_manifest(then.manifest) else ("manifest", *changed)


def _rests(actor: Actor) -> bool:
    """Whether an actor is down because somebody stopped it, or because it has done its work."""
    return actor.worker is None and not actor.wanted and actor.state is State.STOPPED


class Grafts:
    """Applies, one after the other, once the tree has grown."""

    def __init__(self, grove: Grove) -> None:
        self._grove = grove
        self._waiting: deque[Graft] = deque()
        self._at_work = False

    def add(self, graft: Graft) -> None:
        """Carries it out when its turn comes."""
        done, failed = graft.on_done, graft.on_failed
        graft.on_done = lambda rows: self._over(lambda: done(rows))
        graft.on_failed = lambda error: self._over(lambda: failed(error))
        self._waiting.append(graft)
        self._next()

    def _over(self, answer: Callable[[], None]) -> None:
        self._at_work = False
        answer()
        self._next()

    def _next(self) -> None:
        if self._at_work or not self._waiting:
            return
        root, loop = self._grove.root, self._grove.ground.loop
        if (root is None or not root.is_up) and not self._grove.ground.lives.stopping:
            loop.after(_AGAIN_S, self._next)
            return
        self._at_work = True
        self._waiting.popleft().begin()
