"""The actor's log, its chain, and its end."""

from dataclasses import dataclass

from theater._host import ask, interface

_runtime = interface("runtime")


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the actor's chain.

    Attributes:
        hash: of this event and everything before it.
        parent: the hash of the event before; none for the first.
        type: the kind of event.
        data: what entered or left the sandbox.
    """

    hash: int
    parent: int | None
    type: str
    data: bytes


def log(*values: object) -> None:
    """Writes a line to the actor's log, the values with spaces between them."""
    line = " ".join(map(str, values))
    _runtime.log(line if line.isascii() else line.encode("utf-8", "backslashreplace").decode())


def get_chain() -> list[Event]:
    """The record of the actor's life up to the call that is being handled, oldest event first."""
    return [
        Event(found.hash, found.event.parent, found.event.event_type, found.event.data)
        for found in _runtime.get_chain().events
    ]


def shutdown(data: bytes | None = None) -> None:
    """Ends the actor normally when the handler has returned.

    Args:
        data: for the actor's supervisor.

    Raises:
        CallFailed: the host does not allow it.
    """
    ask(_runtime.shutdown, data)
