"""No actor gives its children more than it may: each of a child's handlers is one that its parent has or passes on.

A parent that needs less itself than its children do names that as `[[grant]]`, in the form of `[[handler]]`: it is not
the parent's own, and may be a child's. What a child may pass on is held to the same. So nobody in a family has more
than what somebody outside it has written into the manifest of its first parent.

What an actor may use up (`[limits]`) is no right: a child that wants more of it than its parent has gets as much as
that (core/held_limits.py).
"""

from __future__ import annotations

from theater.core.handlers import GRANTED_TO_ALL
from theater.core.manifest import Handler, Manifest
from theater.core.permissions import Permissions, Placed


def excess(child: Manifest, child_folder: str, parent: Manifest, parent_folder: str) -> str | None:
    """What a child would have that its parent may not give it: the rest of a sentence about the child; None if nothing.

    Args:
        child_folder: the folder of the child's manifest, beside which the paths in it are.
        parent_folder: that of its parent's.
    """
    given = [_placed(handler, parent_folder) for handler in (*parent.handlers, *parent.grants)]
    for wanted in (*child.handlers, *child.grants):
        more = _more(_placed(wanted, child_folder), given)
        if more is not None:
            return more
    return None


def _more(wanted: Handler, given: list[Handler]) -> str | None:
    if wanted.type in GRANTED_TO_ALL:
        return None
    offers = [handler.permissions for handler in given if handler.type == wanted.type]
    if not offers:
        return f"have the handler {wanted.type}"
    found = [wanted.permissions.excess(offer) for offer in offers]
    return None if None in found else f"with its handler {wanted.type} {found[0]}"


def _placed(handler: Handler, folder: str) -> Handler:
    permissions: Permissions = handler.permissions
    return Handler(handler.type, permissions.placed(folder)) if isinstance(permissions, Placed) else handler
