"""`theater tree`: who supervises whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..lines import short
from ..options import App, json_option, theater_command
from ..output import STYLES, colour, line, print_json, safe

if TYPE_CHECKING:
    from theater.client import Row, Supervisor


@theater_command("tree")
@json_option
def command(app: App) -> None:
    """Shows who supervises whom.

    Children stand in the order of their start.
    """
    with app.client() as client:
        root = client.tree()
    if app.json:
        print_json(root.plain())
        return
    line(_words(root))
    for text in _below(root, ""):
        line(text)


def _below(node: Supervisor, indent: str) -> Iterator[str]:
    from theater.client import Row

    for number, child in enumerate(node.children, 1):
        last = number == len(node.children)
        yield f"{indent}{'└─ ' if last else '├─ '}{_words(child)}"
        if not isinstance(child, Row):
            yield from _below(child, indent + ("   " if last else "│  "))


def _words(node: Supervisor | Row) -> str:
    from theater.client import Row

    state = colour(node.state, STYLES.get(node.state, ""))
    if isinstance(node, Row):
        return f"{safe(node.name)}  {short(node.id)}  {state}" + (f"  pid {node.pid}" if node.pid else "")
    flags = [node.strategy or "", "" if node.intensity is None else f"{node.intensity} in {node.period} s", state]
    return f"{safe(node.name)}  {'  '.join(flag for flag in flags if flag)}"
