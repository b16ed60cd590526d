"""An actor of the guest library in the shapes of the interfaces.

This is the path of every message, so it does no work that could be done when the program is loaded: codecs are looked
up once, the state is decoded when a handler first looks at it, and encoded only if one did.
"""

from collections.abc import Callable
from typing import Any

from componentize_py_types import Err
from wit_world.imports.types import ChannelAccept

import theater
from theater._current import current
from theater.exits import of_child_error, of_record
from theater_runtime import randomness
from theater_runtime.crash import crash
from theater_runtime.streams import flush

State = bytes | None


class Handlers:
    """The exports of one actor.

    Each takes the state and the parameters and returns the new state and the answer. `theater.Error` becomes an `err`;
    any other exception ends the instance.

    Args:
        actor: an object of the actor's class.
    """

    def __init__(self, actor: theater.Actor) -> None:
        cls = type(actor)
        self._actor = actor
        self._fields = vars(actor)
        self._encode = cls.codec.encode if cls.encode is theater.Actor.encode else actor.encode
        self._decode = cls.codec.decode if cls.decode is theater.Actor.decode else actor.decode
        self._encode_state = cls.state_codec.encode
        self._initial = None if cls.initial is None else cls.state_codec.encode(cls.initial)
        current.encode, current.decode = self._encode, self._decode

    def init(self, state: State, params: tuple[str]) -> tuple[State]:
        kept, _ = self._call(state, self._actor.init)
        return (kept,)

    def handle_request(self, state: State, params: tuple[str, bytes]) -> tuple[State, tuple[bytes | None]]:
        kept, reply = self._call(state, self._reply, params[1], request=params[0])
        return kept, (reply,)

    def handle_send(self, state: State, params: tuple[bytes]) -> tuple[State]:
        kept, _ = self._call(state, self._receive, params[0])
        return (kept,)

    def handle_channel_open(self, state: State, params: tuple[str, bytes]) -> tuple[State, tuple[ChannelAccept]]:
        kept, accept = self._call(state, self._accept, *params)
        return kept, (accept,)

    def handle_channel_message(self, state: State, params: tuple[str, bytes]) -> tuple[State]:
        kept, _ = self._call(state, self._receive_on_channel, *params)
        return (kept,)

    def handle_channel_close(self, state: State, params: tuple[str]) -> tuple[State]:
        kept, _ = self._call(state, self._actor.handle_channel_close, *params)
        return (kept,)

    def handle_child_error(self, state: State, params: tuple[str, Any]) -> tuple[State]:
        child, error = params
        kept, _ = self._call(state, self._actor.handle_child_error, child, of_child_error(error))
        return (kept,)

    def handle_child_exit(self, state: State, params: tuple[str, bytes | None]) -> tuple[State]:
        kept, _ = self._call(state, self._actor.handle_child_exit, *params)
        return (kept,)

    def handle_child_external_stop(self, state: State, params: tuple[str]) -> tuple[State]:
        kept, _ = self._call(state, self._actor.handle_child_stopped, *params)
        return (kept,)

    def handle_down(self, state: State, params: tuple[int, str, Any]) -> tuple[State]:
        monitor, actor, reason = params
        kept, _ = self._call(state, self._actor.handle_down, monitor, actor, of_record(reason))
        return (kept,)

    def handle_exit(self, state: State, params: tuple[str, Any]) -> tuple[State]:
        actor, reason = params
        kept, _ = self._call(state, self._actor.handle_exit, actor, of_record(reason))
        return (kept,)

    def _call(
        self, state: State, work: Callable[..., Any], *args: Any, request: str | None = None
    ) -> tuple[State, Any]:
        """Does `work` on a state; the new state and what `work` returned."""
        recorded = self._initial if state is None else state
        fields = self._fields
        fields.pop("state", None)
        fields["_recorded"] = recorded
        current.request = request
        current.later = False
        current.answer = None
        try:
            if randomness.asleep:
                self._wake()
            result = work(*args)
            return self._keep(fields["state"]) if "state" in fields else recorded, result
        except theater.Error as error:
            raise Err(_text(error)) from None
        except Err:
            raise
        except BaseException as error:
            crash(error)
        finally:
            flush()

    def _wake(self) -> None:
        """Begins a life of the actor."""
        randomness.wake()
        try:
            self._actor.wake()
        except BaseException as error:
            crash(error)

    def _keep(self, state: Any) -> State:
        return None if state is None else self._encode_state(state)

    def _reply(self, body: bytes) -> bytes | None:
        reply = self._actor.handle_request(self._decode(body))
        return current.answer if current.later else self._encode(reply)

    def _receive(self, body: bytes) -> None:
        self._actor.handle_send(self._decode(body))

    def _accept(self, channel: str, body: bytes) -> ChannelAccept:
        first = self._actor.handle_channel_open(channel, self._decode(body))
        return ChannelAccept(True, None if first is None else self._encode(first))

    def _receive_on_channel(self, channel: str, body: bytes) -> None:
        self._actor.handle_channel_message(channel, self._decode(body))


def _text(error: theater.Error) -> str:
    return str(error.text).encode("utf-8", "backslashreplace").decode()
