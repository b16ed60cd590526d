"""Children: actors that this one starts, and that end with it.

A child is named by its id. Everything here works for children of children too, and for nobody else's.
"""

from dataclasses import dataclass
from typing import Any

from theater._host import ask, interface
from theater.codecs import Json

_supervisor = interface("supervisor")


@dataclass(frozen=True, slots=True)
class ChildEvent:
    """One entry of a child's chain.

    Attributes:
        hash: of this entry and everything before it.
        parent: the hash of the entry before; none for the first.
        type: the kind of entry.
        data: what entered or left the sandbox.
        time: when it was recorded, in seconds since the epoch.
        description: a sentence for people, where there is one.
    """

    hash: bytes
    parent: bytes | None
    type: str
    data: bytes
    time: float
    description: str | None


def spawn(manifest: str, state: Any = None, *, codec: Any = Json) -> str:
    """Starts a child and returns its id, when its `init` is done.

    Args:
        manifest: the path of a manifest, from the folder of this actor's own, or the text of one.
        state: what the child begins with; without it, with what its manifest says.
        codec: how the child's state becomes bytes.

    Raises:
        CallFailed: the manifest cannot be used, or the child did not start.
    """
    return ask(_supervisor.spawn, manifest, None if state is None else codec.encode(state))


def resume(manifest: str, state: Any = None, *, codec: Any = Json) -> str:
    """Starts a child that goes on from a state, without `init`, and returns its id. Arguments are as of `spawn`.

    Raises:
        CallFailed: the manifest cannot be used, or the child did not start.
    """
    return ask(_supervisor.resume, manifest, None if state is None else codec.encode(state))


def children() -> list[str]:
    """The ids of all children, in the order in which they were started."""
    return _supervisor.list_children()


def stop_child(child: str) -> None:
    """Stops a child, and returns when it has ended. It is not started again by itself.

    Raises:
        CallFailed: there is no such child.
    """
    ask(_supervisor.stop_child, child)


def restart_child(child: str) -> None:
    """Stops a child if it runs and starts it again; returns when it is up.

    Raises:
        CallFailed: there is no such child, or it did not start.
    """
    ask(_supervisor.restart_child, child)


def child_state(child: str, *, codec: Any = Json) -> Any:
    """The state that a child's last call left; None if it has none.

    Raises:
        CallFailed: there is no such child.
    """
    state = ask(_supervisor.get_child_state, child)
    return None if state is None else codec.decode(state)


def child_events(child: str) -> list[ChildEvent]:
    """A child's chain, oldest entry first.

    Raises:
        CallFailed: there is no such child.
    """
    return [
        ChildEvent(
            found.hash, found.parent_hash, found.event_type, found.data, found.timestamp / 1000, found.description
        )
        for found in ask(_supervisor.get_child_events, child)
    ]
