"""Services: processes of the server that do for actors what their sealed workers may not (D6).

One is started when the first life begins that needs it, and ends with the server. It is told of each such life, what
its manifest grants and by which token its worker is known, before the worker is; so it trusts no worker's word. One
that dies is started again, more slowly each time, and told of all lives anew; workers learn of both, and say again what
it must know.
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
from theater.bus.sockets import Context, Full, Gone
from theater.config import Home
from theater.core import schema
from theater.core.handlers import GATEWAY, LAUNCHER, service_of
from theater.core.manifest import Manifest
from theater.core.wire import Admit, Announce, Dismiss, Message, ServiceIs, Serving, decode, encode
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

_TOKEN_BYTES = 16
_QUEUE = 100_000


@dataclass(slots=True, eq=False)
class _Service:
    """One of them, running or not.

    Attributes:
        serving: its socket is bound, and it has been told of all lives.
        lives: what it has been told, or will be: by actor.
        facts: what it has announced, by actor.
    """

    name: str
    pid: int | None = None
    serving: bool = False
    began: float = 0.0
    pause: float = 0.0
    again: Alarm | None = None
    lives: dict[str, tuple[Worker, Admit]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)


class Services:
    """All services of a server."""

    def __init__(
        self, home: Home, context: Context, loop: Loop, processes: Processes, ledger: Ledger, log: Logger
    ) -> None:
        self._home = home
        self._loop = loop
        self._processes = processes
        self._ledger = ledger
        self._log = log
        self._services = {name: _Service(name) for name in MODULES}
        self._address = f"ipc://{home.run / 'services'}"
        self._router = context.router(self._address, queue=_QUEUE)
        self._closed = False
        self._lending = Lending(home, loop, self._certificates)
        self.switchboard: Switchboard | None = None
        self.refused = 0
        loop.drain(self._router.fileno(), self._drain)

    # ---- lives

    def admit(self, worker: Worker) -> tuple[dict[str, str], bytes]:
        """Has a life that is about to begin admitted to the services that it needs, which are started if they do not
        run.

        Returns:
            where each listens, and the life's token.
        """
        manifest = worker.actor.manifest
        needed = sorted(_needed(manifest))
        if not needed or self._closed:
            return {}, b""
        message = self._admission(worker, os.urandom(_TOKEN_BYTES))
        for service in map(self._services.__getitem__, needed):
            service.lives[worker.actor.id] = (worker, message)
            if service.serving:
                self._tell(service, message)
            elif service.pid is None and service.again is None:
                self._start(service)
        return {name: f"ipc://{self._home.run / name}" for name in needed}, message.token

    def dismiss(self, worker: Worker) -> None:
        """A life is over."""
        for service in self._services.values():
            known = service.lives.get(worker.actor.id)
            if known is not None and known[0] is worker:
                del service.lives[worker.actor.id]
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

    def _admission(self, worker: Worker, token: bytes) -> Admit:
        actor = worker.actor
        limits = actor.manifest.limits
        return Admit(
            actor.id,
            worker.incarnation,
            token,
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
        command += [str(self._home.root), self._address, str(os.getpid()), style, level]
        command.append(logs.TO_STDOUT)
        try:
            pid = self._lend_and_spawn(command) if service.name == GATEWAY else self._spawn(command)
        except OSError as error:
            self._log.error("cannot start a service", service=service.name, why=str(error))
            self._start_later(service)
            return
        service.pid, service.began = pid, self._loop.now()
        self._ledger.event("service-started", {"service": service.name, "pid": pid})
        self._processes.introduce(pid, process=service.name)
        self._processes.adopt(pid, lambda ended: self._ended(service, ended))

    def _lend_and_spawn(self, command: list[str]) -> int:
        with self._lending.open() as line:
            line.set_inheritable(True)
            return self._spawn([*command, str(line.fileno())])

    def _spawn(self, command: list[str]) -> int:
        """Its log goes where the server's does; what else it prints is heard by the server."""
        actions = [(os.POSIX_SPAWN_DUP2, 2, 1), *self._processes.standard_error()]
        return os.posix_spawn(command[0], command, os.environ, file_actions=actions, setsid=True)

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
        if not self._closed:
            self._log.error("a service ended and is started again", service=service.name, pid=service.pid, **how)
            self._tell_workers(service, up=False)
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

    def close_socket(self) -> None:
        self._lending.close()
        self._loop.forget(self._router.fileno())
        self._router.close()

    # ---- the socket

    def _drain(self) -> bool:
        worked = False
        while (received := self._router.receive()) is not None:
            worked = True
            service = self._services.get(received[0].decode("ascii", "replace"))
            try:
                message = decode(received[1])
            except WireError:
                self.refused += 1
                continue
            if service is None:
                self.refused += 1
            elif type(message) is Serving:
                self._is_up(service)
            elif type(message) is Announce:
                self._announced(service, message)
            else:
                self.refused += 1
        return worked

    def _is_up(self, service: _Service) -> None:
        service.serving = True
        for _, admission in service.lives.values():
            self._tell(service, admission)
        self._log.info("service is up", service=service.name, pid=service.pid)
        self._tell_workers(service, up=True)

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

    def _tell(self, service: _Service, message: Message) -> None:
        if not service.serving:
            return  # It is told of all lives when it is.
        try:
            self._router.send(service.name.encode(), encode(message))
        except Gone:
            pass
        except Full:
            # It has read nothing for a long time: it is started again, and told everything anew.
            if service.pid is not None:
                self._log.error("a service does not read what it is told and is killed", service=service.name)
                self._processes.kill(service.pid)

    def _tell_workers(self, service: _Service, *, up: bool) -> None:
        if self.switchboard is None:
            return
        for worker, _ in service.lives.values():
            if worker.actor.worker is worker and worker.pid is not None:
                self.switchboard.tell(worker, ServiceIs(service.name, up))


_HTTP_FRAMEWORK = "http-framework"
_TAKEN = frozenset({"service", "actor", "name", "event", "level", "timestamp"})


def _needed(manifest: Manifest) -> set[str]:
    found = (service_of(handler.type, handler.permissions) for handler in manifest.handlers)
    return {service for service in found if service is not None}
