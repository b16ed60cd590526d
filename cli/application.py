"""From a tree file to what a server runs: manifests read, components built, before anything is started.

What can be wrong with an application is said before the server takes its home, and long builds happen where a
person sees their progress. What is left for the server is to keep the contents and to start the children.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from theater.client.deploy import prepare_tree
from theater.core.tree_file import parse
from theater.server.house import House
from theater.server.wishes import Application, Role, role_of_child
from theater.server.wishes import application as held_application
from theater.store.deployment import Deployment


def application(tree: Path, say: Callable[[str], None]) -> Callable[[House], Application]:
    """The application of a tree file, for `theater.server.main.serve`.

    Args:
        tree: the file; manifests are beside it.
        say: is called with what is being done.

    Raises:
        ManifestError: the file or a manifest is wrong or cannot be read.
        ComponentError, BuildFailed: a component is missing or could not be built.
    """
    ready = prepare_tree(tree, say)
    rows = parse(ready.tree, ready.where)
    return lambda house: held_application(
        ready.where, rows, {name: _role(house, name, found) for name, found in ready.children.items()}
    )


def _role(house: House, name: str, found: Deployment) -> Role:
    """What a child is, with its contents in the server's store."""
    for file in found.contents.values():
        house.put(file.read_bytes())
    initial = None if found.init_state is None else house.put(found.init_state)
    return role_of_child(name, found.manifest, found.where, found.component, found.program, initial)
