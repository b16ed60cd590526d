"""Where workers come from: the spawner, a template for each component in use, and a spare or two.

A template is made when the first actor of its component starts, and ends when nobody has used it for a while. A
*spare* is a worker that was forked ahead and waits for an assignment, so that a restart does not wait for a fork.
The spawner and templates may die at any time: they are replaced when needed, and running workers go on.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from theater.core.codec import pack, unpack
from theater.errors import StartFailed, TheaterError, WireError, from_wire
from theater.log import Logger
from theater.server.loop import Loop
from theater.server.processes import Ended, Processes

_LARGEST_ANSWER = 1 << 16
_TEMPLATE_IDLE = 60.0
_SPAWNER_PAUSE = 0.5
# One arena, since a worker has one thread that allocates; and buffers of messages are kept for the next one instead of
# being given back and faulted in again, page by page (mallopt(3)).
_MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "4194304", "MALLOC_TRIM_THRESHOLD_": "8388608"}
_LOAD_LIMIT = 30.0
_QUICK_DEATHS = 5
_BIRTHS_AT_ONCE = max(4, 2 * (os.cpu_count() or 1))
"""More lives that begin at the same time would only take the processors from each other, and from the server."""
_YOUNG_S = 0.1
"""After that a life that has not come up counts no longer: its actor may take its time to initialise itself."""
_REST_S = 0.03
"""So long nobody has ordered a worker when a spare is made: its fork and rehearsal would hold up whoever comes now."""


class Breed(NamedTuple):
    """What a template holds: a compiled component of a cache, for the runner the path of the actor's program, and the
    address that its workers connect to when they are born."""

    cache: str
    component: str
    fuel: bool
    program: str | None
    signals: str


class Newborn(NamedTuple):
    """A worker that waits for its assignment on `line`."""

    pid: int
    line: socket.socket


@dataclass(slots=True)
class Order:
    """A wish for a worker, which can be withdrawn."""

    on_born: Callable[[Newborn], None]
    on_failed: Callable[[TheaterError], None]
    cancelled: bool = False


@dataclass(slots=True)
class _Template:
    breed: Breed
    orders: socket.socket | None = None
    pid: int | None = None
    ready: bool = False
    ended: bool = False
    waiting: deque[Order] = field(default_factory=deque)
    forking: dict[int, tuple[socket.socket, Order | None]] = field(default_factory=dict)
    spares: deque[Newborn] = field(default_factory=deque)
    number: int = 0
    used_at: float = 0.0
    resting: bool = False
    error: TheaterError | None = None


class Nursery:
    """Makes workers.

    Args:
        spares: workers kept in reserve for each template that is in use.
    """

    def __init__(self, loop: Loop, processes: Processes, log: Logger, spares: int = 1) -> None:
        self._loop = loop
        self._processes = processes
        self._log = log
        self._spares = spares
        self._templates: dict[Breed, _Template] = {}
        self._spawner: int | None = None
        self._spawner_line: socket.socket | None = None
        self._asked: deque[_Template] = deque()
        self._young: set[int] = set()
        self._quick_deaths = 0
        self._spawner_born = 0.0
        self._closing = False

    # ---- what the server asks for

    def start(self) -> None:
        """Starts the spawner; must come before the supervisor opens any ZeroMQ context."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.set_inheritable(True)
        environment = {**os.environ, **_MALLOC, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-P", "-m", "theater.server.spawner", str(theirs.fileno()), str(os.getpid())]
        with open(os.devnull, "rb") as nothing:
            actions = [(os.POSIX_SPAWN_DUP2, nothing.fileno(), 0)]
            # A session of its own: Ctrl-C in the terminal is for the supervisor, which ends the rest in order.
            pid = os.posix_spawn(sys.executable, command, environment, file_actions=actions, setsid=True)
        theirs.close()
        self._spawner, self._spawner_line, self._spawner_born = pid, ours, self._loop.now()
        self._loop.reader(ours.fileno(), lambda: self._on_spawner(ours))
        self._processes.adopt(pid, lambda ended: self._on_spawner_end(ours, ended))

    def order(self, breed: Breed, order: Order) -> None:
        """Has a worker of `breed` made, or hands over a spare at once; answers through `order`."""
        template = self._template(breed)
        template.used_at = self._loop.now()
        if template.spares:
            self._hand_over(order, template.spares.popleft())
            self._keep_spares(template)
        else:
            template.waiting.append(order)
            self._work()

    def is_up(self, pid: int) -> None:
        """A worker that was handed over has come up, or has ended: the next may be born."""
        if pid in self._young:
            self._young.remove(pid)
            self._work()

    def processes(self) -> dict[str, object]:
        """Process ids of the spawner and of the templates, for `inspect` and for tests."""
        return {"spawner": self._spawner, "templates": [t.pid for t in self._templates.values() if t.pid]}

    def sweep(self, in_use: set[Breed]) -> None:
        """Ends templates that no actor needs and that have not been used lately."""
        oldest = self._loop.now() - _TEMPLATE_IDLE
        for template in list(self._templates.values()):
            if template.breed not in in_use and template.used_at < oldest and not template.waiting:
                self._dismiss(template)

    def close(self) -> None:
        """Ends all templates, spares and the spawner."""
        self._closing = True
        for template in list(self._templates.values()):
            self._dismiss(template)
        if self._spawner_line is not None:
            self._loop.forget(self._spawner_line.fileno())
            self._spawner_line.close()
            self._spawner_line = None
        if self._spawner is not None:
            self._processes.kill(self._spawner)

    # ---- the spawner

    def _on_spawner(self, line: socket.socket) -> None:
        try:
            answer = unpack(line.recv(_LARGEST_ANSWER), max_len=_LARGEST_ANSWER)
        except (OSError, WireError):
            self._loop.forget(line.fileno())  # It is dying; its end is reported by the process table.
            return
        if "pid" in answer and self._asked:
            template = self._asked.popleft()
            template.pid = answer["pid"]
            self._loop.after(_LOAD_LIMIT, lambda: self._check_loaded(template))
            self._processes.adopt(template.pid, lambda ended: self._on_template_end(template, ended))
        elif "error" in answer and self._asked:
            self._fail(self._asked.popleft(), StartFailed(f"the spawner could not fork: {answer['error']}"))

    def _on_spawner_end(self, line: socket.socket, ended: Ended) -> None:
        self._loop.forget(line.fileno())
        line.close()
        if self._closing:
            return
        self._log.warning("the spawner ended and is replaced", signal=ended.signal, status=ended.status)
        self._spawner = self._spawner_line = None
        orphaned = list(self._asked)
        self._asked.clear()
        for template in orphaned:  # Nobody knows whether these were made; if so, they end with their socket.
            self._hang_up(template)
        quick = self._loop.now() - self._spawner_born < 1.0
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
        if self._quick_deaths >= _QUICK_DEATHS:
            self._log.error("the spawner dies as soon as it starts; waiting before the next try")
            self._loop.after(_SPAWNER_PAUSE * 10, self._restart_spawner)
        else:
            self._loop.after(_SPAWNER_PAUSE if quick else 0.0, self._restart_spawner)

    def _restart_spawner(self) -> None:
        if self._closing or self._spawner is not None:
            return
        try:
            self.start()
        except OSError as error:
            self._log.error("there is no spawner, and none can be started", error=str(error))
            self._loop.after(_SPAWNER_PAUSE, self._restart_spawner)
            return
        for template in list(self._templates.values()):
            if template.pid is None and template not in self._asked:
                self._ask_for(template)

    # ---- templates

    def _template(self, breed: Breed) -> _Template:
        template = self._templates.get(breed)
        if template is None:
            template = self._templates[breed] = _Template(breed)
            self._ask_for(template)
        return template

    def _ask_for(self, template: _Template) -> None:
        if self._spawner_line is None:
            return  # Asked for again when there is a spawner.
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            failed = _no_line(error)
            self._loop.soon(lambda: self._fail(template, failed))  # Its orders come after this.
            return
        self._hang_up(template)
        template.orders = ours
        order = pack(template.breed._asdict())
        try:
            socket.send_fds(self._spawner_line, [order], [theirs.fileno()])
            self._asked.append(template)
        except OSError:
            pass  # The spawner is dying; see above.
        finally:
            theirs.close()
        self._loop.reader(ours.fileno(), lambda: self._on_template(template, ours))

    def _hang_up(self, template: _Template) -> None:
        """Closes the line to a template, which ends it if it lives."""
        if template.orders is not None:
            self._loop.forget(template.orders.fileno())
            template.orders.close()
            template.orders = None

    def _on_template(self, template: _Template, line: socket.socket) -> None:
        try:
            data = line.recv(_LARGEST_ANSWER)
            answer = unpack(data, max_len=_LARGEST_ANSWER) if data else None
        except (OSError, WireError):
            answer = None
        if answer is None:
            self._loop.forget(line.fileno())
        elif "ready" in answer:
            template.ready = True
            self._work()
        elif "error" in answer:
            template.error = from_wire(answer)
        elif "fork" in answer:
            self._on_forked(template, answer["fork"], answer["pid"])

    def _check_loaded(self, template: _Template) -> None:
        """A program may loop while it is imported; nothing else ends a template then."""
        if not template.ready and not template.ended and template.pid is not None:
            template.error = template.error or StartFailed(f"the program was not loaded within {_LOAD_LIMIT:g} s")
            self._processes.kill(template.pid)

    def _on_forked(self, template: _Template, number: int, pid: int) -> None:
        line, order = template.forking.pop(number)
        newborn = Newborn(pid, line)
        if order is not None:
            self._hand_over(order, newborn)
            self._work()  # Unless it was taken up, there is a place for another.
        else:
            self._processes.adopt(pid, lambda ended: self._on_spare_end(newborn, ended))
            template.spares.append(newborn)
        self._keep_spares(template)

    def _hand_over(self, order: Order, newborn: Newborn) -> None:
        if order.cancelled:
            newborn.line.close()  # It waits for an assignment and ends when nobody can give one.
            self._processes.adopt(newborn.pid, lambda ended: None)
        else:
            pid = newborn.pid
            self._young.add(pid)
            self._loop.after(_YOUNG_S, lambda: self.is_up(pid))
            order.on_born(newborn)

    def _on_spare_end(self, newborn: Newborn, ended: Ended) -> None:
        for template in self._templates.values():
            if newborn in template.spares:
                template.spares.remove(newborn)
                newborn.line.close()
                return
        self._processes.keep(newborn.pid, ended)  # It is on its way to an actor, which will ask for its end.

    def _on_template_end(self, template: _Template, ended: Ended) -> None:
        template.ended = True
        self._hang_up(template)
        if self._templates.get(template.breed) is template:
            del self._templates[template.breed]
        if self._closing:
            return
        orders = [order for _, order in template.forking.values() if order is not None] + list(template.waiting)
        for line, _ in template.forking.values():
            line.close()
        error = template.error
        if error is None and not template.ready and ended.signal != signal.SIGKILL:
            error = StartFailed(f"the component's template ended while it loaded ({_how(ended)})")
        if error is not None:
            for order in orders:
                if not order.cancelled:
                    order.on_failed(error)
            self._drop_spares(template)
            return
        if template.spares or orders:
            self._log.warning("a template ended and is replaced", signal=ended.signal, status=ended.status)
        spares = template.spares
        template.spares = deque()
        if orders or spares:
            successor = self._template(template.breed)
            successor.used_at = template.used_at
            successor.spares.extend(spares)
            for order in orders:
                self.order(template.breed, order)

    def _work(self) -> None:
        """Sends what waits to templates that can take it, to each of them in turn."""
        able = deque(template for template in self._templates.values() if template.ready and template.waiting)
        while able and self._births() < _BIRTHS_AT_ONCE:
            template = able.popleft()
            order = template.waiting.popleft()
            if not order.cancelled:
                self._fork(template, order)
            if template.waiting:
                able.append(template)

    def _births(self) -> int:
        """How many lives are about to begin."""
        coming = (order for template in self._templates.values() for _, order in template.forking.values())
        return len(self._young) + sum(order is not None for order in coming)

    def _fork(self, template: _Template, order: Order | None) -> None:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            if order is not None:
                wanted, failed = order, _no_line(error)
                self._loop.soon(lambda: None if wanted.cancelled else wanted.on_failed(failed))
            return
        template.number += 1
        template.forking[template.number] = (ours, order)
        try:
            if template.orders is None:
                raise OSError("hung up")
            socket.send_fds(
                template.orders, [pack({"fork": template.number, "spare": order is None})], [theirs.fileno()]
            )
        except OSError:
            pass  # It is dying: its end gives the order to a successor.
        finally:
            theirs.close()

    def _keep_spares(self, template: _Template) -> None:
        """Has spares made as soon as nobody waits for anything."""
        if not template.resting and len(template.spares) < self._spares:
            template.resting = True
            self._loop.after(_REST_S, lambda: self._rested(template))

    def _rested(self, template: _Template) -> None:
        left = template.used_at + _REST_S - self._loop.now()
        if left > 0:
            self._loop.after(left, lambda: self._rested(template))
            return
        template.resting = False
        idle = template.ready and template.orders is not None and not template.forking and not template.waiting
        if idle and len(template.spares) < self._spares:
            self._fork(template, None)

    def _drop_spares(self, template: _Template) -> None:
        for newborn in template.spares:
            newborn.line.close()
            self._processes.adopt(newborn.pid, lambda ended: None)
        template.spares.clear()

    def _fail(self, template: _Template, error: TheaterError) -> None:
        if self._templates.get(template.breed) is template:
            del self._templates[template.breed]
        for order in template.waiting:
            if not order.cancelled:
                order.on_failed(error)

    def _dismiss(self, template: _Template) -> None:
        self._templates.pop(template.breed, None)
        self._drop_spares(template)
        self._hang_up(template)


def _how(ended: Ended) -> str:
    return f"signal {ended.signal}" if ended.signal is not None else f"status {ended.status}"


def _no_line(error: OSError) -> StartFailed:
    return StartFailed(f"the server has no socket for another worker: {error.strerror}")
