"""The older name of the actor interface, and where its shapes differ.

Components built for the first version import and export `ntwk:theater/X` where later ones have `theater:simple/X`. The
host offers every interface under both names, and knows one of them: whatever such a component asks or is asked is
permitted, recorded and replayed under its present name and in its present shape (wasm/guest.py is where it crosses).
The shapes of the imports agree. Of the exports, two handlers were not told the id of what they answer, and are given
their last parameter alone; what they return is a value of the present shape as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

OLDER: Final = "ntwk:theater/"
PRESENT: Final = "theater:simple/"
_WITHOUT_ID: Final = {
    ("theater:simple/message-server-client", "handle-request"),
    ("theater:simple/message-server-client", "handle-channel-open"),
}


def present_name(interface: str) -> str:
    """The name by which the host knows an interface of a component."""
    return PRESENT + interface.removeprefix(OLDER) if interface.startswith(OLDER) else interface


def own_names(interfaces: Iterable[str]) -> dict[str, str]:
    """Present name -> the component's own name. Of an interface that it has under both, the present one counts."""
    found: dict[str, str] = {}
    for own in interfaces:
        name = present_name(own)
        if own == name or name not in found:
            found[name] = own
    return found


def is_without_id(own: str, function: str) -> bool:
    """Whether a handler of a component is called without the id that its present shape has.

    Args:
        own: the component's own name for the interface.
    """
    return own.startswith(OLDER) and (present_name(own), function) in _WITHOUT_ID


def without_id(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of such a call: the state and the last parameter."""
    state, params = args
    return state, tuple(params[-1:])
