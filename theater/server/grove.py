"""The tree of a tree file: grown once all its components are ready, rooted in the server's own supervisor."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from theater.core.supervision import Ended
from theater.core.tree_file import ChildRow, TreeFile
from theater.errors import TheaterError
from theater.log import Logger
from theater.server.cast import Actor, Cast
from theater.server.lives import Lives
from theater.server.loop import Loop
from theater.server.stage import Stage
from theater.server.tree import Branch
from theater.server.wishes import Role, bough, new_actor
from theater.server.workshop import Wish, Workshop
from theater.wasm.artefacts import Artefact


class Grove:
    """The tree of one server.

    Attributes:
        root: the root supervisor, once it grows.
        failure: why the tree could not grow, or has ended.
        on_failure: called when there is one.
    """

    def __init__(self, loop: Loop, cast: Cast, stage: Stage, lives: Lives, workshop: Workshop, log: Logger) -> None:
        self._loop = loop
        self._cast = cast
        self._stage = stage
        self._lives = lives
        self._workshop = workshop
        self._log = log
        self.root: Branch | None = None
        self.failure: TheaterError | None = None
        self.on_failure: Callable[[], None] = loop.stop

    def grow(self, tree: TreeFile, roles: Mapping[str, Role]) -> None:
        """Starts the supervisors and children of a tree.

        Args:
            roles: what each child is, by its name. A child that this home had already goes on with its state.
        """
        known = {actor.manifest.name: actor for actor in self._cast if actor.in_tree}
        actors = {
            row.name: self._engage(row, roles[row.name], known.get(row.name))
            for row in tree.rows
            if isinstance(row, ChildRow)
        }
        missing = set(roles)

        def ready(name: str, artefact: Artefact) -> None:
            actors[name].artefact = artefact
            missing.discard(name)
            if not missing:
                self._plant(tree, actors)

        for name, role in roles.items():
            self._workshop.prepare(role.component, role.manifest.limits.fuel is not None, self._wish(name, ready))
        if not roles:
            self._plant(tree, actors)

    def _engage(self, row: ChildRow, role: Role, known: Actor | None) -> Actor:
        actor = known or new_actor(role, 0, os.urandom(16))
        actor.manifest, actor.where, actor.component = role.manifest, role.where, role.component
        actor.program, actor.init_state = role.program, role.init_state
        actor.supervisor, actor.in_tree, actor.wanted = row.under, True, True
        self._stage.recall(actor)
        return actor

    def _wish(self, name: str, ready: Callable[[str, Artefact], None]) -> Wish:
        return Wish(
            lambda artefact: ready(name, artefact),
            lambda error: self._fail(error, child=name),
            lambda text: self._log.info(text, child=name),
        )

    def _plant(self, tree: TreeFile, actors: Mapping[str, Actor]) -> None:
        try:
            for actor in actors.values():
                self._lives.check(actor)
                if actor.number == 0:
                    actor.number = self._cast.next_number()
                self._lives.enlist(actor)
        except TheaterError as error:
            self._fail(error)
            return
        self.root = Branch(bough(tree, tree.root, actors), self._loop, self._stage)
        self.root.on_ended = self._root_ended
        self._lives.tops.append(self.root)
        self.root.start()

    def _root_ended(self, ended: Ended) -> None:
        if self.root in self._lives.tops:
            self._lives.tops.remove(self.root)
        if not self._lives.stopping:
            self._fail(TheaterError(f"the root supervisor {ended.reason.describe()}"))

    def _fail(self, error: TheaterError, **facts: str) -> None:
        self._log.error("the tree has failed", why=error.message, **facts)
        if self.failure is None:
            self.failure = error
            self.on_failure()
