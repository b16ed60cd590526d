"""The clock and waiting, as the handler `timing` has them. Times are in seconds, moments since the epoch.

Python's own `time` works, too, and needs no handler. While an actor waits here it handles nothing else.
"""

from theater._host import ask, interface, milliseconds

_timing = interface("timing")


def now() -> float:
    """The present moment."""
    return _timing.now() / 1000


def sleep(seconds: float) -> None:
    """Waits.

    Raises:
        CallFailed: it would be longer than the call may take.
    """
    ask(_timing.sleep, milliseconds(seconds))


def sleep_until(moment: float) -> None:
    """Waits until a moment; not at all if it has passed.

    Raises:
        CallFailed: it would be longer than the call may take.
    """
    ask(_timing.deadline, milliseconds(moment))
