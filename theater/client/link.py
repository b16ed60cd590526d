"""One conversation with a server: requests go out with an id and a deadline, outcomes come back in any order.

Nothing here waits for ever. A request ends in exactly one of a value, the server's error, `TimedOut`, or
`NoServer`. Two things make the last one quick. Before ZeroMQ, which connects to nothing as happily as to a
server, a plain connect() asks the socket file whether somebody listens, and who (SO_PEERCRED, unix(7)). While
a request is out, that process is watched through its pidfd: its end is seen at once, where ZeroMQ would
silently connect anew to whoever comes next and leave the request unanswered. Over the network, where there is no
process to be watched, the connection itself is (bus/doors.py): it is made once, and its end is the server's.

A reply to a request that was given up is dropped, since its id is no longer known.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from theater.bus.doors import REMOTE_FRAME, Event, Monitor, enter
from theater.bus.sockets import Context, Dealer, Full
from theater.client.route import Route, host_and_port
from theater.core import wire
from theater.core.curve import fingerprint, public_of
from theater.errors import (
    InvalidInput,
    MessageTooLarge,
    NoServer,
    NotAuthorised,
    TheaterError,
    TimedOut,
    WireError,
    WrongServerKey,
    from_wire,
)

_CONNECT_S = 2.0
"""How long a server may take to accept a connection; it takes microseconds unless its process is stopped."""

_LONGEST_S = 86_400.0
"""Of one sleep: poll(2) takes no more than 24 days, and whoever waits looks again anyway."""

_LAST_WORDS_S = 0.1
"""What a dead server has sent is still read for so long: its reply may be on its way through ZeroMQ's thread."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How request `number` ended: `error` is None if `value` is its answer."""

    number: int
    value: Any = None
    error: TheaterError | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    op: str
    timeout: float
    deadline: float
    on_progress: Callable[[str], None] | None


