"""An actor of the guest library in the shapes of the interfaces: a class for each, named as its export.

Each method takes the state and the parameters and returns the new state and the answer.
"""

from collections.abc import Callable
from typing import Any

from wit_world.imports.types import ChannelAccept

import theater
from theater._current import current
from theater.exits import of_child_error, of_record
from theater_runtime.calls import Calls, State
from theater_runtime.http_handlers import HttpHandlers


class Actor:
    """theater:simple/actor"""

    def __init__(self, calls: Calls) -> None:
        self._call = calls.call
        self._actor = calls.actor

    def init(self, state: State, params: tuple[str]) -> tuple[State]:
        kept, _ = self._call(state, self._actor.init)
        return (kept,)


class MessageServerClient:
    """theater:simple/message-server-client"""

    def __init__(self, calls: Calls) -> None:
        self._call = calls.call
        self._actor = calls.actor
        self._encode, self._decode = calls.encode, calls.decode

    def handle_request(self, state: State, params: tuple[str, bytes]) -> tuple[State, tuple[bytes | None]]:
        kept, reply = self._call(state, self._reply, params[1], request=params[0])
        return kept, (reply,)

    def handle_send(self, state: State, params: tuple[bytes]) -> tuple[State]:
        kept, _ = self._call(state, self._receive, params[0])
        return (kept,)

    def handle_channel_open(self, state: State, params: tuple[str, bytes]) -> tuple[State, tuple[Any]]:
        kept, accept = self._call(state, self._accept, *params)
        return kept, (accept,)

    def handle_channel_message(self, state: State, params: tuple[str, bytes]) -> tuple[State]:
        kept, _ = self._call(state, self._receive_on_channel, *params)
        return (kept,)

    def handle_channel_close(self, state: State, params: tuple[str]) -> tuple[State]:
        kept, _ = self._call(state, self._actor.handle_channel_close, *params)
        return (kept,)

    def _reply(self, body: bytes) -> bytes | None:
        reply = self._actor.handle_request(self._decode(body))
        return current.answer if current.later else self._encode(reply)

    def _receive(self, body: bytes) -> None:
        self._actor.handle_send(self._decode(body))

    def _accept(self, channel: str, body: bytes) -> Any:
        first = self._actor.handle_channel_open(channel, self._decode(body))
        return ChannelAccept(True, None if first is None else self._encode(first))

    def _receive_on_channel(self, channel: str, body: bytes) -> None:
        self._actor.handle_channel_message(channel, self._decode(body))


class SupervisorHandlers:
    """theater:simple/supervisor-handlers"""

    def __init__(self, calls: Calls) -> None:
        self._call = calls.call
        self._actor = calls.actor

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


class MonitorHandlers:
    """theater:otp/monitor-handlers"""

    def __init__(self, calls: Calls) -> None:
        self._call = calls.call
        self._actor = calls.actor

    def handle_down(self, state: State, params: tuple[int, str, Any]) -> tuple[State]:
        monitor, actor, reason = params
        kept, _ = self._call(state, self._actor.handle_down, monitor, actor, of_record(reason))
        return (kept,)

    def handle_exit(self, state: State, params: tuple[str, Any]) -> tuple[State]:
        actor, reason = params
        kept, _ = self._call(state, self._actor.handle_exit, actor, of_record(reason))
        return (kept,)


class ProcessHandlers:
    """theater:simple/process-handlers"""

    def __init__(self, calls: Calls) -> None:
        self._call = calls.call
        self._actor = calls.actor

    def handle_stdout(self, state: State, params: tuple[int, bytes]) -> tuple[State]:
        kept, _ = self._call(state, self._actor.handle_stdout, *params)
        return (kept,)

    def handle_stderr(self, state: State, params: tuple[int, bytes]) -> tuple[State]:
        kept, _ = self._call(state, self._actor.handle_stderr, *params)
        return (kept,)

    def handle_exit(self, state: State, params: tuple[int, int]) -> tuple[State]:
        kept, _ = self._call(state, self._actor.handle_process_exit, *params)
        return (kept,)


_EXPORTS = Actor, MessageServerClient, SupervisorHandlers, MonitorHandlers, HttpHandlers, ProcessHandlers


def exports(actor: theater.Actor) -> Callable[[str, str], Callable[..., Any]]:
    """What is called for an export, by the names of its class and its method.

    Args:
        actor: an object of the actor's class.
    """
    calls = Calls(actor)
    made = {cls.__name__: cls(calls) for cls in _EXPORTS}
    return lambda cls, name: getattr(made[cls], name)
