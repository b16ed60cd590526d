"""One call of an actor of the guest library: its state before and after, and what its exceptions mean.

This is the path of every message, so it does no work that could be done when the program is loaded: codecs are looked
up once, the state is decoded when a handler first looks at it, and encoded only if one did.
"""

from collections.abc import Callable
from typing import Any

from componentize_py_types import Err

import theater
from theater._current import current
from theater_runtime import randomness
from theater_runtime.crash import crash
from theater_runtime.streams import flush

State = bytes | None


class Calls:
    """Calls of one actor.

    Attributes:
        actor: the object of the actor's class.
        encode, decode: how its messages become bytes.
    """

    def __init__(self, actor: theater.Actor) -> None:
        cls = type(actor)
        self.actor = actor
        self.encode = cls.codec.encode if cls.encode is theater.Actor.encode else actor.encode
        self.decode = cls.codec.decode if cls.decode is theater.Actor.decode else actor.decode
        self._fields = vars(actor)
        self._encode_state = cls.state_codec.encode
        self._initial = None if cls.initial is None else cls.state_codec.encode(cls.initial)
        current.encode, current.decode = self.encode, self.decode

    def call(self, state: State, work: Callable[..., Any], *args: Any, request: str | None = None) -> tuple[State, Any]:
        """Does `work` on a state; the new state and what `work` returned.

        `theater.Error` becomes an `err`; any other exception ends the instance.
        """
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

    def forget(self) -> None:
        """What the running call did to the state is not kept."""
        self._fields.pop("state", None)

    def _wake(self) -> None:
        """Begins a life of the actor."""
        randomness.wake()
        try:
            self.actor.wake()
        except BaseException as error:
            crash(error)

    def _keep(self, state: Any) -> State:
        return None if state is None else self._encode_state(state)


def _text(error: theater.Error) -> str:
    return str(error.text).encode("utf-8", "backslashreplace").decode()
