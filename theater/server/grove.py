"""The tree of a server: grown when the server starts, from a tree file or from what the home keeps, and changed later.

There is always a root supervisor; without a tree it has nothing under it. A tree that is kept comes back as it was:
what somebody had stopped, or what had done its work, is there and does not run. So is a supervisor that had given up
and was not to come back. Whatever else was wanted is started in order, each child by its state policy, and if one of
them does not start the server ends, as one does whose root gives up: whoever started it decides what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from theater.core.exit_reason import ExitKind
from theater.core.routing import Directory
from theater.core.supervision import Accepted, Ended, Refusal, Refused, Result
from theater.core.tree_file import ROOT, ChildRow, Row, TreeFile
from theater.errors import DiskFull, IntegrityError, TheaterError
from theater.log import Logger
from theater.server.cast import COMING, Actor, Cast, State
from theater.server.kept_tree import NOTHING, KeptTree, Standing
from theater.server.ledger import Ledger
from theater.server.lives import Lives
from theater.server.loop import Loop
from theater.server.stage import Stage
from theater.server.tree import Bough, Branch
from theater.server.wishes import Application, Role, bough, new_actor
from theater.server.workshop import Wish, Workshop
from theater.store.content import ContentStore
from theater.wasm.artefacts import Artefact

Failed = Callable[[TheaterError], None]
Kind = tuple[str, bool]
"""What is compiled once: a component, and whether instructions are counted."""

FAILURES: Final = frozenset({ExitKind.GAVE_UP, ExitKind.START_FAILED})
"""How a supervisor ends that has failed; any other end was meant."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a tree stands on."""

    loop: Loop
    cast: Cast
    stage: Stage
    lives: Lives
    workshop: Workshop
    content: ContentStore
    directory: Directory
    ledger: Ledger
    kept: KeptTree
    log: Logger


