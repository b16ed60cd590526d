"""One loop for everything the supervisor waits for: descriptors, moments, and what was put off.

It decides nothing. ZeroMQ's descriptors are edge-triggered and say only "look again", so sockets are given as
`drains`: functions that take what is there, called after every wake until none of them found anything, or until it is
the others' turn: whoever sends faster than it is answered keeps nobody from hearing of deaths and deadlines.
"""

from __future__ import annotations

import heapq
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

_LONGEST_WAIT = 1.0
_QUIET_S = 0.005
_PUT_OFF_S = 0.25
_SLICE_S = 0.01
"""How long one kind of work goes on before the loop looks for what else has come: a thousand deaths at once must not
keep a client waiting."""


@dataclass(order=True, slots=True)
class Alarm:
    """A function to be called at `at` (monotonic seconds) unless it is cancelled."""

    at: float
    number: int
    action: Callable[[], None] | None = field(compare=False)

    def cancel(self) -> None:
        self.action = None


class Loop:
    """Runs until `stop` is called."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._writers: dict[int, Callable[[], None]] = {}
        self._unheeded: set[int] = set()
        self._drains: list[Callable[[], bool]] = []
        self._alarms: list[Alarm] = []
        self._soon: deque[Callable[[], None]] = deque()
        self._later: deque[Callable[[], None]] = deque()
        self._later_by = 0.0
        self._signals: dict[int, Callable[[], None]] = {}
        self._number = 0
        self._stopped = False
        self._is_more = False
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self.reader(self._wake_out.fileno(), self._on_wake)

    @staticmethod
    def now() -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def reader(self, fd: int, action: Callable[[], None]) -> None:
        """Calls `action` whenever `fd` can be read."""
        self._readers[fd] = action
        self._epoll.register(fd, select.EPOLLIN)

    @property
    def readers(self) -> frozenset[int]:
        """Descriptors that are being watched."""
        return frozenset(self._readers)

    def forget(self, fd: int) -> None:
        """Ends `reader` and `writer`; must come before the descriptor is closed."""
        self._unheeded.discard(fd)
        known = [self._readers.pop(fd, None), self._writers.pop(fd, None)]
        if any(action is not None for action in known):
            self._epoll.unregister(fd)

    def writer(self, fd: int, action: Callable[[], None] | None) -> None:
        """Calls `action` whenever `fd`, which has a `reader`, takes something; None ends that."""
        if action is None:
            self._writers.pop(fd, None)
        else:
            self._writers[fd] = action
        self._epoll.modify(fd, self._interest(fd))

    def heed(self, fd: int, yes: bool) -> None:
        """Whether the action of `reader` is called; one whose other end is closed is called even if not."""
        if yes == (fd in self._unheeded):
            (self._unheeded.discard if yes else self._unheeded.add)(fd)
            self._epoll.modify(fd, self._interest(fd))

    def _interest(self, fd: int) -> int:
        return (0 if fd in self._unheeded else select.EPOLLIN) | (select.EPOLLOUT if fd in self._writers else 0)

    def drain(self, fd: int, action: Callable[[], bool]) -> None:
        """Calls `action` after every wake, and again while it returns True; `fd` wakes the loop.

        It takes a few things at once, so that others have their turn.
        """
        self._drains.append(action)
        self.reader(fd, _nothing)

    def on_signal(self, number: int, action: Callable[[], None]) -> None:
        """Calls `action` from the loop, never from within other code, when the signal arrives."""
        self._signals[number] = action
        signal.signal(number, lambda *_: None)
        signal.siginterrupt(number, False)
        signal.set_wakeup_fd(self._wake_in.fileno(), warn_on_full_buffer=False)

    def at(self, moment: float, action: Callable[[], None]) -> Alarm:
        """Calls `action` at `moment`, monotonic seconds."""
        self._number += 1
        alarm = Alarm(moment, self._number, action)
        heapq.heappush(self._alarms, alarm)
        return alarm

    def after(self, seconds: float, action: Callable[[], None]) -> Alarm:
        return self.at(self.now() + seconds, action)

    def soon(self, action: Callable[[], None]) -> None:
        """Calls `action` in the next turn."""
        self._soon.append(action)

    def later(self, action: Callable[[], None]) -> None:
        """Calls `action` behind everything that somebody waits for: when nothing has come for a few milliseconds, but
        within a quarter of a second."""
        if not self._later:
            self._later_by = self.now() + _PUT_OFF_S
        self._later.append(action)

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        while not self._stopped:
            self.turn()
        while self._later:
            self._later.popleft()()

    def turn(self) -> None:
        """Waits for something, then carries out all that is due."""
        events = self._epoll.poll(self._timeout())
        for fd, event in events:
            if event & select.EPOLLOUT and (action := self._writers.get(fd)) is not None:
                action()
            if event & ~select.EPOLLOUT and (action := self._readers.get(fd)) is not None:
                action()
        self._run_alarms()
        self._run_soon()
        self._run_drains()
        if self._later and not self._soon and (not events or self.now() >= self._later_by):
            self._run_slice(self._later)

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        self._epoll.close()
        self._wake_in.close()
        self._wake_out.close()

    def _timeout(self) -> float:
        if self._soon or self._is_more:
            return 0.0
        longest = _QUIET_S if self._later else _LONGEST_WAIT
        while self._alarms and self._alarms[0].action is None:
            heapq.heappop(self._alarms)
        if not self._alarms:
            return longest
        return min(max(self._alarms[0].at - self.now(), 0.0), longest)

    def _run_alarms(self) -> None:
        now = self.now()
        while self._alarms and self._alarms[0].at <= now:
            action = heapq.heappop(self._alarms).action
            if action is not None:
                action()

    def _run_soon(self) -> None:
        self._run_slice(self._soon)

    def _run_drains(self) -> None:
        until = self.now() + _SLICE_S
        # Every one of them, not the first that found something.
        while is_more := sum(drain() for drain in self._drains) > 0:
            self._run_soon()
            if self.now() > until:
                break
        self._is_more = is_more

    def _run_slice(self, actions: deque[Callable[[], None]]) -> None:
        """Those that are there now, in order, as far as the time goes."""
        until = self.now() + _SLICE_S
        for _ in range(len(actions)):
            actions.popleft()()
            if self.now() > until:
                return

    def _on_wake(self) -> None:
        try:
            arrived = self._wake_out.recv(4096)
        except BlockingIOError:
            return
        for number in set(arrived):
            action = self._signals.get(number)
            if action is not None:
                action()


def _nothing() -> None:
    pass
