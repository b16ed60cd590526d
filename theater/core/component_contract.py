"""Does a component fit its manifest? It imports no more than is granted, and exports what its handlers need.

Seen before anything runs, so that a missing line in a manifest is a sentence at `theater validate` or `theater start`
and not a trap in the middle of a call. It judges names; that types agree is seen when the component is linked.

A component may export less than its handlers allow (an actor that only sends needs no `message-server-client`; who
writes to it is told so) and more (the host does not call it). Interfaces of `wasi:` are always allowed: the host
answers them itself, recorded, and they reach nothing outside. An older name of an interface is as good as its present
one (`older_names`). Not for the Python runner, which imports every
interface on behalf of programs; there the host checks each call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from theater.core.handlers import (
    ACTOR,
    MESSAGE_SERVER_CLIENT,
    TIMERS,
    granted_imports,
    handler_granting,
)
from theater.core.manifest import Manifest
from theater.core.older_names import own_names, present_name

_FREE_PACKAGES = ("wasi:",)


def check(
    manifest: Manifest, imports: Mapping[str, Collection[str]], exports: Mapping[str, Collection[str]]
) -> list[str]:
    """What is wrong between a manifest and its component: a sentence for each problem, none when they fit.

    Args:
        manifest: of the actor.
        imports: the functions of each interface that the component imports, by the interface's full name.
        exports: likewise what it exports.
    """
    exported = {name: exports[own] for name, own in own_names(exports).items()}
    return [*_ungranted(manifest, imports), *_missing(imports, exported)]


def _ungranted(manifest: Manifest, imports: Mapping[str, Collection[str]]) -> list[str]:
    granted = granted_imports(manifest.handler_types)
    wanted = sorted(
        name for name in imports if not name.startswith(_FREE_PACKAGES) and present_name(name) not in granted
    )
    return [f"the component imports {name}, {_how_to_grant(name)}" for name in wanted]


def _how_to_grant(interface: str) -> str:
    handler = handler_granting(present_name(interface))
    if handler is not None:
        return f'which the manifest does not grant; add a [[handler]] with type = "{handler}"'
    return "which this version does not know"


def _missing(imports: Mapping[str, Collection[str]], exports: Mapping[str, Collection[str]]) -> list[str]:
    problems = []
    if "init" not in exports.get(ACTOR, ()):
        problems.append(f"the component does not export {ACTOR} with the function init; every actor needs it")
    if TIMERS in imports and "handle-send" not in exports.get(MESSAGE_SERVER_CLIENT, ()):
        problems.append(
            f"the component imports {TIMERS}, but does not export {MESSAGE_SERVER_CLIENT} with the function "
            "handle-send, where its timers' messages arrive"
        )
    return problems
