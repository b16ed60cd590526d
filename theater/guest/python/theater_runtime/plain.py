"""Actors written against the generated bindings alone.

Such a module defines classes named as the interfaces that it exports (`Actor`, `MessageServerClient`, `HttpHandlers`
and so on), as many as it needs, whose methods have the shapes of the interfaces: `handle_request(self, state, params)`
returns the new state and the answer as tuples, and raises `componentize_py_types.Err` for an `err`.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from componentize_py_types import Err

from theater_runtime import randomness
from theater_runtime.crash import crash
from theater_runtime.streams import flush

State = bytes | None


def exports(module: ModuleType) -> Callable[[str, str], Callable[[State, Any], Any]]:
    """What is called for an export, by the names of its class and its method.

    A call that the module has no method for is answered with an `err`, but for `init`, which keeps the state as it is.

    Args:
        module: the program's main module.
    """
    made: dict[str, Any] = {}

    def export(cls: str, name: str) -> Callable[[State, Any], Any]:
        if cls not in made:
            made[cls] = _made(module, cls)
        method = getattr(made[cls], name, None)
        if method is not None:
            return _call(method)
        return _keep if name == "init" else _lacking(f"{module.__name__} has no {name}")

    return export


def _made(module: ModuleType, name: str) -> Any:
    cls = vars(module).get(name)
    return cls() if isinstance(cls, type) else None


def _call(method: Callable[[State, Any], Any]) -> Callable[[State, Any], Any]:
    def call(state: State, params: Any) -> Any:
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

    return call


def _keep(state: State, _: Any) -> tuple[State]:
    return (state,)


def _lacking(text: str) -> Callable[[State, Any], Any]:
    def call(state: State, _: Any) -> Any:
        raise Err(text)

    return call
