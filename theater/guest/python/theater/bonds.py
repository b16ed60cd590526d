"""Monitors and links: hearing of the end of other actors, and ending together with them.

Both are about lives: they end with this actor's own life, and are about the other's present one. What they bring
arrives at `handle_down` and `handle_exit`, after every message that the other had sent to this actor.
"""

from theater._host import ask, interface

_monitors = interface("monitors")
_links = interface("links")


def monitor(actor: str) -> int:
    """From now on the end of an actor's present life arrives at `handle_down`, once; at once if it does not live.

    Returns:
        The monitor. Every call makes a new one.

    Raises:
        CallFailed: the host does not allow it.
    """
    return ask(_monitors.monitor, actor)


def demonitor(monitor: int) -> bool:
    """Ends a monitor: nothing of it arrives any more. False if it is unknown, or its news has arrived already."""
    return _monitors.demonitor(monitor)


def link(actor: str) -> None:
    """From now on this life and another's end together: when one ends in any way but normally, so does the other.

    Raises:
        CallFailed: the host does not allow it.
    """
    ask(_links.link, actor)


def unlink(actor: str) -> None:
    """Undoes a link: nothing of it arrives any more.

    Raises:
        CallFailed: the host does not allow it.
    """
    ask(_links.unlink, actor)


def trap_exits(trap: bool = True) -> None:
    """Whether the ends of linked actors, normal ones too, arrive at `handle_exit` instead of ending this one."""
    _links.trap_exits(trap)
