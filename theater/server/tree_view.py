"""What users see of the tree: supervisors and actors as they stand, nested, from the machines and the wished tree."""

from __future__ import annotations

from typing import Any

from theater.core.child_spec import ChildSpec, SupervisorFlags
from theater.core.supervision import ChildView, Life
from theater.core.tree_file import ROOT, ChildRow, SupervisorRow
from theater.server.cast import Actor, Cast
from theater.server.grove import Grove, has_failed
from theater.server.loop import Loop
from theater.server.tree import Bough, Branch
from theater.server.view import View
from theater.server.wishes import bough


class TreeView:
    """Looks at the tree; changes nothing."""

    def __init__(self, loop: Loop, cast: Cast, view: View, grove: Grove) -> None:
        self._loop = loop
        self._cast = cast
        self._view = view
        self._grove = grove

    def whole(self) -> dict[str, Any]:
        """The root supervisor with everything under it, and behind that the actors that were started by themselves."""
        root = self._grove.root
        shown = self._branch(root) if root is not None else self._coming()
        alone = (actor for actor in self._cast if actor.parent is None and not self._grove.holds(actor))
        shown["children"] += [self._member(actor) for actor in alone]
        return shown

    def _coming(self) -> dict[str, Any]:
        """The root while its children's components are being made ready."""
        flags = SupervisorFlags(intensity=3)
        rows = [self._member(actor) for actor in self._grove.actors.values()]
        return {"name": ROOT, **_flags(flags), "state": "starting", **self._life(ROOT), "children": rows}

    def _branch(self, branch: Branch) -> dict[str, Any]:
        views = branch.machine.snapshot()
        return {
            "name": branch.name,
            **_flags(branch.machine.flags),
            "state": branch.machine.phase.value,
            **self._life(branch.name),
            "restarts": sum(view.restarts for view in views),
            "recent": branch.machine.recent_restarts(self._loop.now()),
            "children": self._children(branch, views) + self._sleepers(branch, views),
        }

    def _sleepers(self, branch: Branch, views: tuple[ChildView, ...]) -> list[dict[str, Any]]:
        """What is under a supervisor that has just begun, and is not to run: it does not know of it yet."""
        if self._grove.is_whole:
            return []
        tree, actors = self._grove.applied.tree, self._grove.actors
        known = {view.id for view in views}
        found = []
        for row in tree.under(branch.name):
            if isinstance(row, ChildRow) and actors[row.name].id not in known:
                found.append(self._member(actors[row.name]))
            elif isinstance(row, SupervisorRow) and row.name not in known:
                found.append(self._absent(bough(tree, row, actors), Life.UNDEFINED))
        return found

    def _life(self, name: str) -> dict[str, Any]:
        standing = self._grove.standing(name)
        end = standing.last_exit
        return {"incarnation": standing.incarnation, "last_exit": end.to_dict() if end is not None else None}

    def _children(self, branch: Branch, views: tuple[ChildView, ...]) -> list[dict[str, Any]]:
        """What a supervisor has under it. An actor that was removed is nobody, though it be told of that only soon."""
        found = []
        for view in views:
            wish = view.spec.start
            if isinstance(wish, Bough):
                below = branch.branches.get(view.id)
                shown = self._branch(below) if below is not None else self._absent(wish, view.state)
                found.append({**shown, "restart": view.spec.restart.value})
            else:
                found += self._actor(view.spec)
        return found

    def _absent(self, wish: Bough, state: str) -> dict[str, Any]:
        """A supervisor that is between two lives, or down; what would be under it."""
        if state == Life.UNDEFINED:
            state = "failed" if has_failed(self._grove.standing(wish.name)) else "stopped"
        children: list[dict[str, Any]] = []
        for spec in wish.children:
            below = spec.start
            children += [self._absent(below, Life.UNDEFINED)] if isinstance(below, Bough) else self._actor(spec)
        return {"name": wish.name, **_flags(wish.flags), "state": state, **self._life(wish.name), "children": children}

    def _actor(self, spec: ChildSpec) -> list[dict[str, Any]]:
        """The actor, unless it was removed."""
        actor = self._cast.get(spec.id)
        return [self._member(actor)] if actor is not None else []

    def _member(self, actor: Actor) -> dict[str, Any]:
        return {**self._view.row(actor), "due": actor.renewal is not None, "family": self._family(actor)}

    def _family(self, actor: Actor) -> dict[str, Any] | None:
        """The actor as a supervisor, with its children; those too of which that has forgotten all but the row."""
        branch = actor.family
        if branch is None:
            return None
        children = [self._member(child) for child in self._cast.children(actor)]
        restarts = sum(view.restarts for view in branch.machine.snapshot())
        return {
            "name": actor.id,
            **_flags(branch.machine.flags),
            "state": branch.machine.phase.value,
            "incarnation": actor.incarnation,
            "restarts": restarts,
            "recent": branch.machine.recent_restarts(self._loop.now()),
            "children": children,
        }


def _flags(flags: SupervisorFlags) -> dict[str, Any]:
    backoff = flags.backoff
    return {
        "strategy": flags.strategy.value,
        "intensity": flags.intensity,
        "period": flags.period,
        "auto_shutdown": flags.auto_shutdown.value,
        "backoff": {"initial": backoff.initial, "max": backoff.max, "jitter": backoff.jitter} if backoff else None,
        "max_children": flags.max_children,
        "stop": flags.stop.value,
        "stop_deadline": flags.stop_deadline,
    }
