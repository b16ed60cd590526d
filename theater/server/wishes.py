"""From what users write to what supervisors' machines take: roles, manifests and tree files become specs."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from theater.core import child_spec as specs
from theater.core import ids
from theater.core import manifest as manifests
from theater.core.child_spec import ChildSpec, ChildType, Restart, ShutdownRule, SupervisorFlags
from theater.core.held_limits import held
from theater.core.manifest import Backoff, Children, Manifest
from theater.core.tree_file import FOREVER, ChildRow, SupervisorRow, TreeFile
from theater.server.cast import Actor
from theater.server.tree import Bough, Twig


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


def role_of_child(
    name: str, manifest: str, where: str, component: str, program: str | None, init_state: str | None
) -> Role:
    """What a child of a tree is: its name there is that of the actor.

    Args:
        manifest: its text.

    Raises:
        ManifestError: the text is no manifest.
    """
    return Role(replace(manifests.parse(manifest, where), name=name), where, component, program, init_state)


@dataclass(frozen=True, slots=True)
class Application:
    """A tree as a user wishes it.

    Args:
        where: the tree file, for people.
        tree: supervisors and children.
        roles: what each child is, by its name.
    """

    where: str
    tree: TreeFile
    roles: Mapping[str, Role]


def application(where: str, tree: TreeFile, roles: Mapping[str, Role]) -> Application:
    """The tree that a user wishes, with each of its actors held to the limits of the supervisors that it is under."""
    rows = {row.name: row for row in tree.children}
    held_roles = {
        name: replace(role, manifest=held(role.manifest, *tree.ceilings(rows[name]))) for name, role in roles.items()
    }
    return Application(where, tree, held_roles)


def new_actor(role: Role, number: int, randomness: bytes) -> Actor:
    """An actor that has not lived yet.

    Args:
        number: its place in the order of starting.
        randomness: 16 bytes; its id is made of them.
    """
    return Actor(
        id=ids.root_id(randomness),
        number=number,
        manifest=role.manifest,
        where=role.where,
        component=role.component,
        program=role.program,
        init_state=role.init_state,
        randomness=randomness,
        started_ms=time.time_ns() // 1_000_000,
    )


def child_spec(actor: Actor, row: ChildRow | None = None) -> ChildSpec:
    """The actor as a child: by its manifest, where a tree's row does not say otherwise.

    Without a row it is alone under its supervisor, and significant for nobody.
    """
    supervision = actor.manifest.supervision
    if row is None:
        row = ChildRow(actor.manifest.name, actor.where, significant=False)
    start_timeout = supervision.start_timeout if row.start_timeout is None else row.start_timeout
    spec = ChildSpec(
        actor.id,
        Twig(actor.id),
        supervision.restart if row.restart is None else row.restart,
        supervision.significant if row.significant is None else row.significant,
        shutdown=supervision.shutdown if row.shutdown is None else row.shutdown,
        start_deadline=None if start_timeout == FOREVER else start_timeout,
        backoff=backoff(supervision.backoff if row.backoff is None else row.backoff),
    )
    return _as_parent(spec) if actor.is_parent else spec


def _as_parent(spec: ChildSpec) -> ChildSpec:
    """An actor that has children has ended when they have, too. Each of them has a limit of its own, so the whole needs
    none; the actor's own counts from the end of its last child."""
    whole = spec.shutdown if spec.shutdown is ShutdownRule.BRUTAL_KILL else ShutdownRule.INFINITY
    twig = Twig(spec.id, patience=spec.shutdown)
    return replace(spec, start=twig, type=ChildType.SUPERVISOR, shutdown=whole)


def backoff(wished: Backoff | None) -> specs.Backoff | None:
    """A manifest's or a row's pauses between restarts, as a machine takes them."""
    return None if wished is None else specs.Backoff(wished.initial, wished.max, wished.jitter)


def solo(actor: Actor) -> Bough:
    """The supervisor of an actor that is started by itself, with the intensity of its manifest."""
    supervision = actor.manifest.supervision
    flags = SupervisorFlags(intensity=supervision.intensity, period=supervision.period)
    return Bough(actor.id, flags, (child_spec(actor),))


def family(parent: Actor) -> Bough:
    """The supervisor of an actor's children; they come one by one."""
    wished = parent.manifest.supervision.children
    limit = parent.manifest.limits.children
    if wished is None:
        return Bough(parent.id, SupervisorFlags(max_children=limit))
    return Bough(parent.id, replace(flags(wished), max_children=min(wished.max_children or limit, limit)))


def member(child: Actor, parent: Actor) -> ChildSpec:
    """A child of an actor. One whose parent decides itself what becomes of it is started again by nobody else."""
    if parent.manifest.supervision.children is None:
        return replace(child_spec(child), restart=Restart.TEMPORARY)
    row = ChildRow(child.manifest.name, child.where, significant=child.manifest.supervision.significant)
    return child_spec(child, row)


def bough(
    tree: TreeFile, supervisor: SupervisorRow, actors: Mapping[str, Actor], without: Collection[str] = ()
) -> Bough:
    """A supervisor of a tree with everything under it, in the order of the file.

    Args:
        actors: by the names of their rows.
        without: names of rows that are left out.
    """
    children: list[ChildSpec] = []
    for row in tree.under(supervisor.name):
        if row.name in without:
            continue
        if isinstance(row, ChildRow):
            children.append(child_spec(actors[row.name], row))
        else:
            below = bough(tree, row, actors, without)
            children.append(ChildSpec(row.name, below, row.restart, row.significant, ChildType.SUPERVISOR))
    return Bough(supervisor.name, flags(supervisor), tuple(children))


def flags(row: SupervisorRow | Children) -> SupervisorFlags:
    """What a row, or a manifest, says of a supervisor, as a machine takes it."""
    return SupervisorFlags(
        row.strategy,
        row.intensity,
        row.period,
        row.auto_shutdown,
        backoff(row.backoff),
        row.max_children,
        row.stop,
        row.stop_deadline,
    )
