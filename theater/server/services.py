"""Services: processes of the server that do for actors what their sealed workers may not (D6).

One is started when the first life begins that needs it, and ends with the server. It is told of each such life and what
its manifest grants, and given one end of a link whose other end its worker gets; so it trusts no worker's word. One
that dies is started again, more slowly each time, and told of all lives anew, with new links; workers learn of both,
and say again what it must know.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theater import log as logs
from theater.bus.ends import Full, Gone
from theater.bus.links import Link, pair
from theater.config import Home
from theater.core import schema
from theater.core.handlers import GATEWAY, LAUNCHER, service_of
from theater.core.manifest import Manifest
from theater.core.wire import MAX_FRAME, Admit, Announce, Dismiss, Message, ServiceIs, Serving, decode, encode
from theater.errors import WireError
from theater.log import Logger
from theater.server.cast import Actor
from theater.server.ledger import Ledger
from theater.server.lending import Lending
from theater.server.loop import Alarm, Loop
from theater.server.processes import Ended, Processes

if TYPE_CHECKING:
    from theater.server.stage import Worker
    from theater.server.switchboard import Switchboard

MODULES: Mapping[str, str] = {GATEWAY: "theater.gateway", LAUNCHER: "theater.launcher"}

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
_STEADY_S = 60.0
"""A service that has run for so long is started again at once when it ends."""

_QUEUE = 100_000
_QUEUED_BYTES = 1 << 26
_AT_ONCE = 64


@dataclass(slots=True, eq=False)
class _Service:
    """One of them, running or not.

    Attributes:
        line: the link to it, while it runs.
        serving: it is up, and has been told of all lives.
        lives: what it has been told, or will be: by actor.
        introduced: those whose workers have a link to it.
        facts: what it has announced, by actor.
    """

    name: str
    pid: int | None = None
    line: Link | None = None
    serving: bool = False
    began: float = 0.0
    pause: float = 0.0
    again: Alarm | None = None
    lives: dict[str, tuple[Worker, Admit]] = field(default_factory=dict)
    introduced: set[str] = field(default_factory=set)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)


class Services:
    """All services of a server."""

    def __init__(self, home: Home, loop: Loop, processes: Processes, ledger: Ledger, log: Logger) -> None:
        self._home = home
        self._loop = loop
        self._processes = processes
        self._ledger = ledger
        self._log = log
        self._services = {name: _Service(name) for name in MODULES}
        self._closed = False
        self._lending = Lending(home, loop, self._certificates)
        self.switchboard: Switchboard | None = None
        self.refused = 0

    # ---- lives

    def admit(self, worker: Worker) -> tuple[str, ...]:
        """Has a life that is about to begin admitted to the services that it needs, which are started if they do not
        run; returns their names."""
        needed = tuple(sorted(_needed(worker.actor.manifest)))
        if not needed or self._closed:
            return ()
        message = self._admission(worker)
        for service in map(self._services.__getitem__, needed):
            service.lives[worker.actor.id] = (worker, message)
            service.introduced.discard(worker.actor.id)
            if service.pid is None and service.again is None:
                self._start(service)
        return needed

    def introduce(self, worker: Worker) -> None:
        """Gives a worker, which knows who it is, and the services that run the ends of links to each other."""
        for service in self._services.values():
            life, message = service.lives.get(worker.actor.id, (None, None))
            if life is worker and message is not None and service.line is not None:
                self._introduce(service, worker, message)

    def _introduce(self, service: _Service, worker: Worker, message: Admit) -> None:
        if worker.actor.id in service.introduced or self.switchboard is None or worker.line is None:
            return
        try:
            ours, theirs = pair()
        except OSError as error:
            self._log.error("no link to a service was to be had", service=service.name, why=error.strerror)
            return
        service.introduced.add(worker.actor.id)
        self.switchboard.tell(worker, ServiceIs(service.name, True), ours)
        self._tell(service, message, theirs)

    def dismiss(self, worker: Worker) -> None:
        """A life is over."""
        for service in self._services.values():
            known = service.lives.get(worker.actor.id)
            if known is not None and known[0] is worker:
                del service.lives[worker.actor.id]
                service.introduced.discard(worker.actor.id)
                self._tell(service, Dismiss(worker.actor.id, worker.incarnation, False))

    def rest(self, actor: Actor) -> None:
        """No further life of an actor is coming."""
        with contextlib.suppress(OSError):
            (self._home.websockets / actor.id).unlink()
        for service in self._services.values():
            service.facts.pop(actor.id, None)
            if service.name in _needed(actor.manifest):
                self._tell(service, Dismiss(actor.id, actor.incarnation, True))

    def facts(self, actor: Actor) -> dict[str, dict[str, Any]]:
        """What services do for an actor, for people: by service."""
        return {name: service.facts[actor.id] for name, service in self._services.items() if actor.id in service.facts}

    def view(self) -> dict[str, Any]:
        """The services that run: process id and how many lives each serves."""
        return {
            service.name: {"pid": service.pid, "serving": service.serving, "lives": len(service.lives)}
            for service in self._services.values()
            if service.pid is not None
        }

    def _admission(self, worker: Worker) -> Admit:
        actor = worker.actor
        limits = actor.manifest.limits
        return Admit(
            actor.id,
            worker.incarnation,
            actor.manifest.name,
            actor.where,
            str(self._home.actor(actor.id)),
            {handler.type: schema.plain(handler.permissions) for handler in actor.manifest.handlers},
            {
                "message": limits.message,
                "mailbox": limits.mailbox,
                "request_timeout": limits.request_timeout / 1000,
                "call_timeout": limits.call_timeout / 1000 if limits.call_timeout is not None else None,
            },
        )

    # ---- processes

    def _start(self, service: _Service) -> None:
        service.again = None
        if self._closed:
            return
        style, level = logs.chosen()
        command = [sys.executable, "-m", MODULES[service.name]]
        command += [str(self._home.root), "", str(os.getpid()), style, level]
        command.append(logs.TO_STDOUT)
        try:
            pid = self._lend_and_spawn(service, command) if service.name == GATEWAY else self._spawn(service, command)
        except OSError as error:
            self._log.error("cannot start a service", service=service.name, why=str(error))
            self._start_later(service)
            return
        service.pid, service.began = pid, self._loop.now()
        self._ledger.event("service-started", {"service": service.name, "pid": pid})
        self._processes.introduce(pid, process=service.name)
        self._processes.adopt(pid, lambda ended: self._ended(service, ended))

    def _lend_and_spawn(self, service: _Service, command: list[str]) -> int:
        with self._lending.open() as line:
            line.set_inheritable(True)
            return self._spawn(service, [*command, str(line.fileno())])

    def _spawn(self, service: _Service, command: list[str]) -> int:
        """Executes a service that has one end of a link to this server; returns its process id. Its log goes where the
        server's does; what else it prints is heard by the server."""
        ours, theirs = pair()
        line = Link(ours, largest=MAX_FRAME, frames=_QUEUE, size=_QUEUED_BYTES)
        command[_LINE_AT] = str(theirs)
        actions = [(os.POSIX_SPAWN_DUP2, 2, 1), *self._processes.standard_error()]
        try:
            os.set_inheritable(theirs, True)
            pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions, setsid=True)
        except OSError:
            line.close()
            raise
        finally:
            os.close(theirs)
        service.line = line
        line.on_unsent = lambda _: self._loop.writer(line.fileno(), lambda: self._let_out(line))
        self._loop.reader(line.fileno(), lambda: self._hear(service, line))
        return pid

    def _let_out(self, line: Link) -> None:
        if line.flush():
            self._loop.writer(line.fileno(), None)

    def _certificates(self) -> Iterator[Path]:
        """The folders of certificates that running lives have."""
        for _, admission in self._services[GATEWAY].lives.values():
            granted = admission.permissions.get(_HTTP_FRAMEWORK, {})
            yield from (Path(admission.where).parent / folder for folder in granted.get("certificates", ()))

    def _start_later(self, service: _Service) -> None:
        steady = service.pid is not None and self._loop.now() - service.began > _STEADY_S
        service.pause = _FIRST_PAUSE_S if steady else min(max(2 * service.pause, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        service.again = self._loop.after(service.pause, lambda: self._start(service))

    def _ended(self, service: _Service, ended: Ended) -> None:
        how = {"signal": ended.signal, "status": ended.status}
        self._ledger.event("service-ended", {"service": service.name, "pid": service.pid, **how})
        service.serving = False
        service.facts.clear()
        service.introduced.clear()
        if service.line is not None:
            self._loop.forget(service.line.fileno())
            service.line.close()
            service.line = None
        if not self._closed:
            self._log.error("a service ended and is started again", service=service.name, pid=service.pid, **how)
            self._tell_workers(service)
            self._start_later(service)
        service.pid = None

    def close(self) -> None:
        """Asks all services to end; nobody needs them any more."""
        self._closed = True
        for service in self._services.values():
            if service.again is not None:
                service.again.cancel()
            if service.pid is not None:
                self._processes.kill(service.pid, signal.SIGTERM)

    def close_lending(self) -> None:
        """Lends nothing any more."""
        self._lending.close()

    # ---- what they say

    def _hear(self, service: _Service, line: Link) -> None:
        for _ in range(_AT_ONCE):
            frame = line.receive()
            if frame is None:
                break
            try:
                self._take(service, decode(frame))
            except WireError as error:
                line.hang_up(error.message)
        if line.ended:
            self._loop.forget(line.fileno())
            if line.fault is not None and service.pid is not None:
                self.refused += 1
                self._log.error("a service broke the rules of the bus and is killed", service=service.name)
                self._processes.kill(service.pid)
        elif line.has_frames:
            self._loop.soon(lambda: self._hear(service, line) if service.line is line else None)

    def _take(self, service: _Service, message: Message) -> None:
        if type(message) is Serving and message.service == service.name:
            self._is_up(service)
        elif type(message) is Announce:
            self._announced(service, message)
        else:
            raise WireError(f"a service does not say {type(message).__name__}")

    def _is_up(self, service: _Service) -> None:
        service.serving = True
        for worker, admission in list(service.lives.values()):
            self._introduce(service, worker, admission)
        self._log.info("service is up", service=service.name, pid=service.pid)

    def _announced(self, service: _Service, message: Announce) -> None:
        if message.actor not in service.lives:
            return
        if message.facts:
            service.facts[message.actor] = message.facts
        else:
            service.facts.pop(message.actor, None)
        self._log.info(
            "what a service does for an actor",
            service=service.name,
            actor=message.actor,
            **{key.replace(" ", "_"): value for key, value in message.facts.items() if key not in _TAKEN},
        )

    def _tell(self, service: _Service, message: Message, descriptor: int | None = None) -> None:
        try:
            if service.line is None:
                if descriptor is not None:
                    os.close(descriptor)
                return  # It is told of all lives when it is there.
            service.line.send(encode(message), descriptor=descriptor)
        except Gone:
            pass
        except Full:
            # It has read nothing for a long time: it is started again, and told everything anew.
            if service.pid is not None:
                self._log.error("a service does not read what it is told and is killed", service=service.name)
                self._processes.kill(service.pid)

    def _tell_workers(self, service: _Service) -> None:
        """A service has ended."""
        if self.switchboard is None:
            return
        for worker, _ in service.lives.values():
            if worker.actor.worker is worker and worker.pid is not None:
                self.switchboard.tell(worker, ServiceIs(service.name, False))


_HTTP_FRAMEWORK = "http-framework"
_LINE_AT = 4
"""Where in a service's command the descriptor of its line stands."""

_TAKEN = frozenset({"service", "actor", "name", "event", "level", "timestamp"})


def _needed(manifest: Manifest) -> set[str]:
    found = (service_of(handler.type, handler.permissions) for handler in manifest.handlers)
    return {service for service in found if service is not None}
