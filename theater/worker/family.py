"""The port `theater.host.supervisor.Family`: the children of one actor, by way of the supervisor.

A child's id follows from the entry that records its spawning (core/ids.py), so a replay of the parent names it the
same. While a child starts, stops or starts again, its parent waits and cannot answer it: whatever the child, or one
that it waits for, asks of the parent then is refused at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from theater.core.ids import child_id
from theater.core.wire import Named, OfChild, Spawn, Told
from theater.errors import TheaterError
from theater.host.supervisor import Event
from theater.worker.mail import Mail

Remaining = Callable[[], float | None]


class Family:
    """The supervisor knows who is a descendant of whom.

    Args:
        let_out: called before anything is asked: what was recorded and sent until then goes first.
        origin: digest and number of the entry that records the running host call.
        remaining: seconds that the running call may still take.
    """

    def __init__(
        self, mail: Mail, let_out: Callable[[], None], origin: Callable[[], tuple[bytes, int]], remaining: Remaining
    ) -> None:
        self._mail = mail
        self._let_out = let_out
        self._origin = origin
        self._remaining = remaining

    def spawn(self, manifest: str, state: bytes | None, *, resume: bool) -> str:
        origin, number = self._origin()
        child = child_id(origin, number)
        self._let_out()
        question = Spawn(self._mail.number(), child, origin, manifest, state, resume)
        answer = self._mail.ask_supervisor(question, self._remaining(), about=child)
        return answer.actor if type(answer) is Named and answer.actor is not None else child

    def children(self) -> list[str]:
        return [str(child) for child in self._ask("list", "")]

    def stop(self, child: str) -> None:
        self._ask("stop", child)

    def restart(self, child: str) -> None:
        self._ask("restart", child)

    def state(self, child: str) -> bytes | None:
        state = self._ask("state", child)
        return state if isinstance(state, bytes) else None

    def events(self, child: str) -> list[Event]:
        return [Event(*event) for event in self._ask("events", child)]

    def _ask(self, what: str, child: str) -> Any:
        self._let_out()
        question = OfChild(self._mail.number(), what, child)
        answer = self._mail.ask_supervisor(question, self._remaining(), about=child or None)
        if type(answer) is not Told:
            raise TheaterError(f"the supervisor did not say what came of {what!r}")
        return answer.value
