"""Websockets: connections, and what is said on them."""

from typing import Any

from theater._host import ask, interface
from theater.codecs import Json

_framework = interface("http_framework")
_types = interface("websocket_types")
_ANY = 0
"""In place of a server's id: the server that has the connection."""


class Socket:
    """One connection.

    Args:
        id: its id, which may be kept in the state.
    """

    __slots__ = ("id",)

    def __init__(self, id: int) -> None:
        self.id = id

    def send(self, message: Any) -> None:
        """Sends text, bytes, or anything else as JSON text.

        Raises:
            CallFailed: the connection is closed, or takes no more for the moment.
        """
        ask(_framework.send_websocket_message, _ANY, self.id, websocket_message(message))

    def close(self) -> None:
        """Closes the connection.

        Raises:
            CallFailed: there is none any more.
        """
        ask(_framework.close_websocket, _ANY, self.id)


def websocket_message(message: Any) -> Any:
    """A message as the host takes it."""
    if isinstance(message, str):
        return _types.WebsocketMessage(_types.MessageType_Text(), None, message)
    if isinstance(message, bytes | bytearray | memoryview):
        return _types.WebsocketMessage(_types.MessageType_Binary(), bytes(message), None)
    return _types.WebsocketMessage(_types.MessageType_Text(), None, Json.encode(message).decode())


def content(record: Any) -> str | bytes:
    """What a message says."""
    if record.text is not None:
        return record.text
    return record.data or b""
