"""Where workers come from: the spawner, a template for each component in use, and a spare or two.

A template is made when the first actor of its component starts, and ends when nobody has used it for a while. A
*spare* is a worker that was forked ahead and waits for an assignment, so that a restart does not wait for a fork.
When many are about to be ordered, one after the other, they are forked *ahead*, together, while others end or begin.
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

from theater.bus.links import Link, pair
from theater.core.codec import pack, unpack
from theater.errors import StartFailed, TheaterError, WireError, from_wire
from theater.log import Logger
from theater.server.loop import Loop
from theater.server.processes import Ended, Processes
from theater.server.warden import Warden
from theater.walls.standing import Standing

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
_AHEAD_MOST = 32
_AHEAD_S = 10.0
"""How long workers that were forked ahead wait to be ordered: as long as it may take to stop those before them."""
_REST_S = 0.03
"""So long nobody has ordered a worker when a spare is made: its fork and rehearsal would hold up whoever comes now."""


class Breed(NamedTuple):
    """What a template holds: a compiled component of a cache, and for the runner the path of the actor's program. Its
    spares rehearse in `stages`. And what it may reach: the home, and folders that a manifest grants, each with whether
    it may be changed and the number of what is there now (0 for nothing)."""

    cache: str
    component: str
    fuel: bool
    program: str | None
    stages: str
    home: str
    folders: tuple[tuple[str, bool, int], ...] = ()


class Newborn(NamedTuple):
    """A worker that waits for its assignment on `line`, which stays its link to the supervisor."""

    pid: int
    line: Link


@dataclass(slots=True)
class Order:
    """A wish for a worker, which can be withdrawn."""

    on_born: Callable[[Newborn], None]
    on_failed: Callable[[TheaterError], None]
    cancelled: bool = False


class _Fork(NamedTuple):
    """A worker that is being forked.

    Args:
        order: who waits for it; None for one that is made in reserve.
        spare: nobody is about to order it, so that it has time for a rehearsal.
    """

    line: Link
    order: Order | None
    spare: bool = False


@dataclass(slots=True)
class _Template:
    breed: Breed
    orders: socket.socket | None = None
    pid: int | None = None
    ready: bool = False
    ended: bool = False
    waiting: deque[Order] = field(default_factory=deque)
    forking: dict[int, _Fork] = field(default_factory=dict)
    spares: deque[Newborn] = field(default_factory=deque)
    ahead: deque[Newborn] = field(default_factory=deque)
    expected: int = 0
    expected_until: float = 0.0
    number: int = 0
    used_at: float = 0.0
    resting: bool = False
    error: TheaterError | None = None

    @property
    def unclaimed(self) -> int:
        """Workers on their way that the next who come may have."""
        return sum(fork.order is None and not fork.spare for fork in self.forking.values())


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
        self.warden = Warden(loop, processes, log)
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
            actions = [(os.POSIX_SPAWN_DUP2, nothing.fileno(), 0), *self._processes.standard_error()]
            # A session of its own: Ctrl-C in the terminal is for the supervisor, which ends the rest in order.
            pid = os.posix_spawn(sys.executable, command, environment, file_actions=actions, setsid=True)
        theirs.close()
        self._spawner, self._spawner_line, self._spawner_born = pid, ours, self._loop.now()
        self._loop.reader(ours.fileno(), lambda: self._on_spawner(ours))
        self._processes.introduce(pid, process="spawner")
        self._processes.adopt(pid, lambda ended: self._on_spawner_end(ours, ended))

    def order(self, breed: Breed, order: Order) -> None:
        """Has a worker of `breed` made, or hands over a spare at once; answers through `order`."""
        template = self._template(breed)
        template.used_at = self._loop.now()
        ready = template.spares or template.ahead
        if ready:
            self._hand_over(order, ready.popleft())
            self._keep_spares(template)
        else:
            template.waiting.append(order)
            self._work()

    def expect(self, breed: Breed, count: int) -> None:
        """So many workers of `breed` are about to be ordered, one after the other: they are made now, together."""
        template = self._templates.get(breed)
        if template is None or count <= 1:
            return
        template.expected = min(count, _AHEAD_MOST) - len(template.spares) - len(template.ahead)
        template.expected_until = self._loop.now() + _AHEAD_S
        self._work()
        self._keep_spares(template)

    def is_up(self, pid: int) -> None:
        """A worker that was handed over has come up, or has ended: the next may be born."""
        if pid in self._young:
            self._young.remove(pid)
            self._work()

    @property
    def has_spawner(self) -> bool:
        """Whether workers can be born."""
        return self._spawner is not None

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
        self.warden.close()
        if self._spawner_line is not None:
            self._loop.forget(self._spawner_line.fileno())
            self._spawner_line.close()
            self._spawner_line = None
        if self._spawner is not None:
            self._processes.kill(self._spawner)

    # ---- the spawner

    def _on_spawner(self, line: socket.socket) -> None:
        try:
            data, found, _, _ = socket.recv_fds(line, _LARGEST_ANSWER, 1)
            answer = unpack(data, max_len=_LARGEST_ANSWER)
        except (OSError, WireError):
            self._loop.forget(line.fileno())  # It is dying; its end is reported by the process table.
            return
        if "walls" in answer:
            self.warden.begin(found[0] if found else None, Standing.from_plain(answer["walls"]))
        elif "pid" in answer and self._asked:
            template = self._asked.popleft()
            template.pid = answer["pid"]
            self._processes.introduce(answer["pid"], process="template", component=template.breed.component)
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
            self._log.error("there is no spawner, and none can be started", why=str(error))
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
        line, order, spare = template.forking.pop(number)
        newborn = Newborn(pid, line)
        if order is None:
            self._processes.adopt(pid, lambda ended: self._on_spare_end(newborn, ended))
            order = None if spare else _next_of(template.waiting)
        if order is not None:
            self._hand_over(order, newborn)
        else:
            (template.spares if spare else template.ahead).append(newborn)
        self._work()  # There may be a place for another.
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
            for reserve in (template.spares, template.ahead):
                if newborn in reserve:
                    reserve.remove(newborn)
                    newborn.line.close()
                    if self._loop.now() < template.used_at + _REST_S:
                        self._keep_spares(template)  # The one who came last found it here, and had no other made.
                    return
        self._processes.keep(newborn.pid, ended)  # It is on its way to an actor, which will ask for its end.

    def _on_template_end(self, template: _Template, ended: Ended) -> None:
        template.ended = True
        self._hang_up(template)
        if self._templates.get(template.breed) is template:
            del self._templates[template.breed]
        if self._closing:
            return
        orders = [fork.order for fork in template.forking.values() if fork.order is not None] + list(template.waiting)
        for fork in template.forking.values():
            fork.line.close()
        error = template.error
        if error is None and template.pid is not None and (offence := self.warden.offence(template.pid)) is not None:
            error = StartFailed(f"its component was ended while it was loaded: it {offence}")
        if error is None and not template.ready and ended.signal != signal.SIGKILL:
            error = StartFailed(f"the component's template ended while it loaded ({_how(ended)})")
        if error is not None:
            for order in orders:
                if not order.cancelled:
                    order.on_failed(error)
            self._drop_spares(template)
            return
        if template.spares or template.ahead or orders:
            self._log.warning("a template ended and is replaced", signal=ended.signal, status=ended.status)
        spares, ahead = template.spares, template.ahead
        template.spares, template.ahead = deque(), deque()
        if orders or spares or ahead:
            successor = self._template(template.breed)
            successor.used_at, successor.expected_until = template.used_at, template.expected_until
            successor.spares.extend(spares)
            successor.ahead.extend(ahead)
            for order in orders:
                self.order(template.breed, order)

    def _work(self) -> None:
        """Has templates fork for what waits, each of them in turn, and then for what is expected."""
        able = deque(template for template in self._templates.values() if template.ready)
        while able and self._births() < _BIRTHS_AT_ONCE:
            template = able.popleft()
            if len(template.waiting) > template.unclaimed and (order := _next_of(template.waiting)) is not None:
                self._fork(template, order)
            elif template.expected > template.unclaimed:
                template.expected -= 1
                self._fork(template, None)
            else:
                continue
            able.append(template)

    def _births(self) -> int:
        """How many lives are about to begin."""
        return len(self._young) + sum(len(template.forking) for template in self._templates.values())

    def _fork(self, template: _Template, order: Order | None, *, spare: bool = False) -> None:
        try:
            ours, theirs = pair()
        except OSError as error:
            if order is not None:
                wanted, failed = order, _no_line(error)
                self._loop.soon(lambda: None if wanted.cancelled else wanted.on_failed(failed))
            return
        template.number += 1
        # What the server itself says is never refused: it is bounded by what workers may ask, and by their number.
        line = Link(ours, largest=_LARGEST_ANSWER, frames=sys.maxsize, size=sys.maxsize)
        template.forking[template.number] = _Fork(line, order, spare)
        try:
            if template.orders is None:
                raise OSError("hung up")
            socket.send_fds(template.orders, [pack({"fork": template.number, "spare": spare})], [theirs])
        except OSError:
            pass  # It is dying: its end gives the order to a successor.
        finally:
            os.close(theirs)

    def _keep_spares(self, template: _Template) -> None:
        """Has spares made as soon as nobody waits for anything, and lets go of those that nobody has ordered."""
        if not template.resting and (template.ahead or len(template.spares) < self._spares):
            template.resting = True
            self._loop.after(_REST_S, lambda: self._rested(template))

    def _rested(self, template: _Template) -> None:
        rest = template.used_at + _REST_S
        until = max(rest, template.expected_until) if template.ahead or template.expected > 0 else rest
        left = until - self._loop.now()
        if left > 0:
            self._loop.after(left, lambda: self._rested(template))
            return
        template.resting = False
        template.expected = 0
        self._let_go(template.ahead)
        idle = template.ready and template.orders is not None and not template.forking and not template.waiting
        if idle and len(template.spares) < self._spares:
            self._fork(template, None, spare=True)

    def _drop_spares(self, template: _Template) -> None:
        self._let_go(template.spares)
        self._let_go(template.ahead)

    def _let_go(self, reserve: deque[Newborn]) -> None:
        for newborn in reserve:
            newborn.line.close()
            self._processes.adopt(newborn.pid, lambda ended: None)
        reserve.clear()

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


def _next_of(waiting: deque[Order]) -> Order | None:
    """Takes out the first that has not been withdrawn."""
    while waiting:
        order = waiting.popleft()
        if not order.cancelled:
            return order
    return None
