"""What is being handled: set by the runtime around each call, read by the functions of this library."""

from collections.abc import Callable
from typing import Any


class Current:
    """The actor of this component and the call it handles.

    Attributes:
        encode, decode: how the actor's messages become bytes.
        request: the id of the request being handled; none in other handlers.
        later: whether `reply_later` was called for it.
        answer: what `respond` was given for it while it was still being handled.
    """

    __slots__ = ("answer", "decode", "encode", "later", "request")

    def __init__(self) -> None:
        self.encode: Callable[[Any], bytes] = bytes
        self.decode: Callable[[bytes], Any] = bytes
        self.request: str | None = None
        self.later = False
        self.answer: bytes | None = None


current = Current()


def encoded(message: Any, codec: Any) -> bytes:
    """A message as bytes, by a codec or, without one, as the actor's own messages."""
    return current.encode(message) if codec is None else codec.encode(message)


def decoded(data: bytes, codec: Any) -> Any:
    """The message in some bytes, by a codec or, without one, as the actor's own messages."""
    return current.decode(data) if codec is None else codec.decode(data)
