"""Components of the first version, made from core modules whose interfaces are called `ntwk:theater`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import wasmtime

from theater.wasm.componentize import componentize
from theater.wasm.types import BYTES, Signature, Type
from theater.wasm.wit import WitInterface, known_interfaces

ACTOR = Path(__file__).parents[1] / "actors" / "older.wat"
_STATE: Type = ("option", BYTES)


def older_component() -> bytes:
    """The component of tests/actors/older.wat."""
    return componentize(bytes(wasmtime.wat2wasm(ACTOR.read_text())), older_interfaces())


def older_interfaces() -> dict[str, WitInterface]:
    """The interfaces of theater:simple as the first version had them."""
    found = {_older(name): _renamed(interface) for name, interface in known_interfaces().items()}
    client = found["ntwk:theater/message-server-client"]
    accept: Type = ("named", "ntwk:theater/types", "channel-accept")
    functions = {
        **client.functions,
        "handle-request": _handler(BYTES),
        "handle-channel-open": _handler(accept),
    }
    found[client.name] = replace(client, functions=functions)
    return found


def _handler(answer: Type) -> Signature:
    """Of a handler that is given bytes alone."""
    params = (("state", _STATE), ("params", ("tuple", (BYTES,))))
    return Signature(params, ("result", ("tuple", (_STATE, ("tuple", (answer,)))), "string"))


def _older(name: str) -> str:
    return name.replace("theater:simple/", "ntwk:theater/")


def _renamed(interface: WitInterface) -> WitInterface:
    return WitInterface(
        _older(interface.name),
        {name: _tree(tree) for name, tree in interface.types.items()},
        {name: Signature(_tree(s.params), _tree(s.result)) for name, s in interface.functions.items()},
    )


def _tree(tree: Type | None) -> Type | None:
    """A type, or parts of one, with the older names in it."""
    if isinstance(tree, str):
        return _older(tree)
    return tree if tree is None else tuple(map(_tree, tree))
