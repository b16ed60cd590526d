"""The way from a program to its actor: in order, and never more under way than the actor is good for.

Whoever has something to hand over waits until it is on its way. So a program is read no faster than its actor listens,
and one that writes without end waits in its own pipe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from theater.core.handlers import PROCESS_HANDLERS
from theater.errors import MailboxFull

Invoke = Callable[[str, str, str, Sequence[Any], float], Awaitable[Any]]
"""`theater.service.office.Office.invoke`."""

_LONGEST_S = 366 * 86_400.0
"""An actor hears of its program however long it takes; there is nobody whose patience could end."""
_PAUSE_S = 0.02
_MOST = 32


class Delivery:
    """Calls of one actor about one program.

    Args:
        mailbox: how many calls may wait for the actor, of which these take half at most.
    """

    def __init__(self, invoke: Invoke, actor: str, mailbox: int) -> None:
        self._invoke = invoke
        self._actor = actor
        self._room = asyncio.Semaphore(max(1, min(_MOST, mailbox // 2)))
        self._turn = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def hand(self, function: str, params: Sequence[Any]) -> None:
        """Returns when the call is under way. What the actor makes of it is its own business."""
        async with self._turn:
            await self._room.acquire()
            while not await self._sent(function, params):
                await asyncio.sleep(_PAUSE_S)

    def close(self) -> None:
        """Gives up what is under way."""
        for call in self._under_way:
            call.cancel()

    async def _sent(self, function: str, params: Sequence[Any]) -> bool:
        call = asyncio.ensure_future(
            self._invoke(self._actor, PROCESS_HANDLERS, function, params, _LONGEST_S),
        )
        await asyncio.sleep(0)  # It takes its first step, in which it is sent, or refused for want of room.
        if call.done() and not call.cancelled() and isinstance(call.exception(), MailboxFull):
            return False
        self._under_way.add(call)
        call.add_done_callback(self._arrived)
        return True

    def _arrived(self, call: asyncio.Task[Any]) -> None:
        self._under_way.discard(call)
        self._room.release()
        if not call.cancelled():
            call.exception()  # An err of the actor is in its chain; the end of its life is known.
