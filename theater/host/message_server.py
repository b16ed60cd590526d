"""theater:simple/message-server-host and theater:otp/requests: messages to other actors, later answers, channels."""

from __future__ import annotations

from typing import Protocol

from theater.host.base import Caused


class Post(Protocol):
    """What carries messages. Every method raises a `TheaterError` with a sentence when it cannot."""

    def send(self, to: str, body: bytes) -> None:
        """Hands a message over."""

    def ask(self, to: str, body: bytes, timeout: float | None) -> Caused:
        """Waits for the answer, at most `timeout` seconds (None: the actor's request timeout)."""


class Later(Protocol):
    """The requests that this actor has promised to answer later."""

    def outstanding(self) -> list[str]: ...

    def respond(self, request: str, response: bytes) -> None: ...

    def cancel(self, request: str) -> None: ...


class Channels(Protocol):
    """The channels of this actor's life. Every method raises a `TheaterError` with a sentence when it cannot."""

    def open(self, to: str, body: bytes) -> Caused:
        """Waits until a channel is accepted, at most the actor's request timeout; returns its id."""

    def send(self, channel: str, body: bytes) -> None: ...

    def close(self, channel: str) -> None: ...


class MessageServerHost:
    def __init__(self, post: Post, later: Later, channels: Channels) -> None:
        self._post = post
        self._later = later
        self._channels = channels

    def send(self, actor_id: str, msg: bytes) -> None:
        self._post.send(actor_id, msg)

    def request(self, actor_id: str, msg: bytes) -> Caused:
        return self._post.ask(actor_id, msg, None)

    def list_outstanding_requests(self) -> list[str]:
        return self._later.outstanding()

    def respond_to_request(self, request_id: str, response: bytes) -> None:
        self._later.respond(request_id, response)

    def cancel_request(self, request_id: str) -> None:
        self._later.cancel(request_id)

    def open_channel(self, actor_id: str, initial_msg: bytes) -> Caused:
        return self._channels.open(actor_id, initial_msg)

    def send_on_channel(self, channel_id: str, msg: bytes) -> None:
        self._channels.send(channel_id, msg)

    def close_channel(self, channel_id: str) -> None:
        self._channels.close(channel_id)


class Requests:
    """A request with a timeout of its own."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def request_timeout(self, actor_id: str, msg: bytes, timeout: int) -> Caused:
        return self._post.ask(actor_id, msg, timeout / 1000)
