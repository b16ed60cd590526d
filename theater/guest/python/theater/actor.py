"""The class that an actor derives from.

The host keeps the state between calls, as bytes, and gives it back with each call. So what a handler left in
`self.state` is what the next one finds, also in the actor's next life; anything else on `self` is lost with a life, and
`wake` is where it is made again.
"""

from typing import Any, ClassVar

from theater.codecs import Json
from theater.errors import Error
from theater.exits import ExitReason


class Actor:
    """Derive one class from this in the actor's main module and write the handlers it needs.

    One object of the class is made, without arguments, when the program is loaded; every life of every actor of the
    program begins as a copy of it.

    Attributes:
        initial: the state of an actor that was started without one.
        codec: how messages become bytes (`Json`, `Raw`, or your own).
        state_codec: how the state becomes bytes.
        state: the state; change it or assign to it. It is decoded when a call first uses it, and what it is when the
            handler returns is what is kept. When a handler raises, it stays as it was. None is no state: the next
            call begins with `initial` again.
    """

    initial: ClassVar[Any] = None
    codec: ClassVar[Any] = Json
    state_codec: ClassVar[Any] = Json
    state: Any

    _recorded: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        # Python comes here only while the object has no such attribute, and the runtime takes `state` off the object
        # before each call. So a handler that never looks at the state never pays for decoding it.
        if name != "state":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        try:
            self.state = None if self._recorded is None else self.state_codec.decode(self._recorded)
        except Error as error:
            raise Error(f"the state cannot be read: {error.text}") from None
        return self.state

    def init(self) -> None:
        """Called when the actor starts anew, before any message; not when a restart goes on from its last state."""

    def wake(self) -> None:
        """Called at the beginning of each life, before `init` or the first message, with the state at hand.

        An exception here, `Error` too, ends the life.
        """

    def handle_request(self, message: Any) -> Any:
        """A message whose sender waits. What this returns is the reply."""
        raise Error(f"{type(self).__name__} has no handle_request")

    def handle_send(self, message: Any) -> None:
        """A message whose sender does not wait; timers come here too."""
        raise Error(f"{type(self).__name__} has no handle_send")

    def handle_channel_open(self, channel: str, message: Any) -> Any:
        """Somebody wants to open a channel. Return the first message back to accept, raise `Error` to refuse."""
        raise Error(f"{type(self).__name__} has no handle_channel_open")

    def handle_channel_message(self, channel: str, message: Any) -> None:
        """A message on an open channel."""
        raise Error(f"{type(self).__name__} has no handle_channel_message")

    def handle_channel_close(self, channel: str) -> None:
        """A channel was closed by the other side."""

    def handle_child_error(self, child: str, error: ExitReason) -> None:
        """A child failed. It may have been started again by the time this is called: the manifest decides that, or, if
        it has no `[supervision.children]`, this actor, with `theater.restart_child`."""

    def handle_child_exit(self, child: str, data: bytes | None) -> None:
        """A child ended by itself and in order; `data` is what its `shutdown` said."""

    def handle_child_stopped(self, child: str) -> None:
        """A child was stopped by somebody else."""

    def handle_down(self, monitor: int, actor: str, reason: ExitReason) -> None:
        """The life of a monitored actor is over, or there was none."""

    def handle_exit(self, actor: str, reason: ExitReason) -> None:
        """A linked actor has ended, and this one traps exits."""

    def handle_stdout(self, process: int, data: bytes) -> None:
        """A program that this actor started wrote to its standard output."""

    def handle_stderr(self, process: int, data: bytes) -> None:
        """A program that this actor started wrote to its standard error."""

    def handle_process_exit(self, process: int, status: int) -> None:
        """A program that this actor started has ended; `status` is its exit status."""

    def encode(self, message: Any) -> bytes:
        """The bytes of a message or reply; the default asks `codec`."""
        return self.codec.encode(message)

    def decode(self, data: bytes) -> Any:
        """The message in some bytes; the default asks `codec`."""
        return self.codec.decode(data)
