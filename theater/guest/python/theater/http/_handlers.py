"""The ids by which the host names this actor's methods.

A handler is registered under its method's name, and one name has one id as long as the actor has its servers. So a
life that is asked for an id which it does not know, since an earlier one registered it, registers all names again.
"""

from collections.abc import Callable
from typing import Any

from theater._host import ask, interface
from theater.errors import Error
from theater.http.routes import marked

_framework = interface("http_framework")
_ids: dict[str, int] = {}
_methods: dict[int, Callable[..., Any]] = {}


def id_of(method: Callable[..., Any]) -> int:
    """The id of an actor's method."""
    name = method.__name__
    found = _ids.get(name)
    if found is None:
        found = _ids[name] = ask(_framework.register_handler, name)
    _methods[found] = method
    return found


def method_of(actor: Any, handler: int) -> Callable[..., Any]:
    """The method that an id stands for."""
    found = _methods.get(handler)
    return _learnt(actor, handler) if found is None else found


def _learnt(actor: Any, handler: int) -> Callable[..., Any]:
    for name, _ in marked(type(actor)):
        id_of(getattr(actor, name))
    if handler not in _methods:
        raise Error(f"{type(actor).__name__} has no method any more for the handler {handler}")
    return _methods[handler]