class Link:
    """A connection that is made at the first request, and made anew after the server was lost.

    It belongs to one thread.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self.address = route.address
        self._monitor: Monitor | None = None
        self._is_in = False
        self._over: TheaterError | None = None
        self._context: Context | None = None
        self._dealer: Dealer | None = None
        self._server: int | None = None
        self._number = 0
        self._joint = wire.Joint()
        self._waiting: dict[int, _Waiting] = {}
        self._done: dict[int, Outcome] = {}

    def submit(
        self, op: str, args: dict[str, Any], timeout: float, on_progress: Callable[[str], None] | None = None
    ) -> int:
        """Sends a request and returns its number; its outcome is collected with `outcome`.

        Args:
            timeout: seconds until the request ends with `TimedOut`.
            on_progress: is called with each line that the server says about it in the meantime.

        Raises:
            NoServer: nobody listens at the address.
            TimedOut: the server accepts no connection, or its queue is full.
            MessageTooLarge: the request does not fit into a frame.
            InvalidInput: an argument has a text that is not Unicode.
        """
        dealer = self._connected()
        self._number += 1
        frame = _frame(wire.Request(self._number, op, args, int(timeout * 1000)))
        longest = REMOTE_FRAME if self._route.is_remote else wire.MAX_FRAME
        if len(frame) > longest:
            where = " over the network" if self._route.is_remote else ""
            raise MessageTooLarge(f"a request of {len(frame)} bytes is too large; a server takes {longest}{where}")
        try:
            dealer.send(frame)
        except Full as error:
            raise TimedOut(f"the server at {self.address} takes no more requests") from error
        self._waiting[self._number] = _Waiting(op, timeout, time.monotonic() + timeout, on_progress)
        return self._number

    def outcome(self, among: Collection[int]) -> Outcome:
        """Waits for the first of the requests `among` that ends; the outcomes of others are kept for their own call.

        Raises:
            WireError: what listens at the address is no server of this protocol version.
        """
        while True:
            found = self.outcome_within(among, _LONGEST_S)
            if found is not None:
                return found

    def outcome_within(self, among: Collection[int], seconds: float, also: Collection[int] = ()) -> Outcome | None:
        """As `outcome`, but None when the time is over, or one of the descriptors `also` can be read."""
        until = time.monotonic() + seconds
        is_over = False
        while True:
            for number in among:
                if number in self._done:
                    return self._done.pop(number)
            self._hear()
            self._expire()
            if not self._done.keys() & set(among):
                if is_over:
                    return None
                is_over = self._pause(until, also) or time.monotonic() >= until

    def forget(self, numbers: Collection[int]) -> None:
        """Gives requests up; what arrives for them is dropped."""
        for number in numbers:
            self._waiting.pop(number, None)
            self._done.pop(number, None)

    def wait_gone(self, timeout: float) -> bool:
        """Waits `timeout` seconds for the end of the server's process, or over the network of the connection; False if
        it lives on, or cannot be seen."""
        if self._route.is_remote:
            return self._wait_lost(timeout)
        if self._server is None:
            return False
        poller = select.poll()
        poller.register(self._server, select.POLLIN)
        return bool(poller.poll(int(timeout * 1000)))

    def close(self) -> None:
        """Ends the conversation and gives up its open requests; another request connects anew."""
        self._waiting.clear()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if self._dealer is not None:
            self._dealer.close()
            self._dealer = None
        if self._context is not None:
            self._context.close()
            self._context = None
        if self._server is not None:
            os.close(self._server)
            self._server = None

    def _connected(self) -> Dealer:
        if self._dealer is None:
            if self._route.is_remote:
                _require_host(self.address)
            else:
                self._server = _watch(self.address)
            self._context = Context()
            self._joint = wire.Joint()
            self._is_in, self._over = False, None
            try:
                self._dealer, self._monitor = enter(self._context, self.address, self._route.keys)
            except OSError as error:
                raise no_server(self.address) from error
            return self._dealer
        if self._notice() is not None or self.wait_gone(0):
            self._bury(None)
            return self._connected()
        return self._dealer

    def _notice(self) -> TheaterError | None:
        """Why the connection is over, if it is; a server of this machine is watched otherwise."""
        while self._monitor is not None and self._over is None and (event := self._monitor.next()) is not None:
            self._is_in = self._is_in or event is Event.IN
            self._over = self._meaning(event)
        return self._over

    def _meaning(self, event: Event) -> TheaterError | None:
        if event is Event.REFUSED:
            return NotAuthorised(_refused(self._route))
        if not self._route.is_remote:
            return None
        if event is Event.NO_SUCH_LANGUAGE:
            return WrongServerKey(
                f"what listens at {self.address} is not the server with the key that is known here; if that server has "
                "a new one, its admin can tell: `theater keys show`",
                address=self.address,
            )
        if event in (Event.LOST, Event.UNREACHABLE):
            return _lost(self.address) if self._is_in else no_server(self.address)
        return None

    def _wait_lost(self, timeout: float) -> bool:
        """Waits for the end of the connection."""
        until = time.monotonic() + timeout
        poller = select.poll()
        while self._monitor is not None:
            if self._notice() is not None:
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            poller.register(self._monitor.fileno(), select.POLLIN)
            poller.poll(min(left, 0.1) * 1000)
        return False

    def _hear(self) -> None:
        """Takes in every frame that has arrived."""
        while self._dealer is not None and (frame := self._dealer.receive()) is not None:
            message = self._joint.take(wire.decode(frame))
            if message is not None:
                self._understand(message)

    def _understand(self, message: wire.Message) -> None:
        if isinstance(message, wire.StillThere):
            return
        if not isinstance(message, wire.Progress | wire.Reply | wire.Failure):
            raise WireError(f"the server at {self.address} answered with a {type(message).__name__} message")
        waiting = self._waiting.get(message.id)
        if waiting is None:
            return
        if isinstance(message, wire.Progress):
            if waiting.on_progress is not None:
                waiting.on_progress(message.text)
        elif isinstance(message, wire.Reply):
            self._end(Outcome(message.id, value=message.value))
        else:
            self._end(Outcome(message.id, error=from_wire(message.error)))

    def _expire(self) -> None:
        now = time.monotonic()
        for number, waiting in list(self._waiting.items()):
            if waiting.deadline <= now:
                self._end(Outcome(number, error=self._too_late(waiting)))

    def _end(self, outcome: Outcome) -> None:
        del self._waiting[outcome.number]
        self._done[outcome.number] = outcome

    def _too_late(self, waiting: _Waiting) -> TimedOut:
        return TimedOut(
            f"no answer from the server at {self.address} to {waiting.op!r} within {waiting.timeout:g} s; "
            "it may still be carried out",
            op=waiting.op,
            timeout=waiting.timeout,
        )

    def _pause(self, until: float, also: Collection[int]) -> bool:
        """Sleeps until a frame, the end of the server, the next deadline, or `until`; whether one of the descriptors
        `also` can be read."""
        assert self._dealer is not None, "a request is waited for that was never submitted"
        over = self._notice()
        if over is not None:
            self._bury(over)
            return False
        poller = select.poll()
        if self._monitor is not None:
            poller.register(self._monitor.fileno(), select.POLLIN)
        poller.register(self._dealer.fileno(), select.POLLIN)
        if self._server is not None:
            poller.register(self._server, select.POLLIN)
        for descriptor in also:
            poller.register(descriptor, select.POLLIN)
        due = min([until, *(waiting.deadline for waiting in self._waiting.values())])
        ready = {
            descriptor for descriptor, _ in poller.poll(min(max(0.0, due - time.monotonic()), _LONGEST_S) * 1000 + 1)
        }
        if self._server in ready:
            self._bury(None)
        return not ready.isdisjoint(also)

    def _bury(self, why: TheaterError | None) -> None:
        """The server is dead: what it said before is read, then every request that is left ends with `why`, by default
        NoServer."""
        assert self._dealer is not None
        poller = select.poll()
        poller.register(self._dealer.fileno(), select.POLLIN)
        silent_at = time.monotonic() + _LAST_WORDS_S
        while self._waiting and (left := silent_at - time.monotonic()) > 0:
            poller.poll(left * 1000)
            self._hear()
        for number in list(self._waiting):
            self._end(Outcome(number, error=why or no_server(self.address)))
        self.close()


def _frame(request: wire.Request) -> bytes:
    try:
        return wire.encode(request)
    except ValueError as error:
        raise InvalidInput(f"the request {request.op!r} cannot be sent: {error}") from error


def no_server(address: str) -> NoServer:
    """The one sentence for an address at which nobody answers."""
    if not address.startswith("ipc://"):
        return NoServer(f"no server answers at {address}: is it up, and does it --listen there?", address=address)
    return NoServer(f"no server at {address}; start one with `theater server`", address=address)


def _lost(address: str) -> NoServer:
    return NoServer(
        f"the connection to the server at {address} is lost; what was under way may be done", address=address
    )


def _refused(route: Route) -> str:
    if route.keys is None:
        return (
            f"the server at {route.address} refuses this process: it is not of the server's user, or the server has "
            "started it"
        )
    own = fingerprint(public_of(route.keys.own))
    return f"the server at {route.address} does not authorise the key {own}: it was never added, was removed or expired"


def _require_host(address: str) -> None:
    """Raises NoServer if there is no such host; ZeroMQ would look for it for ever."""
    try:
        socket.getaddrinfo(*host_and_port(address), type=socket.SOCK_STREAM)
    except OSError as error:
        why = error.strerror or str(error)
        raise NoServer(f"no server answers at {address}: {why}", address=address) from error


def _watch(address: str) -> int | None:
    """A descriptor that becomes readable when the process that listens at `address` ends.

    None if that process cannot be watched since it lives in a pid namespace that this one does not see; then
    only deadlines end a wait.

    Raises:
        NoServer: nobody listens, the socket file is missing or stale, or it belongs to somebody else.
        TimedOut: somebody listens but does not accept.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_S)
        try:
            probe.connect(address.removeprefix("ipc://"))
        except (TimeoutError, BlockingIOError) as error:
            raise TimedOut(f"the server at {address} accepts no connection; is its process stopped?") from error
        except PermissionError as error:
            raise NoServer(f"the server at {address} belongs to another user", address=address) from error
        except OSError as error:
            raise no_server(address) from error
        pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if pid == 0:
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise no_server(address) from error
