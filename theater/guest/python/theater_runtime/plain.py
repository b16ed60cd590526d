"""Actors written against the generated bindings alone.

Such a module defines classes `Actor`, `MessageServerClient`, `SupervisorHandlers` and `MonitorHandlers`, as many as it
needs, whose methods have the shapes of the interfaces:
`handle_request(self, state, params)` returns the new state and the answer as tuples, and raises
`componentize_py_types.Err` for an `err`.
"""

from types import ModuleType
from typing import Any

from componentize_py_types import Err

from theater_runtime import randomness
from theater_runtime.crash import crash
from theater_runtime.streams import flush

State = bytes | None


class Plain:
    """The exports of a module of plain classes. A call that the module has no method for is answered with an `err`,
    but for `init`, which keeps the state as it is.

    Args:
        module: the program's main module.
    """

    def __init__(self, module: ModuleType) -> None:
        self._name = module.__name__
        self._actor = _made(module, "Actor")
        self._client = _made(module, "MessageServerClient")
        self._of_children = _made(module, "SupervisorHandlers")
        self._of_ends = _made(module, "MonitorHandlers")

    def init(self, state: State, params: Any) -> Any:
        return self._call(self._actor, "init", state, params) if hasattr(self._actor, "init") else (state,)

    def handle_request(self, state: State, params: Any) -> Any:
        return self._call(self._client, "handle_request", state, params)

    def handle_send(self, state: State, params: Any) -> Any:
        return self._call(self._client, "handle_send", state, params)

    def handle_channel_open(self, state: State, params: Any) -> Any:
        return self._call(self._client, "handle_channel_open", state, params)

    def handle_channel_message(self, state: State, params: Any) -> Any:
        return self._call(self._client, "handle_channel_message", state, params)

    def handle_channel_close(self, state: State, params: Any) -> Any:
        return self._call(self._client, "handle_channel_close", state, params)

    def handle_child_error(self, state: State, params: Any) -> Any:
        return self._call(self._of_children, "handle_child_error", state, params)

    def handle_child_exit(self, state: State, params: Any) -> Any:
        return self._call(self._of_children, "handle_child_exit", state, params)

    def handle_child_external_stop(self, state: State, params: Any) -> Any:
        return self._call(self._of_children, "handle_child_external_stop", state, params)

    def handle_down(self, state: State, params: Any) -> Any:
        return self._call(self._of_ends, "handle_down", state, params)

    def handle_exit(self, state: State, params: Any) -> Any:
        return self._call(self._of_ends, "handle_exit", state, params)

    def _call(self, target: Any, name: str, state: State, params: Any) -> Any:
        method = getattr(target, name, None)
        if method is None:
            raise Err(f"{self._name} has no {name}")
        try:
            if randomness.asleep:
                randomness.wake()
            return method(state, params)
        except Err:
            raise
        except BaseException as error:
            crash(error)
        finally:
            flush()


def _made(module: ModuleType, name: str) -> Any:
    cls = vars(module).get(name)
    return cls() if isinstance(cls, type) else None
