"""Who this actor is, whose message it handles, and the names of actors."""

from dataclasses import dataclass

from theater._host import ask, interface

_identity = interface("identity")
_registry = interface("registry")


@dataclass(frozen=True, slots=True)
class Me:
    """This actor.

    Attributes:
        id: stays the same when the actor is restarted.
        name: the name in the manifest.
        parent: the id of the actor that started this one; none in the server's own tree.
        incarnation: which life of the actor this is, from 1.
    """

    id: str
    name: str
    parent: str | None
    incarnation: int


def me() -> Me:
    """This actor's id, name, parent and incarnation."""
    found = _identity.self()
    return Me(found.id, found.name, found.parent, found.incarnation)


def sender() -> str | None:
    """The id of the actor whose message is being handled, for a timer this one's; none if it came from outside."""
    return _identity.sender()


def deadline() -> float | None:
    """When the sender of the request being handled stops waiting, in seconds since the epoch."""
    found = _identity.deadline()
    return None if found is None else found / 1000


def register(name: str) -> None:
    """Gives this actor a name, which then works wherever its id does.

    Raises:
        CallFailed: another actor has the name.
    """
    ask(_registry.register, name)


def unregister(name: str) -> None:
    """Takes a name back from this actor.

    Raises:
        CallFailed: the actor does not have the name.
    """
    ask(_registry.unregister, name)


def whereis(name: str) -> str | None:
    """The id of the actor that has a name."""
    return _registry.whereis(name)
