"""Messages to oneself, later.

They arrive at `handle_send`. When a restart goes on from the last state, so do they; before `init` they are cleared.
"""

from typing import Any

from theater._current import encoded
from theater._host import ask, interface, milliseconds

_timers = interface("timers")


def send_after(delay: float, message: Any, *, codec: Any = None) -> int:
    """Sends a message to this actor once, after `delay` seconds, and returns the timer.

    Raises:
        CallFailed: there are too many timers, or the time is too long.
    """
    return ask(_timers.send_after, milliseconds(delay), encoded(message, codec))


def send_interval(period: float, message: Any, *, codec: Any = None) -> int:
    """Sends a message to this actor every `period` seconds, from one period on, and returns the timer.

    Raises:
        CallFailed: there are too many timers, or the time is too short or too long.
    """
    return ask(_timers.send_interval, milliseconds(period), encoded(message, codec))


def cancel(timer: int) -> bool:
    """Ends a timer. False if it is unknown, or was over already."""
    return _timers.cancel(timer)
