"""An actor that may send and take only so many messages in a second, and use only a share of a processor.

A message that it sends over the rate is refused before anything is done for it; the refusal is the recorded answer of
the host call, so a replay hears the same. Answers to requests are not counted: whoever asked is waiting for them. What
is sent to it waits.
"""

from __future__ import annotations

import time

from theater.core.pace import Pace, Share
from theater.errors import LimitExceeded
from theater.host.base import Caused
from theater.host.message_server import Channels, Post


class Gate:
    """Counts what an actor sends.

    Args:
        rate: messages in a second; None for any number.
    """

    def __init__(self, rate: int | None) -> None:
        self._rate = rate
        self._pace = Pace(rate, time.monotonic() - 1.0) if rate is not None else None

    def require(self) -> None:
        """Raises LimitExceeded for a message too many."""
        if self._pace is not None and not self._pace.take(time.monotonic()):
            raise LimitExceeded(
                f"this actor may send {self._rate} messages in a second, and has ([limits] messages_per_second)"
            )


class Leisure:
    """When an actor may take its next message: not before its rate, and its share of a processor, allow it.

    What waits meanwhile fills the mailbox, whose bound tells the senders.

    Args:
        rate: messages that it may take in a second; None for any number.
        cpu: percent of one processor, over seconds; None for any share.
    """

    def __init__(self, rate: int | None, cpu: int | None) -> None:
        now = time.monotonic()
        self._pace = Pace(rate, now - 1.0) if rate is not None else None
        self._share = Share(cpu / 100, now, time.process_time()) if cpu is not None else None
        self._from = 0.0

    def took(self) -> None:
        """A message is taken."""
        if self._pace is not None:
            self._from = max(self._from, self._pace.spend(time.monotonic()))

    def begins(self) -> None:
        """A call begins."""
        if self._share is not None:
            self._share.begins(time.monotonic())

    def ends(self) -> None:
        """A call has ended."""
        if self._share is not None:
            now = time.monotonic()
            self._from = max(self._from, now + self._share.ends(now, time.process_time()))

    def left(self) -> float:
        """Seconds until then; 0 if there is no need to wait."""
        return max(0.0, self._from - time.monotonic()) if self._from else 0.0


class PacedPost:
    """The port `theater.host.message_server.Post` behind a gate."""

    def __init__(self, post: Post, gate: Gate) -> None:
        self._post = post
        self._gate = gate

    def send(self, to: str, body: bytes) -> None:
        self._gate.require()
        self._post.send(to, body)

    def ask(self, to: str, body: bytes, timeout: float | None) -> Caused:
        self._gate.require()
        return self._post.ask(to, body, timeout)


class PacedChannels:
    """The port `theater.host.message_server.Channels` behind a gate."""

    def __init__(self, channels: Channels, gate: Gate) -> None:
        self._channels = channels
        self._gate = gate

    def open(self, to: str, body: bytes) -> Caused:
        self._gate.require()
        return self._channels.open(to, body)

    def send(self, channel: str, body: bytes) -> None:
        self._gate.require()
        self._channels.send(channel, body)

    def close(self, channel: str) -> None:
        self._channels.close(channel)
