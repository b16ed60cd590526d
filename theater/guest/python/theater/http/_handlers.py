"""The ids by which the host names this actor's methods.

A handler is registered under its method's name, and one name has one id as long as the actor has its servers. So a
life that is asked for an id which it does not know, since an earlier one registered it, registers all names again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from theater._host import ask, interface
from theater.errors import Error
from theater.http.routes import Kind, Mark, marked, marks

_framework = interface("http_framework")
_PARAMETER = "x-theater-param-"
_WILDCARD = "x-theater-wildcard"


@dataclass(frozen=True, slots=True)
class Handler:
    """What an id stands for.

    Attributes:
        method: the actor's method.
        patterns: those of its routes that have something to find in a path.
    """

    method: Callable[..., Any]
    patterns: tuple[Mark, ...]

    def params(self, record: Any) -> dict[str, str]:
        """What stands in the path of a request."""
        segments = record.uri.partition("?")[0].split("/")[1:]
        # The host decides what a request is for; a mark for another method (HEAD) is still a better guess than none.
        for same in (True, False):
            for mark in self.patterns:
                if (mark.method == record.method) is same:
                    found = mark.match(segments)
                    if found is not None:
                        return found
        return dict(_told(record.headers))


_ids: dict[str, int] = {}
_handlers: dict[int, Handler] = {}


def id_of(method: Callable[..., Any]) -> int:
    """The id of an actor's method."""
    name = method.__name__
    found = _ids.get(name)
    if found is None:
        found = _ids[name] = ask(_framework.register_handler, name)
    if found not in _handlers:
        _handlers[found] = Handler(method, tuple(mark for mark in marks(method) if _finds(mark)))
    return found


def handler_of(actor: Any, number: int) -> Handler:
    """What an id stands for.

    Raises:
        Error: nothing any more.
    """
    found = _handlers.get(number)
    return _learnt(actor, number) if found is None else found


def _learnt(actor: Any, number: int) -> Handler:
    for name, _ in marked(type(actor)):
        id_of(getattr(actor, name))
    if number not in _handlers:
        raise Error(f"{type(actor).__name__} has no method any more for the handler {number}")
    return _handlers[number]


def _told(headers: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """What the host says of a path that no mark has: that of a route which was added while the actor ran."""
    for name, value in headers:
        if name.startswith(_PARAMETER):
            yield name.removeprefix(_PARAMETER), value
        elif name == _WILDCARD:
            yield "rest", value


def _finds(mark: Mark) -> bool:
    return mark.kind is Kind.ROUTE and ("{" in mark.path or mark.path.endswith("*"))
