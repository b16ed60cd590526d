"""An actor that has servers: its present life, calls into it, and what is true over its lives.

Its servers and connections stay while it is restarted. Who calls it then waits for a short time; what was being done
when it died is not done again, since nobody knows how far it came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theater.core.handlers import HTTP_HANDLERS
from theater.core.permissions.http_framework import HttpFramework as Permissions
from theater.errors import ActorDown, TheaterError
from theater.gateway.numbers import Numbers
from theater.gateway.open_sockets import Open, OpenSockets
from theater.service.admitted import Admitted
from theater.service.office import Office

if TYPE_CHECKING:
    from theater.gateway.site import Site
    from theater.gateway.websocket import Socket

PATIENCE_S = 1.0
"""How long a request waits for an actor that is between two lives."""

MOST_WAITING = 1000
_PAUSE_S = 0.02
_HANDLER = "http-framework"


class NotThere(TheaterError):
    """The actor has no life, and none came in time: nothing has been done."""


class Tenant:
    """See the module.

    Args:
        sockets: where its open websockets are written down.

    Attributes:
        sites: its servers that run, by number.
        sockets: its websockets, by number.
        left_over: what listens since before its last init: a server of this one may take that over.
        announced: what has been said of where it listens.
        open: its websockets, written down.
        epoch: which of its inits its servers are of.
    """

    def __init__(self, office: Office, actor: str, numbers: Numbers, sockets: Path) -> None:
        self._sockets = sockets
        self.office = office
        self.numbers = numbers
        self.actor = actor
        self.life: Admitted | None = None
        self.epoch = 0
        self.announced: list[str] = []
        self.left_over: list[Site] = []
        self._is_up = False
        self.sites: dict[int, Site] = {}
        self.sockets: dict[int, Socket] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._farewells: list[Open] = []
        self.open: OpenSockets | None = None
        self._saying_farewell: asyncio.Task[None] | None = None
        self._complained = 0.0

    @property
    def permissions(self) -> Permissions:
        assert self.life is not None
        granted = self.life.permissions[_HANDLER]
        assert isinstance(granted, Permissions)
        return granted

    def begins(self, life: Admitted) -> None:
        """A life begins; it is not called before it has said what its servers are."""
        self.life, self._is_up = life, False
        if self.open is None:
            self.open = OpenSockets(self._sockets, self.office.log)
            self._farewells = self.open.read()

    def is_up(self, epoch: int) -> None:
        """The life has said what its servers are; who waits for it goes on."""
        if any(open.epoch != epoch for open in self._farewells):  # It began anew and has never heard of those.
            self._farewells = [open for open in self._farewells if open.epoch == epoch]
        self.epoch, self._is_up = epoch, True
        self._wake()
        self._say_farewells()

    def ends(self, *, for_good: bool) -> None:
        self.life, self._is_up = None, False
        if for_good:
            self._wake()
            self._farewells.clear()
            if self.open is not None:
                self.open.clear()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # ---- calls

    async def call(self, function: str, params: Sequence[Any], timeout: float | None = None) -> Any:
        """Calls a handler of the actor's `http-handlers`.

        Returns:
            its extra results, a list.

        Raises:
            NotThere: the call has not been made.
            TheaterError: what `Office.invoke` raises.
        """
        if not self._is_up:
            epoch = self.epoch
            await self._until_up()
            if self.epoch != epoch:
                raise NotThere("the actor began anew")
        return await self.office.invoke(self.actor, HTTP_HANDLERS, function, params, timeout)

    async def _until_up(self, patience: float = PATIENCE_S) -> None:
        if len(self._waiting) < MOST_WAITING:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            await asyncio.wait((future,), timeout=patience)
            self._waiting.discard(future)
        if not self._is_up:
            raise NotThere("the actor is not running")

    def complain(self, what: str, /, **facts: Any) -> None:
        """Says in the log what is wrong with an actor's answers; not for each of them."""
        now = time.monotonic()
        if now - self._complained > 1.0:
            self._complained = now
            self.office.log.warning("an answer of an actor is of no use", actor=self.actor, **{"why": what, **facts})

    # ---- the ends of websockets

    def farewell(self, socket: Open) -> None:
        """A websocket is gone that the actor has been told of; it hears of that once, be it in its next life."""
        if socket.epoch != self.epoch:
            return
        self._farewells.append(socket)
        self._say_farewells()

    def _say_farewells(self) -> None:
        if self._farewells and (self._saying_farewell is None or self._saying_farewell.done()):
            self._saying_farewell = asyncio.create_task(self._tell_farewells())

    async def _tell_farewells(self) -> None:
        while self._farewells and self._is_up:
            farewell = self._farewells[0]
            try:
                await self.call("handle-websocket-disconnect", [farewell.handler, farewell.number])
            except (ActorDown, NotThere):
                # Its outcome is not in the state that the next life has; that one is told.
                await asyncio.sleep(_PAUSE_S)
                continue
            except TheaterError as error:
                self.complain("an actor could not be told of the end of a websocket", error=error.message)
            if farewell in self._farewells:
                self._farewells.remove(farewell)
            if self.open is not None:
                self.open.remove(farewell.number)
