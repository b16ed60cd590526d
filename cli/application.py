"""From a tree file to what a server runs: manifests read, components built, before anything is started.

What can be wrong with an application is said before the server takes its home, and long builds happen where a
person sees their progress. What is left for the server is to keep the contents and to start the children.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from theater.client.deploy import prepare
from theater.core.manifest import parse as parse_manifest
from theater.core.tree_file import ChildRow, parse
from theater.server.house import House
from theater.server.main import Application
from theater.server.wishes import Role
from theater.store.deployment import Deployment, read_text


def application(tree: Path, say: Callable[[str], None]) -> Callable[[House], Application]:
    """The application of a tree file, for `theater.server.main.serve`.

    Args:
        tree: the file; manifests are beside it.
        say: is called with what is being done.

    Raises:
        ManifestError: the file or a manifest is wrong or cannot be read.
        ComponentError, BuildFailed: a component is missing or could not be built.
    """
    rows = parse(read_text(tree), str(tree))
    ready = {row.name: prepare(tree.parent / row.manifest, say) for row in rows.rows if isinstance(row, ChildRow)}
    return lambda house: Application(rows, {name: _role(house, name, found) for name, found in ready.items()})


def _role(house: House, name: str, found: Deployment) -> Role:
    """What a child is, with its contents in the server's store. Its name in the tree is that of the actor."""
    for file in found.contents.values():
        house.put(file.read_bytes())
    initial = None if found.init_state is None else house.put(found.init_state)
    manifest = replace(parse_manifest(found.manifest, found.where), name=name)
    return Role(manifest, found.where, found.component, found.program, initial)
