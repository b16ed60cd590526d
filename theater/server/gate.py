"""How clients come to a server: by a path socket on this machine, and from elsewhere only where it is told to listen.

The gate opens the doors, has its porter and its authority answer who may come in, and keeps the crowd at the doors on
the network within bounds. Without `Remote` there is no socket on the network, no key and nothing that could be wrong
with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theater.bus.doors import Door, Monitor, Porter, curve_door, local_door
from theater.bus.sockets import Context
from theater.config import Home
from theater.core.curve import public_of
from theater.core.wire import MAX_FRAME
from theater.errors import InvalidInput
from theater.log import Logger
from theater.server.authority import LOCAL, Authority
from theater.server.commands import READS_EVERY_S, REFUSALS_EVERY_S, Commands
from theater.server.control import Bounds
from theater.server.control_key import open_control_key
from theater.server.ledger import Ledger
from theater.server.loop import Loop


@dataclass(frozen=True, slots=True)
class Remote:
    """Control from elsewhere.

    Args:
        listen: addresses, `tcp://HOST:PORT`.
        authorized_keys: the folder that says who may.
    """

    listen: Sequence[str]
    authorized_keys: Path


class Gate:
    """The doors of one server, and who stands at them.

    Args:
        address: of the path socket.
        remote: None if nobody from elsewhere may.

    Raises:
        InvalidInput: it cannot listen, or the folder of keys cannot be used.
        IntegrityError: the server's key is damaged.
    """

    def __init__(
        self,
        home: Home,
        address: str,
        remote: Remote | None,
        context: Context,
        loop: Loop,
        ledger: Ledger,
        log: Logger,
    ) -> None:
        self._loop = loop
        self._failed = 0
        bounds = Bounds()
        self.authority = Authority(remote.authorized_keys if remote is not None else None, log)
        self.commands = Commands(self.authority, ledger)
        self._porter = Porter(context, self.authority.admit)
        self._remote: list[Door] = []
        self._monitors: list[Monitor] = []
        self.public_key: bytes | None = None
        self.doors = [local_door(context, LOCAL, address, largest=MAX_FRAME, queue=bounds.queue)]
        if remote is not None:
            secret = open_control_key(home)
            self.public_key = public_of(secret)
            self._remote = [curve_door(context, each, each, secret, queue=bounds.queue) for each in remote.listen]
            self.doors += self._remote
        loop.drain(self._porter.fileno(), self._porter.answer)
        for door in self._remote:
            self._watch(door)
        self._open(log)
        self._again(REFUSALS_EVERY_S, self.commands.note_refusals)
        self._again(READS_EVERY_S, self.commands.note_reads)

    def _open(self, log: Logger) -> None:
        for door in self.doors:
            try:
                door.bind()
            except OSError as error:
                raise InvalidInput(f"cannot listen at {door.endpoint}: {error.strerror}") from error
        for door in self._remote:
            assert self.public_key is not None
            log.info("listening", address=door.endpoint, key=self.public_key.hex(), keys=self.authority.keys)

    def _watch(self, door: Door) -> None:
        monitor = door.count()
        self._monitors.append(monitor)

        def keep_order() -> bool:
            self._failed += door.keep_order()
            return False

        self._loop.drain(monitor.fileno(), keep_order)

    def view(self) -> dict[str, Any] | None:
        """What a user sees of control from elsewhere; None if there is none."""
        if not self._remote:
            return None
        assert self.public_key is not None
        return {
            "listen": [door.endpoint for door in self._remote],
            "key": self.public_key.hex(),
            "authorized": self.authority.keys,
            "connections": sum(door.connections for door in self._remote),
            "not_let_in": self._failed,
        }

    def close(self) -> None:
        """Lets nobody in any more, and tells the chain what it has not been told; doors are closed by their user."""
        self.commands.note_refusals()
        self.commands.note_reads()
        for monitor in self._monitors:
            self._loop.forget(monitor.fileno())
        self._loop.forget(self._porter.fileno())
        self._porter.close()

    def _again(self, seconds: float, action: Callable[[], None]) -> None:
        def again() -> None:
            action()
            self._loop.after(seconds, again)

        self._loop.after(seconds, again)
