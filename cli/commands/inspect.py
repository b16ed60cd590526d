"""`theater inspect`: all that the server knows of an actor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..lines import exit_words, facts
from ..options import App, actor_argument, for_each, json_option, theater_command
from ..output import duration, line, pairs, print_json, size

if TYPE_CHECKING:
    from theater.client import Inspection


@theater_command("inspect")
@actor_argument
@json_option
def command(app: App, actor: str) -> int:
    """Shows everything about an actor."""
    with app.client() as client:

        def show(actor: str) -> None:
            found = client.inspect(actor)
            if app.json:
                print_json(found.plain())
            else:
                pairs(_lines(found))
                line()

        return for_each(actor, show)


def _lines(found: Inspection) -> Iterator[tuple[str, Any]]:
    row, rest = found.row, dict(found.facts)
    rest.pop("manifest", None)
    services = rest.pop("services", None) or {}
    yield "id", row.id
    yield "name", row.name
    yield "state", row.state
    yield "pid", row.pid
    yield "incarnation", f"{row.incarnation}, after {row.restarts} restarts"
    yield "last exit", None if row.last_exit is None else _end(row.last_exit.detail, exit_words(row.last_exit))
    yield "parent", row.parent
    yield "supervisor", row.supervisor
    yield "mailbox", row.mailbox
    yield "chain", f"{row.entries} entries, head {row.head}"
    for name, value in rest.items():
        label = name.removesuffix("_ms").replace("_", " ")
        yield label, _SHOWN.get(name, _plainly)(value)
    for service, said in services.items():
        for name, value in said.items():
            yield f"{service}: {name}", _plainly(value)


def _end(detail: str | None, words: str) -> str:
    first, _, frames = (detail or "").partition("\n")
    return f"{words}: {first}{' …' if frames else ''}" if first else words


def _plainly(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or None
    return facts(value) or None if isinstance(value, dict) else None if value == "" else value


def _since(started_ms: int | None) -> str | None:
    return None if started_ms is None else f"{duration(time.time() * 1000 - started_ms)} ago"


def _size(count: int | None) -> str | None:
    return None if count is None else size(count)


def _call(call: dict[str, Any] | None) -> str:
    return "idle" if call is None else f"in {call.get('function')} for {duration(call.get('for_ms', 0))}"


_SHOWN: dict[str, Callable[[Any], Any]] = {"memory": _size, "state_size": _size, "started_ms": _since, "call": _call}
