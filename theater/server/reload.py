"""What a running server reads again when it is told to (SIGHUP, `theater reload`), without ending anybody.

Whoever keeps something that can be read again adds a step. Each step is carried out whatever becomes of the others,
and one that fails leaves in force what was in force.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from theater.errors import InvalidInput, TheaterError


@dataclass(frozen=True, slots=True)
class Read:
    """What became of one step.

    Args:
        what: was to be read again.
        error: why it was not, and what was in force still is; None if it was.
    """

    what: str
    error: str | None = None


class Reload:
    """The steps of one server.

    Attributes:
        on_begin, on_end: called before the first step and after the last one.
    """

    def __init__(self) -> None:
        self._steps: dict[str, Callable[[], None]] = {}
        self.on_begin: Callable[[], None] = lambda: None
        self.on_end: Callable[[], None] = lambda: None

    def add(self, what: str, again: Callable[[], None]) -> None:
        """Has `again` called at each reload; it raises a TheaterError or an OSError and changes nothing, or succeeds.

        Args:
            what: it reads, in a user's words.
        """
        self._steps[what] = again

    def carry_out(self) -> list[Read]:
        """Reads everything again, in the order in which the steps were added."""
        self.on_begin()
        done = [_carried_out(what, again) for what, again in self._steps.items()]
        self.on_end()
        return done


def require_success(done: list[Read]) -> None:
    """Raises InvalidInput with all that was not read, and why."""
    wrong = [f"{step.what}: {step.error}" for step in done if step.error is not None]
    if wrong:
        raise InvalidInput(f"not read again, what was in force still is: {'; '.join(wrong)}")


def _carried_out(what: str, again: Callable[[], None]) -> Read:
    try:
        again()
    except TheaterError as error:
        return Read(what, error.message)
    except OSError as error:
        return Read(what, error.strerror or str(error))
    return Read(what)