class Grove:
    """The tree of one server.

    Attributes:
        root: the root supervisor, once it grows.
        applied: the tree as it is wished now.
        actors: those of the tree, by the names of their rows.
        is_whole: the supervisors know of what is under them without running.
        in_transit: supervisors that an apply ends only to begin them again.
        failure: why the tree could not grow, or has ended.
        on_failure: called when there is one.
    """

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.root: Branch | None = None
        self.applied: Application = NOTHING
        self.actors: dict[str, Actor] = {}
        self.is_whole = False
        self.in_transit: frozenset[str] = frozenset()
        self.failure: TheaterError | None = None
        self.on_failure: Callable[[], None] = ground.loop.stop
        self._unsaved = False
        self._awaiting_whole: list[Callable[[], None]] = []
        ground.lives.on_removed = self._removed
        ground.lives.when_whole = self._when_whole
        ground.stage.on_supervisor = self._supervisor
        ground.stage.on_supervisor_down = self._stays_down
        ground.stage.lives_of_supervisor = lambda name: ground.kept.standing(name).incarnation

    # ---- looking

    def standing(self, name: str) -> Standing:
        """How a supervisor has fared."""
        return self.ground.kept.standing(name)

    def branch(self, name: str, tree: TreeFile | None = None) -> Branch | None:
        """The supervisor of this name, if it lives.

        Args:
            tree: where it is looked for; else the tree as it is wished now.
        """
        rows = (tree or self.applied.tree).supervisors
        if name == ROOT:
            return self.root
        under = next((row.under for row in rows if row.name == name), None)
        above = self.branch(under, tree) if under is not None else None
        return above.branches.get(name) if above is not None else None

    def holds(self, actor: Actor) -> bool:
        """Whether it is an actor of the tree."""
        return self.actors.get(actor.manifest.name) is actor

    # ---- growing

    def recall(self, wished: Application | None) -> Application:
        """What this server is to run: what is wished, else what the home keeps; made known before any actor starts.

        Raises:
            IntegrityError: what the home keeps cannot be read, and nothing else is wished.
        """
        kept = self._load(must=wished is None)
        self.applied = wished or kept or NOTHING
        if wished is not None and kept is not None:
            self._retire(kept, wished)
        self._finish_removals()
        known = self.known()
        self.actors = {row.name: self._engage(row, known.get(row.name)) for row in self.applied.tree.children}
        return self.applied

    def known(self) -> dict[str, Actor]:
        """The actors that are or were of a tree, by the names of their rows."""
        return {actor.manifest.name: actor for actor in self.ground.cast if actor.in_tree}

    def grow(self, *, anew: bool) -> None:
        """Starts the supervisors and children of the tree.

        Args:
            anew: it was given, and is not the one that the home keeps: what has failed in it gets another chance.
        """
        self._set_states(self._asleep(anew))

        def ready(artefacts: Mapping[Kind, Artefact]) -> None:
            if self.ground.lives.stopping:
                self._settle()  # Whoever waited for the tree is answered all the same.
                return
            for actor in self.actors.values():
                actor.artefact = artefacts[kind_of(actor)]
            asleep = self._asleep(anew)  # Once more: somebody may have stopped a child while components were compiled.
            try:
                self._admit(asleep)
                if anew:
                    self.keep(self.applied)
            except TheaterError as error:
                self._fail(error)
            else:
                self._plant(asleep, anew)

        self.prepare(
            self.applied.roles, ready, self._fail, lambda text: self.ground.log.info("preparing the tree", what=text)
        )

    def prepare(
        self,
        roles: Mapping[str, Role],
        on_ready: Callable[[Mapping[Kind, Artefact]], None],
        on_failed: Failed,
        on_progress: Callable[[str], None],
    ) -> None:
        """Makes the components of all children ready. Exactly one of `on_ready` and `on_failed` is called, later."""
        wanted = {kind_of(role): name for name, role in reversed(list(roles.items()))}
        found: dict[Kind, Artefact] = {}
        failed: list[TheaterError] = []

        def ready(kind: Kind, artefact: Artefact) -> None:
            found[kind] = artefact
            if len(found) == len(wanted) and not failed:
                on_ready(found)

        def fail(kind: Kind, error: TheaterError) -> None:
            failed.append(error)
            if len(failed) == 1:
                on_failed(type(error)(f"{wanted[kind]}: {error.message}", **error.details))

        def wish(kind: Kind) -> Wish:
            return Wish(
                lambda artefact: ready(kind, artefact),
                lambda error: fail(kind, error),
                lambda text: on_progress(f"{wanted[kind]}: {text}"),
            )

        if not wanted:
            self.ground.loop.soon(lambda: on_ready({}))
        for kind in wanted:
            self.ground.workshop.prepare(*kind, wish(kind))

    def keep(self, applied: Application, leaving: Iterable[str] = ()) -> None:
        """Keeps a tree for the next server on this home.

        Args:
            leaving: ids of the actors that are about to be removed.

        Raises:
            DiskFull: the disk does not take it.
        """
        try:
            self.ground.kept.save(applied, leaving)
        except OSError as error:
            raise DiskFull(f"the home does not take the tree: {error.strerror}") from error

    def sync(self, branch: Branch, wish: Bough, done: Callable[[], None]) -> None:
        """Gives a supervisor that runs, and those under it, what they are now wished to be (OTP's change, 1.18).

        A supervisor that ends meanwhile needs nothing: its own one knows already how the next is to be.
        """

        def answer(result: Result) -> None:
            if isinstance(result, Accepted):
                branch.wish = wish
                self._settle_sleepers(branch)
            elif isinstance(result, Refused) and result.why is not Refusal.DOWN:
                self.ground.log.error("a defect: a supervisor refuses its change", why=result.to_error().message)
            below = [spec.start for spec in wish.children if isinstance(spec.start, Bough)]
            in_turn([self._sync_below(branch, each) for each in below], done)

        lives = {spec.id: self.ground.stage.last_incarnation(spec.id) for spec in wish.children}
        branch.call("change", answer, wish.flags, wish.children, last_incarnations=lives)

    def _sync_below(self, above: Branch, wish: Bough) -> Callable[[Callable[[], None]], None]:
        def step(done: Callable[[], None]) -> None:
            branch = above.branches.get(wish.name)
            if branch is None:
                self.ground.loop.soon(done)
            else:
                self.sync(branch, wish, done)

        return step

    def _settle_sleepers(self, branch: Branch) -> None:
        """An actor that does not run learns of whom it is a child, so that it can be started."""
        for spec in branch.wish.children:
            actor = self.ground.cast.get(spec.id)
            if actor is not None and actor.worker is None:
                actor.branch = branch

    # ---- growing, step by step

    def _set_states(self, asleep: frozenset[str]) -> None:
        """What is going to start can be waited for; what is under a supervisor that sleeps shares its fate."""
        fates: dict[str, State] = {}
        for row in self.applied.tree.rows:
            fate = fates.get(row.under)
            if isinstance(row, ChildRow):
                actor = self.actors[row.name]
                if fate is not None:
                    actor.state = fate
                elif row.name not in asleep:
                    actor.wanted, actor.state = True, State.STARTING
            elif fate is not None or row.name in asleep:
                fates[row.name] = fate or (State.FAILED if has_failed(self.standing(row.name)) else State.STOPPED)

    def _load(self, *, must: bool) -> Application | None:
        try:
            return self.ground.kept.load()
        except IntegrityError as error:
            if must:
                raise
            self.ground.log.error("the tree that this home keeps is lost", why=error.message)
            return None

    def _finish_removals(self) -> None:
        """A server that was killed while it applied a tree has not removed everything, or has added too much."""
        cast = self.ground.cast
        for actor in [found for key in self.ground.kept.leaving if (found := cast.get(key)) is not None]:
            self.ground.lives.forget(actor)
        for name, actor in self.known().items():
            if name not in self.applied.roles and actor.incarnation == 0 and actor.head is None:
                self.ground.lives.forget(actor)
        self.ground.kept.retain({ROOT, *(row.name for row in self.applied.tree.supervisors)})

    def _retire(self, kept: Application, wished: Application) -> None:
        """Children that the given file does not have any more stay down for good; a user may start one by itself."""
        gone = {row.name for row in kept.tree.children} - {row.name for row in wished.tree.children}
        for name, actor in self.known().items():
            if name in gone:
                self.ground.log.warning("no longer in the tree, stays down", actor=actor.id)
                self.ground.ledger.event("retired", {"actor": actor.id, "name": name})
                self.release(actor)
                self.ground.stage.keep(actor)  # At once: the next server would start it, out of the tree.

    def release(self, actor: Actor) -> None:
        """The actor is down, and of the tree no more."""
        actor.wanted, actor.supervisor, actor.branch = False, ROOT, None
        self.ground.stage.rest(actor, State.STOPPED)

    def _engage(self, row: ChildRow, known: Actor | None) -> Actor:
        role = self.applied.roles[row.name]
        actor = known or new_actor(role, 0, os.urandom(16))
        actor.take(role)
        actor.supervisor, actor.in_tree = row.under, True
        self.ground.stage.recall(actor)
        return actor

    def _asleep(self, anew: bool) -> frozenset[str]:
        return frozenset(row.name for row in self.applied.tree.rows if self._sleeps(row, anew))

    def _sleeps(self, row: Row, anew: bool) -> bool:
        """Whether it is to be there without running."""
        if isinstance(row, ChildRow):
            actor = self.actors[row.name]
            return not actor.wanted and not (anew and actor.state is State.FAILED)
        standing = self.standing(row.name)
        return standing.down and not (anew and has_failed(standing))

    def _admit(self, asleep: frozenset[str]) -> None:
        """Makes the actors known, and gives their names to those that will run.

        Raises:
            ComponentError, NameTaken, DiskFull: one of them cannot be.
        """
        ground = self.ground
        for actor in self.actors.values():
            ground.lives.check(actor)
        for name, actor in self.actors.items():
            if actor.number == 0:
                actor.number = ground.cast.next_number()
            if ground.cast.get(actor.id) is None:
                ground.lives.crowd.admit(actor)
                ground.lives.enlist(actor)
                continue
            if actor.manifest.actor.register and name not in asleep:
                ground.directory.register(actor.manifest.name, actor.id)
            self.put_manifest(actor)
            ground.stage.keep(actor)

    def put_manifest(self, actor: Actor | Role) -> None:
        """Keeps the manifest, and whatever else chains name.

        Raises:
            DiskFull: the disk does not take it.
        """
        try:
            self.ground.lives.put_what_it_is(actor)
        except OSError as error:
            raise DiskFull(f"the home does not take {actor.manifest.name}: {error.strerror}") from error

    def _plant(self, asleep: frozenset[str], anew: bool) -> None:
        applied, ground = self.applied, self.ground
        if applied is not NOTHING:
            facts = {"file": applied.where, "supervisors": len(applied.tree.supervisors), "children": len(self.actors)}
            ground.ledger.event("tree-applied" if anew else "tree-restored", {**facts, "asleep": sorted(asleep)})
        whole = bough(applied.tree, applied.tree.root, self.actors)
        awake = bough(applied.tree, applied.tree.root, self.actors, asleep) if asleep else whole
        root = self.root = Branch(awake, ground.loop, ground.stage)
        root.incarnation = self.standing(ROOT).incarnation + 1
        root.on_ended = self._root_ended
        ground.lives.tops.append(root)
        root.start()
        self.sync(root, whole, self._settle)

    def _settle(self) -> None:
        self.is_whole = True
        waiting, self._awaiting_whole = self._awaiting_whole, []
        for action in waiting:
            action()

    def _when_whole(self, action: Callable[[], None]) -> None:
        if self.is_whole:
            action()
        else:
            self._awaiting_whole.append(action)

    def _root_ended(self, ended: Ended) -> None:
        if self.root in self.ground.lives.tops:
            self.ground.lives.tops.remove(self.root)
        if not self.ground.lives.stopping:
            self._fail(TheaterError(f"the root supervisor {ended.reason.describe()}"))

    def _fail(self, error: TheaterError) -> None:
        self.ground.log.error("the tree has failed", why=error.message)
        if self.failure is None:
            self.failure = error
            self.on_failure()

    def _removed(self, actor: Actor) -> None:
        """A user has removed a child of the tree: its row goes with it, or its supervisor would start it again."""
        if not self.holds(actor):
            return
        name, applied = actor.manifest.name, self.applied
        rows = tuple(row for row in applied.tree.rows if row.name != name)
        roles = {child: role for child, role in applied.roles.items() if child != name}
        self.applied = Application(applied.where, TreeFile(applied.tree.root, rows), roles)
        above = actor.supervisor
        del self.actors[name]
        try:
            self.keep(self.applied)
        except DiskFull as error:
            self.ground.log.error("a child that was removed may come back", actor=actor.id, why=error.message)

        def delete() -> None:
            branch = self.branch(above)
            if branch is not None:
                branch.call("delete_child", lambda result: None, actor.id)

        # At once, and after whatever is on its way to that supervisor, which may name the child still.
        delete()
        if self.root is not None:
            self.sync(self.root, bough(self.applied.tree, self.applied.tree.root, self.actors), delete)

    # ---- how supervisors fare

    def _supervisor(self, branch: Branch) -> None:
        """A supervisor begins, or has ended."""
        if not self._is_ours(branch):
            return
        standing = self.standing(branch.name)
        facts = {"supervisor": branch.name, "incarnation": branch.incarnation}
        if branch.ended is None:
            standing.incarnation, standing.down = branch.incarnation, False
            self.ground.ledger.event("supervisor-started", facts)
        else:
            standing.last_exit = branch.ended.reason
            self.ground.ledger.event("supervisor-ended", {**facts, **branch.ended.reason.to_dict()})
            if branch is self.root:
                self._rest_under(ROOT)
        self._save_standings_later()

    def _is_ours(self, branch: Branch) -> bool:
        top = branch
        while top.parent is not None:
            top = top.parent[0]
        return top is self.root

    def _stays_down(self, name: str) -> None:
        """A supervisor has ended, and the one above it does not start it again; nor does an apply that is under way."""
        if name not in self.in_transit and any(row.name == name for row in self.applied.tree.supervisors):
            self.mark_down(name)
            self._rest_under(name)

    def _rest_under(self, name: str) -> None:
        """Nobody starts these again, so nobody has to wait for them."""
        fate = State.FAILED if has_failed(self.standing(name)) else State.STOPPED
        for row in self.applied.tree.all_under(name):
            actor = self.actors.get(row.name) if isinstance(row, ChildRow) else None
            if actor is not None and actor.worker is None and actor.state in COMING:
                self.ground.stage.rest(actor, fate)

    def transfer(self, leaving: Iterable[str], coming: Iterable[str]) -> None:
        """Supervisors end because a tree is applied, and begin again, or begin for the first time."""
        self.in_transit = frozenset(leaving)
        for name in coming:
            self.standing(name).down = False
        self._save_standings()

    def mark_down(self, name: str) -> None:
        """A supervisor is down until somebody starts it."""
        self.standing(name).down = True
        self._save_standings()

    def _save_standings_later(self) -> None:
        if not self._unsaved:
            self._unsaved = True
            self.ground.loop.later(self._save_standings)

    def _save_standings(self) -> None:
        self._unsaved = False
        try:
            self.ground.kept.save_standings()
        except OSError as error:
            self.ground.log.error("cannot write how the supervisors fare", why=str(error))


def kind_of(part: Actor | Role) -> Kind:
    """What has to be compiled for it."""
    return part.component, part.manifest.limits.fuel is not None


def has_failed(standing: Standing) -> bool:
    """Whether a supervisor ended because it had to."""
    return standing.last_exit is not None and standing.last_exit.kind in FAILURES


def in_turn(steps: Iterable[Callable[[Callable[[], None]], None]], done: Callable[[], None]) -> None:
    """Carries out steps one after the other; each is given what to call when it is done."""
    left = iter(steps)

    def next_one() -> None:
        step = next(left, None)
        if step is None:
            done()
        else:
            step(next_one)

    next_one()
