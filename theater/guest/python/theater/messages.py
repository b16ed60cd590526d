"""Messages to other actors, and answers that come later.

An actor is named by its id or by a name it registered. Messages become bytes by the actor's own codec, or by the
`codec` of the call.
"""

from typing import Any

from theater._current import current, decoded, encoded
from theater._host import ask, interface, milliseconds
from theater.errors import CallFailed

_messages = interface("message_server_host")
_requests = interface("requests")


def send(actor: str, message: Any, *, codec: Any = None) -> None:
    """Sends a message and does not wait.

    Raises:
        CallFailed: there is no such actor, or its mailbox is full.
    """
    ask(_messages.send, actor, encoded(message, codec))


def request(actor: str, message: Any, timeout: float | None = None, *, codec: Any = None) -> Any:
    """Sends a message, waits, and returns the reply.

    Args:
        timeout: seconds to wait; without it, the `request_timeout` of the manifest.

    Raises:
        CallFailed: the actor answered with an error, did not answer in time, ended before it answered, or is unknown.
    """
    data = encoded(message, codec)
    if timeout is None:
        return decoded(ask(_messages.request, actor, data), codec)
    return decoded(ask(_requests.request_timeout, actor, data, milliseconds(timeout)), codec)


def reply_later() -> str:
    """Leaves the request that is being handled open; what the handler returns is not sent.

    Returns:
        The request's id, for `respond` or `cancel_request` in a later call.

    Raises:
        RuntimeError: no request is being handled.
    """
    if current.request is None:
        raise RuntimeError("reply_later works in handle_request only")
    current.later = True
    return current.request


def respond(request_id: str, message: Any, *, codec: Any = None) -> None:
    """Answers a request that was left open with `reply_later`.

    Raises:
        CallFailed: the request is unknown, was answered already, or its sender no longer waits.
    """
    data = encoded(message, codec)
    if request_id != current.request:
        ask(_messages.respond_to_request, request_id, data)
    elif current.answer is None:
        # The host learns that this request stays open when the handler returns, so the answer is simply its reply.
        current.answer = data
    else:
        raise CallFailed(f"request {request_id} was answered already")


def cancel_request(request_id: str) -> None:
    """Gives up a request that was left open; its sender gets an error.

    Raises:
        CallFailed: the request is unknown, or was answered already.
    """
    ask(_messages.cancel_request, request_id)


def outstanding_requests() -> list[str]:
    """The ids of the requests that were left open and not answered yet."""
    return _messages.list_outstanding_requests()


def open_channel(actor: str, message: Any, *, codec: Any = None) -> str:
    """Opens a channel to another actor with a first message and returns its id.

    Raises:
        CallFailed: the actor refused, or is unknown.
    """
    return ask(_messages.open_channel, actor, encoded(message, codec))


def send_on_channel(channel: str, message: Any, *, codec: Any = None) -> None:
    """Sends a message on an open channel.

    Raises:
        CallFailed: the channel is closed.
    """
    ask(_messages.send_on_channel, channel, encoded(message, codec))


def close_channel(channel: str) -> None:
    """Closes a channel.

    Raises:
        CallFailed: there is no such channel.
    """
    ask(_messages.close_channel, channel)
