"""Channels between clients and actors: the supervisor brings what is said, and holds it back where nobody takes it.

Towards the actor. A client may have so many messages on their way as its window says, and learns of each that the actor
has recorded it. Of all that clients say to one actor no more goes to its worker than its mailbox holds; the rest waits
here, which no more than the windows allow. So a client that reads from a pipe reads no faster than the actor. Nor is an
actor given more by a client that does not fetch what it answers.

Towards the client. What the actor says waits here until it is fetched, and the actor's end of the channel knows how
much that may be (theater/worker/channels.py).

Ends. Each end is told once: of a close behind everything that was said before it, of the actor's death likewise. A
client that has vanished has closed its channels; whether it is there is found out by saying something to it.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from theater.core.exit_reason import ExitReason
from theater.core.ids import root_id
from theater.core.wire import Fetched, Message, OfferChannel, OnChannel
from theater.errors import ActorDown, MailboxFull, MessageTooLarge, NotFound, TheaterError, TimedOut, WrongState
from theater.server.cast import Actor
from theater.server.control import Caller
from theater.server.loop import Alarm, Loop
from theater.server.stage import Worker
from theater.server.switchboard import Answer, Switchboard

WINDOW: Final = 64
"""Messages of one client that may be on their way on one channel, if the mailbox of the actor holds so many."""

WINDOW_BYTES: Final = 1 << 20
"""Bytes of them; a single message may be longer. Also what a client fetches at once."""

_LOOK_S: Final = 0.5
"""How often it is looked whether clients are still there."""

_OFTEN: Final = 100
"""So many times a client is spoken to in a row without being heard of; after that only at every so many looks: what it
does not read waits in its queue."""


@dataclass(slots=True, eq=False)
class _Batch:
    """Messages of one request, nil closing the channel, and whom to tell that they were recorded."""

    bodies: list[bytes | None]
    answer: Callable[[TheaterError | None], None]


@dataclass(slots=True, eq=False)
class _Line:
    """One channel.

    Attributes:
        on_way: messages and bytes that the client has said and the actor has not recorded.
        waiting: those of them that have not gone to the worker.
        said: what the client has not fetched.
        fetcher: the client's request that waits for something to fetch.
        is_closing: the client has closed it.
        is_over: there is nothing more to come from the actor; `error` says why, if it was no close.
    """

    channel: str
    actor: Actor
    client: Caller
    since_ms: int
    window: int
    worker: Worker | None = None
    on_way: int = 0
    on_way_bytes: int = 0
    waiting: deque[_Batch] = field(default_factory=deque)
    said: deque[bytes] = field(default_factory=deque)
    fetcher: Caller | None = None
    alarm: Alarm | None = None
    is_closing: bool = False
    is_over: bool = False
    error: TheaterError | None = None

    @property
    def is_behind(self) -> bool:
        """Whether the client has much to fetch."""
        return len(self.said) >= WINDOW or sum(map(len, self.said)) >= WINDOW_BYTES


class Channels:
    """All channels that clients have."""

    def __init__(self, loop: Loop, switchboard: Switchboard) -> None:
        self._loop = loop
        self._switchboard = switchboard
        self._lines: dict[str, _Line] = {}
        self._at_worker: dict[Worker, int] = {}
        self._held_back: dict[Worker, dict[_Line, None]] = {}
        self._unheard: dict[bytes, int] = {}
        self._is_looking = False
        switchboard.on(OnChannel, self._on_said)
        switchboard.on_silence = self._worker_is_dead

    # ---- what clients do

    def open(self, actor: Actor, body: bytes, timeout: float, caller: Caller) -> None:
        """Asks an actor for a channel, as `deliver` brings it a request.

        Args:
            timeout: seconds that the actor, which may be on its way up, has to accept.
        """
        channel = root_id(os.urandom(16))
        window = min(WINDOW, actor.manifest.limits.mailbox)
        line = _Line(channel, actor, caller, time.time_ns() // 1_000_000, window)

        def offer(number: int, deadline_ns: int) -> Message:
            return OfferChannel(number, channel, body, deadline_ns)

        def answer(value: bytes | None, error: TheaterError | None) -> None:
            if error is None:
                self._accepted(line, caller)
                return
            if isinstance(error, TimedOut) and actor.worker is not None:
                # It may be accepted yet; then the actor finds it closed.
                self._switchboard.tell(actor.worker, OnChannel(channel, 0, [None]))
            caller.fail(error)

        self._switchboard.deliver(actor, body, ask=True, timeout=timeout, answer=answer, message=offer)

    def _accepted(self, line: _Line, caller: Caller) -> None:
        line.worker = line.actor.worker
        self._lines[line.channel] = line
        limit = line.actor.manifest.limits.message
        caller.reply(
            {
                "id": line.actor.id,
                "channel": line.channel,
                "window": line.window,
                "window_bytes": WINDOW_BYTES,
                "message_limit": limit,
            }
        )
        self._look_later()

    def send(self, channel: str, bodies: list[bytes], caller: Caller) -> None:
        """Takes messages for the actor; answered when all of them have been recorded.

        Raises:
            NotFound: the client has no such channel.
            WrongState: it is closed.
            MessageTooLarge: one of them is longer than the actor takes.
            MailboxFull: the client has said more than its window allows.
        """
        line = self._line(channel, caller)
        self._require_open(line)
        limit = line.actor.manifest.limits.message
        longest = max(map(len, bodies), default=0)
        if longest > limit:
            raise MessageTooLarge(f"the message has {longest} bytes, {line.actor.id} accepts {limit}")
        size = sum(map(len, bodies))
        is_single = len(bodies) == 1 and not line.on_way
        if line.on_way + len(bodies) > line.window or (line.on_way_bytes + size > WINDOW_BYTES and not is_single):
            raise MailboxFull(
                f"channel {channel} takes {line.window} messages of {WINDOW_BYTES} bytes at a time; wait for answers"
            )
        line.on_way += len(bodies)
        line.on_way_bytes += size

        def taken(error: TheaterError | None) -> None:
            line.on_way -= len(bodies)
            line.on_way_bytes -= size
            if error is None and line.is_over:
                error = line.error or WrongState(f"the actor has closed channel {channel}")
            if error is None:
                caller.reply({"taken": len(bodies)})
            else:
                caller.fail(error)

        if not bodies:
            caller.reply({"taken": 0})
            return
        line.waiting.append(_Batch([*bodies], taken))
        self._forward(line)

    def fetch(self, channel: str, wait_s: float, caller: Caller) -> None:
        """Gives the client what the actor has said, at once or when there is something, or nothing when time is over,
        or when the client asks again.

        Raises:
            NotFound: the client has no such channel, or was told of its end already.
        """
        line = self._line(channel, caller)
        self._give_nothing(line)
        line.fetcher = caller
        if not self._give(line):
            line.alarm = self._loop.after(wait_s, lambda: self._give_nothing(line))

    def close(self, channel: str, caller: Caller) -> None:
        """Closes a channel; answered when the actor has been told. What it said until then can be fetched still.

        Raises:
            NotFound: the client has no such channel.
        """
        line = self._line(channel, caller)
        if line.is_closing or line.is_over:
            caller.reply({"channel": channel})
            return

        def taken(error: TheaterError | None) -> None:
            self._over(line, error)
            caller.reply({"channel": channel})

        line.is_closing = True
        line.waiting.append(_Batch([None], taken))
        self._forward(line)

    def rows(self, actor: Actor | None) -> list[dict[str, Any]]:
        """The channels of clients, or those with one actor, in the order of their opening."""
        return [
            {
                "channel": line.channel,
                "id": line.actor.id,
                "name": line.actor.manifest.name,
                "since_ms": line.since_ms,
                "to_actor": line.on_way,
                "to_client": len(line.said),
            }
            for line in self._lines.values()
            if actor in (None, line.actor)
        ]

    def _line(self, channel: str, caller: Caller) -> _Line:
        line = self._lines.get(channel)
        if line is None or line.client.peer != caller.peer:
            raise NotFound(f"you have no channel {channel!r}")
        self._unheard.pop(caller.peer, None)
        return line

    def _require_open(self, line: _Line) -> None:
        if line.is_over and line.error is not None:
            raise line.error
        if line.is_over or line.is_closing:
            raise WrongState(f"channel {line.channel} is closed")

    # ---- towards the actor

    def _forward(self, line: _Line) -> None:
        """Sends the worker what it has room for."""
        worker = line.worker
        mailbox = line.actor.manifest.limits.mailbox
        while worker is not None and line.waiting and not line.is_over:
            batch = line.waiting[0]
            there = self._at_worker.get(worker, 0)
            if line.is_behind and batch.bodies != [None]:
                return
            if there and there + len(batch.bodies) > mailbox:
                self._held_back.setdefault(worker, {})[line] = None
                return
            line.waiting.popleft()
            self._at_worker[worker] = there + len(batch.bodies)
            number = self._switchboard.expect(worker, self._told_of(worker, line, batch))
            self._switchboard.tell(worker, OnChannel(line.channel, number, batch.bodies))

    def _told_of(self, worker: Worker, line: _Line, batch: _Batch) -> Answer:
        def recorded(_: bytes | None, error: TheaterError | None) -> None:
            left = self._at_worker.pop(worker) - len(batch.bodies)
            if left:
                self._at_worker[worker] = left
            batch.answer(error)
            if error is None:
                for waiting in (*self._held_back.pop(worker, ()), line):
                    self._forward(waiting)

        return recorded

    def _with(self, worker: Worker) -> list[_Line]:
        return [line for line in self._lines.values() if line.worker is worker]

    # ---- towards the client

    def _on_said(self, worker: Worker, message: OnChannel) -> None:
        line = self._lines.get(message.channel)
        if line is None or line.worker is not worker:
            return  # The client has gone.
        for body in message.bodies:
            if type(body) is bytes:
                line.said.append(body)
            else:
                self._over(line, None)
        self._give(line)

    def _give(self, line: _Line) -> bool:
        """Answers whoever waits for something to fetch, if there is something or will be nothing more."""
        fetcher = line.fetcher
        if fetcher is None or not (line.said or line.is_over):
            return False
        bodies, size = _some(line.said)
        error = line.error.to_wire() if line.error is not None and not bodies else None
        self._no_fetcher(line)
        for _ in bodies:
            line.said.popleft()
        if bodies and line.worker is not None and not line.is_over:
            self._switchboard.tell(line.worker, Fetched(line.channel, len(bodies), size))
        if not bodies:
            self._lines.pop(line.channel, None)
        fetcher.reply({"messages": bodies, "closed": not bodies, "error": error})
        self._forward(line)
        return True

    def _give_nothing(self, line: _Line) -> None:
        fetcher = line.fetcher
        self._no_fetcher(line)
        if fetcher is not None:
            fetcher.reply({"messages": [], "closed": False, "error": None})

    def _no_fetcher(self, line: _Line) -> None:
        line.fetcher = None
        if line.alarm is not None:
            line.alarm.cancel()
            line.alarm = None

    # ---- ends

    def _over(self, line: _Line, error: TheaterError | None) -> None:
        """Nothing more comes from the actor."""
        if line.is_over:
            return
        line.is_over, line.error = True, error
        while line.waiting:
            batch = line.waiting.popleft()
            batch.answer(error or WrongState(f"the actor has closed channel {line.channel}"))
        self._give(line)

    def _worker_is_dead(self, worker: Worker, reason: ExitReason) -> None:
        self._at_worker.pop(worker, None)
        self._held_back.pop(worker, None)
        for line in self._with(worker):
            because = f"{line.actor.manifest.name} went down: it {reason.describe()}"
            self._over(line, ActorDown(because, **reason.to_dict()))

    def _look_later(self) -> None:
        if self._lines and not self._is_looking:
            self._is_looking = True
            self._loop.after(_LOOK_S, self._look)

    def _look(self) -> None:
        """Closes the channels of clients that are gone."""
        self._is_looking = False
        there: dict[bytes, bool] = {}
        for line in list(self._lines.values()):
            peer = line.client.peer
            if peer not in there:
                there[peer] = self._is_there(line.client)
            if not there[peer]:
                self._vanished(line)
        self._unheard = {peer: looks for peer, looks in self._unheard.items() if there.get(peer)}
        self._look_later()

    def _is_there(self, client: Caller) -> bool:
        looks = self._unheard[client.peer] = self._unheard.get(client.peer, 0) + 1
        return (looks > _OFTEN and looks % _OFTEN > 0) or client.is_there()

    def _vanished(self, line: _Line) -> None:
        """Its client has gone: the actor is told behind what has gone to it, the rest nobody misses."""
        del self._lines[line.channel]
        self._no_fetcher(line)
        if line.worker is not None and not line.is_over and not line.is_closing:
            self._switchboard.tell(line.worker, OnChannel(line.channel, 0, [None]))
        line.is_over = True


def _some(said: deque[bytes]) -> tuple[list[bytes], int]:
    """The first messages, and their bytes: as many as are fetched at once."""
    bodies: list[bytes] = []
    size = 0
    for body in said:
        if bodies and size + len(body) > WINDOW_BYTES:
            break
        size += len(body)
        bodies.append(body)
    return bodies, size


__all__ = ["WINDOW", "WINDOW_BYTES", "Channels"]
