"""A client's end of a channel.

Messages go out as far as the server gives room, and the actor's are fetched when somebody wants them: neither a fast
client nor a fast actor fills anybody's memory. One request that waits for messages of the actor is out at any time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from theater.client.answers import Opened
from theater.client.link import Link, Outcome
from theater.errors import NotFound, TheaterError, TimedOut, WrongState, from_wire

_POLL_S = 20.0
"""How long the server may keep a request for messages open before it says that there are none."""

_BATCHES = 4
"""Requests that fill the window."""

_SLACK_S = 5.0
_FOREVER_S = 1e8
_SEND_S = 1e6
"""How long the actor may take to record a message before the client gives up: it may be busy for any time."""


class Channel:
    """An open channel; `Client.open_channel` makes it. Use it as a context manager: it is closed at the end.

    Attributes:
        id: the channel's id.
        actor: the actor's id.
        message_limit: bytes of the longest message that the actor takes.
        untaken: messages that the actor did not take, since it had closed the channel.
    """

    def __init__(self, link: Link, opened: Opened) -> None:
        self.id = opened.channel
        self.actor = opened.id
        self.message_limit = opened.message_limit
        self.untaken = 0
        self._link = link
        self._window = opened.window
        self._window_bytes = opened.window_bytes
        self._on_way: dict[int, tuple[int, int]] = {}
        self._messages = 0
        self._bytes = 0
        self._fetching: int | None = None
        self._came: deque[bytes] = deque()
        self._closing: int | None = None
        self._is_closing = False
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def __iter__(self) -> Iterator[bytes]:
        """The actor's messages, until the channel is closed."""
        while (message := self.receive()) is not None:
            yield message

    # ---- towards the actor

    @property
    def has_room(self) -> bool:
        """Whether a message could be said without waiting."""
        return self._messages < self._window and self._bytes < self._window_bytes

    @property
    def on_way(self) -> int:
        """Messages that were said, and not recorded by the actor as far as is known."""
        return self._messages

    def send(self, *messages: bytes, timeout: float = _FOREVER_S) -> None:
        """Says something; waits while there is no room for it, and not for the actor.

        Args:
            timeout: seconds to wait for room.

        Raises:
            WrongState: the channel is closed.
            MessageTooLarge: a message is longer than the actor takes.
            ActorDown: the actor's life is over.
            TimedOut: there was no room in time.
            TheaterError: what came of an earlier message.
        """
        until = time.monotonic() + timeout
        left = list(messages)
        while left:
            if self._is_over or self._is_closing:
                raise WrongState(f"channel {self.id} is closed")
            if taken := self.offer(left):
                del left[:taken]
            elif time.monotonic() >= until:
                raise TimedOut(f"the actor has not taken {self._messages} messages of channel {self.id} in time")
            else:
                # Also while nobody receives what comes: the actor is given no more as long as it is not fetched.
                self._fetch()
                self.wait(until - time.monotonic())

    def offer(self, messages: Sequence[bytes]) -> int:
        """Says as many of the first messages as there is room for, without waiting; returns how many."""
        taken = 0
        while not (self._is_over or self._is_closing) and (batch := self._fitting(messages[taken:])):
            self._submit(batch)
            taken += len(batch)
        return taken

    def flush(self, timeout: float = _FOREVER_S) -> None:
        """Waits until the actor has recorded all that was said, or the channel is closed.

        Raises: as `send`.
        """
        until = time.monotonic() + timeout
        while self._on_way and not self._is_over:
            if time.monotonic() >= until:
                raise TimedOut(f"the actor has not taken {self._messages} messages of channel {self.id} in time")
            self._fetch()
            self.wait(until - time.monotonic())

    def _fitting(self, messages: Sequence[bytes]) -> list[bytes]:
        """As many of the first messages as there is room for, and go together; one that is longer than the window goes
        alone. While the actor records some, the next are on their way."""
        batch: list[bytes] = []
        size = self._bytes
        for message in messages[: max(1, self._window // _BATCHES)]:
            fits = size + len(message) <= self._window_bytes or not (batch or self._messages)
            if self._messages + len(batch) >= self._window or not fits:
                break
            batch.append(message)
            size += len(message)
        return batch

    def _submit(self, batch: list[bytes]) -> None:
        size = sum(map(len, batch))
        number = self._link.submit("channel_send", {"channel": self.id, "messages": batch}, _SEND_S)
        self._on_way[number] = len(batch), size
        self._messages += len(batch)
        self._bytes += size

    # ---- towards the client

    @property
    def is_over(self) -> bool:
        """Whether the channel is closed and everything that came on it was received."""
        return self._is_over and not self._came

    def receive(self, timeout: float = _FOREVER_S) -> bytes | None:
        """The actor's next message; None when the channel is closed.

        Args:
            timeout: seconds.

        Raises:
            ActorDown: the actor's life is over.
            TimedOut: nothing came in time.
            TheaterError: what came of an earlier message.
        """
        until = time.monotonic() + timeout
        while not self._came:
            if self._is_over:
                return None
            if time.monotonic() >= until:
                raise TimedOut(f"nothing came on channel {self.id} within {timeout:g} s")
            self.wait(until - time.monotonic())
        return self._came.popleft()

    def take(self) -> list[bytes]:
        """What has come and was not received yet, without waiting."""
        taken = list(self._came)
        self._came.clear()
        return taken

    def wait(self, timeout: float, also: Collection[int] = ()) -> None:
        """Waits `timeout` seconds for whatever happens: a message, room, the end, or one of the descriptors `also`.

        Raises: as `receive`.
        """
        if not self._came:
            self._fetch()
        numbers = [*self._on_way, *(number for number in (self._fetching, self._closing) if number is not None)]
        outcome = self._link.outcome_within(numbers, timeout, also)
        while outcome is not None:
            self._understand(outcome)
            numbers.remove(outcome.number)
            outcome = self._link.outcome_within(numbers, 0.0) if numbers else None

    def _fetch(self) -> None:
        if self._fetching is None and not self._is_over:
            args = {"channel": self.id, "wait_ms": int(_POLL_S * 1000)}
            self._fetching = self._link.submit("channel_receive", args, _POLL_S + _SLACK_S)

    def _understand(self, outcome: Outcome) -> None:
        if outcome.number == self._fetching:
            self._fetching = None
            self._fetched(_value(outcome))
        elif outcome.number == self._closing:
            self._closing = None
            _value(outcome)
        else:
            count, size = self._on_way.pop(outcome.number)
            self._messages -= count
            self._bytes -= size
            if isinstance(outcome.error, WrongState | NotFound):
                self.untaken += count  # It is closed, as will be heard in a moment.
            else:
                _value(outcome)

    def _fetched(self, value: Any) -> None:
        self._came.extend(value["messages"])
        if value["closed"]:
            self._is_over = True
            if value["error"] is not None:
                raise from_wire(value["error"])

    # ---- the end

    def end(self) -> None:
        """Closes the channel and does not wait: what the actor says before it is told can be received still."""
        if self._is_over or self._is_closing:
            return
        self._is_closing = True
        self._closing = self._link.submit("channel_close", {"channel": self.id}, _SEND_S)

    def close(self, timeout: float = 30.0) -> None:
        """Closes the channel and waits until the actor has been told, behind all that was said; what it says until
        then is thrown away. Harmless when repeated.

        Raises:
            ActorDown: the actor's life was over before.
            TimedOut: it was not told in time; it will be.
        """
        self.end()
        until = time.monotonic() + timeout
        while not self._is_over:
            self._came.clear()
            if time.monotonic() >= until:
                self._forget()
                raise TimedOut(f"the actor was not told in time that channel {self.id} is closed; it will be")
            self.wait(until - time.monotonic())
        self._forget()

    def abandon(self) -> None:
        """Closes the channel and waits for nothing."""
        try:
            self.end()
        except TheaterError:
            pass  # Whoever vanishes has closed it.
        self._forget()

    def _forget(self) -> None:
        numbers = [*self._on_way, *(number for number in (self._fetching, self._closing) if number is not None)]
        self._link.forget(numbers)
        self._is_over = True


def _value(outcome: Outcome) -> Any:
    if outcome.error is not None:
        raise outcome.error
    return outcome.value
