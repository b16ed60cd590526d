"""A worker's lines to services, the processes that do for actors what their own may not.

A line is made when it is first needed, and made anew when the supervisor says that the service has come up again. What
a service wants of the actor arrives by the same line and waits in the mailbox with everything else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from theater.bus.sockets import Context, Dealer, Full
from theater.core.wire import Enter, Entered, Given, Invoke, Returned, Want, decode, encode
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
        dealer: None while there is none.
        knows_us: what the service must know of this actor has been said on this connection.
        down: whether the service is known to be gone; the supervisor says when it is back.
        given: answers that have come.
        seen: who is told of calls that arrive, by handler.
        ends: of calls that it wanted made, which have not left.
    """

    dealer: Dealer | None = None
    knows_us: bool = True
    down: bool = False
    given: dict[int, Given] = field(default_factory=dict)
    ends: list[list[Any]] = field(default_factory=list)
    hooks: list[Callable[[], None]] = field(default_factory=list)
    seen: dict[tuple[str, str], Callable[[Sequence[Any]], None]] = field(default_factory=dict)


class Services:
    """The port `theater.host.services.Services`.

    Args:
        endpoints: where each service of this actor listens.
        me: own id, incarnation, and the token that the service knows this life by.
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
        context: Context,
        endpoints: Mapping[str, str],
        me: tuple[str, int, bytes],
        mail: Mail,
        make_way: Callable[[], None],
        origin: Callable[[], bytes],
        remaining: Callable[[], float | None],
        usual: float,
        say: Callable[[str], None],
    ) -> None:
        self._context = context
        self._endpoints = endpoints
        self._me = me
        self._mail = mail
        self._make_way = make_way
        self._origin = origin
        self._remaining = remaining
        self._usual = usual
        self._say = say
        self._number = 0
        self._lines: dict[str, _Line] = {name: _Line() for name in endpoints}
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
        dealer = self._connected(service, line)
        self._number += 1
        number = self._number
        try:
            dealer.send(encode(Want(number, op, list(args), self._origin(), deadline)))
        except Full:
            raise MailboxFull(f"the {service} takes no more at the moment: its queue is full") from None
        return self._await(service, line, dealer, number, deadline)

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

    def changed(self, service: str, up: bool) -> None:
        """The supervisor says that a service has ended, or is there again."""
        line = self._lines.get(service)
        if line is None or (up and not line.down):
            return  # It is there for the first time: what was said to it meanwhile waits for it.
        was_connected = line.dealer is not None
        self._hang_up(line)
        line.down = not up
        if was_connected or line.hooks:
            line.knows_us = not line.hooks
        self._look_after()

    def post(self) -> None:
        """Sends the ends of calls. The entries that record them must be on the disk."""
        self.owes = False
        for line in self._lines.values():
            if line.ends and line.dealer is not None:
                try:
                    line.dealer.send(encode(Returned(line.ends)))
                except Full:
                    self.refused += 1
            line.ends = []

    def close(self) -> None:
        """Lets go of all lines."""
        for line in self._lines.values():
            self._hang_up(line)

    def _await(self, service: str, line: _Line, dealer: Dealer, number: int, deadline: int) -> Any:
        while True:
            if (given := line.given.pop(number, None)) is not None:
                if given.error is not None:
                    raise from_wire(given.error)
                return given.value
            if line.dealer is not dealer:
                raise ServiceDown(f"the {service} ended before it answered; it is being started again")
            if self._mail.stopping:
                raise ActorDown(f"this actor is being stopped and does not wait for the {service} any longer")
            left = (deadline - time.monotonic_ns()) / 1e9
            if left <= 0:
                raise TimedOut(f"the {service} did not answer in time")
            # Most answers come soon, and waiting for one socket costs least.
            frame = dealer.receive_within(min(_PATIENCE_S, left))
            if frame is not None:
                self._take(service, line, frame)
            else:
                self._mail.wait(0.0 if left < _STEP_S else _STEP_S)

    def _line(self, service: str) -> _Line:
        line = self._lines.get(service)
        if line is None:
            raise Refused(f"this actor has no {service}")
        return line

    def _connected(self, service: str, line: _Line) -> Dealer:
        if line.down:
            raise ServiceDown(f"the {service} has ended and is being started again; try later")
        if line.dealer is None:
            actor, incarnation, token = self._me
            identity = b"%s.%d" % (actor.encode(), incarnation)
            line.dealer = dealer = self._context.dealer(self._endpoints[service], identity=identity, queue=_QUEUE)
            self._mail.attend(dealer, lambda: self._drain(service, line, dealer))
            dealer.send(encode(Enter(actor, incarnation, token)))
        return line.dealer

    def _hang_up(self, line: _Line) -> None:
        if line.dealer is not None:
            self._mail.neglect(line.dealer)
            line.dealer.close(linger_ms=200)
            line.dealer = None
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

    def _drain(self, service: str, line: _Line, dealer: Dealer) -> None:
        while line.dealer is dealer and dealer.has_frames and (frame := dealer.receive()) is not None:
            self._take(service, line, frame)

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
        elif type(message) is not Entered:
            self.refused += 1

    def _accept(self, line: _Line, call: Any) -> None:
        match call:
            case [int() as number, str() as interface, str() as function, list() as params, int() as deadline]:
                dealer = line.dealer
                if (seen := line.seen.get((interface, function))) is not None:
                    seen(params)

                def returned(value: Any, error: TheaterError | None, cause: bytes) -> None:
                    if dealer is line.dealer:  # Else the service that wanted it is gone.
                        line.ends.append([number, value, error.to_wire() if error else None, cause])
                        self.owes = True

                self._mail.letters.append(Errand(interface, function, tuple(params), deadline, returned))
            case _:
                self.refused += 1
