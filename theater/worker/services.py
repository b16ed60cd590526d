"""A worker's lines to services, the processes that do for actors what their own may not.

The supervisor makes the link and tells the service whose end it holds, so that nobody need prove who it is. It hands
over one with the assignment, and another when the service has come up again. What a service wants of the actor arrives
over the same link and waits in the mailbox with everything else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from theater.bus.ends import Full, Gone
from theater.bus.links import Link
from theater.core.wire import MAX_FRAME, Given, Invoke, Returned, Want, decode, encode
from theater.errors import ActorDown, MailboxFull, ServiceDown, TheaterError, TimedOut, WireError, from_wire
from theater.host.base import Refused
from theater.worker.letters import Errand
from theater.worker.mail import Mail

_PATIENCE_S = 0.01
"""How long an asker waits for the answer before it looks around."""

_STEP_S = 0.1
_QUEUE = 4096


@dataclass(slots=True)
class _Line:
    """The connection to one service.

    Attributes:
        link: None while there is none.
        knows_us: what the service must know of this actor has been said on this connection.
        down: whether the service is known to be gone; the supervisor says when it is back.
        given: answers that have come.
        seen: who is told of calls that arrive, by handler.
        ends: of calls that it wanted made, which have not left.
    """

    link: Link | None = None
    knows_us: bool = True
    down: bool = False
    given: dict[int, Given] = field(default_factory=dict)
    ends: list[list[Any]] = field(default_factory=list)
    hooks: list[Callable[[], None]] = field(default_factory=list)
    seen: dict[tuple[str, str], Callable[[Sequence[Any]], None]] = field(default_factory=dict)


class Services:
    """The port `theater.host.services.Services`.

    Args:
        names: of the services of this actor.
        make_way: lets out what was recorded and sent so far.
        origin: digest of the entry that records the running host call.
        remaining: seconds that the running call may still take.
        usual: seconds that an answer may take if nobody says otherwise.
        say: a line for the actor's log.

    Attributes:
        owes: whether there is something for `post`.
        needs_tending: whether there is something for `tend`.
    """

    def __init__(
        self,
        names: Iterable[str],
        mail: Mail,
        make_way: Callable[[], None],
        origin: Callable[[], bytes],
        remaining: Callable[[], float | None],
        usual: float,
        say: Callable[[str], None],
    ) -> None:
        self._mail = mail
        self._make_way = make_way
        self._origin = origin
        self._remaining = remaining
        self._usual = usual
        self._say = say
        self._number = 0
        self._lines: dict[str, _Line] = {name: _Line() for name in names}
        self._saying_again = False
        self.owes = False
        self.needs_tending = False
        self.refused = 0

    # ---- the port

    def ask(self, service: str, op: str, args: Sequence[Any], timeout: float | None = None) -> Any:
        line = self._line(service)
        seconds = self._usual if timeout is None else timeout
        left = self._remaining()
        deadline = time.monotonic_ns() + int((seconds if left is None else min(seconds, left)) * 1e9)
        self._make_way()
        if not self._saying_again:
            self._say_again(service, line)
        link = self._connected(service, line, deadline)
        self._number += 1
        number = self._number
        try:
            link.send(encode(Want(number, op, list(args), self._origin(), deadline)))
        except Gone:
            raise _down(service) from None
        except Full:
            raise MailboxFull(f"the {service} takes no more at the moment: its queue is full") from None
        return self._await(service, line, link, number, deadline)

    def on_up(self, service: str, again: Callable[[], None]) -> None:
        line = self._line(service)
        line.hooks.append(again)
        line.knows_us = False
        self._look_after()

    def on_call(self, service: str, interface: str, function: str, seen: Callable[[Sequence[Any]], None]) -> None:
        self._line(service).seen[interface, function] = seen

    # ---- the worker's side

    def tend(self) -> None:
        """Says again, between two calls, what a service does not know of this actor."""
        for service, line in self._lines.items():
            if not line.knows_us and not line.down:
                self._say_again(service, line)
        self._look_after()

    def _look_after(self) -> None:
        self.needs_tending = any(not line.knows_us and not line.down for line in self._lines.values())

    def changed(self, service: str, up: bool, descriptor: int | None) -> None:
        """The supervisor says that a service has ended, or is there, with the link to it."""
        line = self._lines.get(service)
        if line is None or (up and descriptor is None):
            if descriptor is not None:
                os.close(descriptor)
            return
        self._hang_up(line)
        line.down = not up
        line.knows_us = not line.hooks
        if descriptor is not None:
            line.link = link = Link(descriptor, largest=MAX_FRAME, frames=_QUEUE)
            self._mail.attend(link, lambda: self._drain(service, line, link))
        self._look_after()

    def post(self) -> None:
        """Sends the ends of calls. The entries that record them must be on the disk."""
        self.owes = False
        for line in self._lines.values():
            if line.ends and line.link is not None:
                try:
                    line.link.send(encode(Returned(line.ends)))
                except (Full, Gone):
                    self.refused += 1
            line.ends = []

    def close(self) -> None:
        """Lets go of all lines."""
        for line in self._lines.values():
            self._hang_up(line)

    def _await(self, service: str, line: _Line, link: Link, number: int, deadline: int) -> Any:
        while True:
            if (given := line.given.pop(number, None)) is not None:
                if given.error is not None:
                    raise from_wire(given.error)
                return given.value
            if line.link is not link:
                raise ServiceDown(f"the {service} ended before it answered; it is being started again")
            if self._mail.stopping:
                raise ActorDown(f"this actor is being stopped and does not wait for the {service} any longer")
            left = (deadline - time.monotonic_ns()) / 1e9
            if left <= 0:
                raise TimedOut(f"the {service} did not answer in time")
            # Most answers come soon, and waiting for one link costs least.
            frame = link.receive_within(min(_PATIENCE_S, left))
            if frame is not None:
                self._take(service, line, frame)
            else:
                self._mail.wait(0.0 if left < _STEP_S else _STEP_S)

    def _line(self, service: str) -> _Line:
        line = self._lines.get(service)
        if line is None:
            raise Refused(f"this actor has no {service}")
        return line

    def _connected(self, service: str, line: _Line, deadline: int) -> Link:
        """The link to a service; it comes right behind the assignment."""
        while line.link is None:
            if line.down:
                raise _down(service)
            left = (deadline - time.monotonic_ns()) / 1e9
            if left <= 0:
                raise TimedOut(f"the {service} is being started and was not there in time")
            if self._mail.stopping:
                raise ActorDown(f"this actor is being stopped and does not wait for the {service} any longer")
            self._mail.wait(min(_STEP_S, left))
        return line.link

    def _hang_up(self, line: _Line) -> None:
        if line.link is not None:
            self._mail.neglect(line.link)
            line.link.close(linger_ms=200)
            line.link = None
            line.given.clear()
            line.ends = []

    def _say_again(self, service: str, line: _Line) -> None:
        if line.knows_us or line.down:
            return
        self._saying_again, line.knows_us = True, True
        try:
            for again in line.hooks:
                again()
        except (TheaterError, Refused) as error:
            if isinstance(error, TimedOut):
                line.knows_us = False  # It may be busy with its start; what it is told, it is told again.
            self._say(f"the {service} could not be told of this actor: {error}")
        finally:
            self._saying_again = False
            self._look_after()

    # ---- what comes

    def _drain(self, service: str, line: _Line, link: Link) -> None:
        while line.link is link and (frame := link.receive()) is not None:
            self._take(service, line, frame)
        if line.link is link and link.ended:
            self._hang_up(line)  # The supervisor will say what has become of it.
            line.down = True

    def _take(self, service: str, line: _Line, frame: bytes) -> None:
        try:
            message = decode(frame)
        except WireError:
            self.refused += 1
            return
        if type(message) is Given:
            line.given[message.number] = message
        elif type(message) is Invoke:
            for call in message.calls:
                self._accept(line, call)
        else:
            self.refused += 1

    def _accept(self, line: _Line, call: Any) -> None:
        match call:
            case [int() as number, str() as interface, str() as function, list() as params, int() as deadline]:
                link = line.link
                if (seen := line.seen.get((interface, function))) is not None:
                    seen(params)

                def returned(value: Any, error: TheaterError | None, cause: bytes) -> None:
                    if link is line.link:  # Else the service that wanted it is gone.
                        line.ends.append([number, value, error.to_wire() if error else None, cause])
                        self.owes = True

                self._mail.letters.append(Errand(interface, function, tuple(params), deadline, returned))
            case _:
                self.refused += 1


def _down(service: str) -> ServiceDown:
    return ServiceDown(f"the {service} has ended and is being started again; try later")
