"""Tree files for tests, and what a server makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from house import House, eventually, manifest

from theater.client import AppliedRow, Member, Supervisor


def supervisor(name: str, under: str | None = "root", **facts: object) -> str:
    """A row; `under=None` is for the root itself."""
    return _table("supervisor", name=name, **({} if under is None else {"under": under}), **facts)


def child(name: str, under: str = "root", **facts: object) -> str:
    """A row whose manifest is NAME.toml, unless `manifest` says otherwise."""
    return _table("child", **{"name": name, "under": under, "manifest": f"{name}.toml", **facts})


def _table(kind: str, **facts: object) -> str:
    rows = [
        f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}".lower() for key, value in facts.items()
    ]
    return "\n".join((f"[[{kind}]]", *rows, ""))


def write(house: House, tree: str, **facts: Any) -> str:
    """Writes the tree file and a manifest for each child that has none yet; returns the file's path."""
    for name in _children(tree):
        if not (house.folder / f"{name}.toml").exists():
            (house.folder / f"{name}.toml").write_text(manifest(name, limits={"call_timeout": "5s"}, **facts))
    path = house.folder / "theater.toml"
    path.write_text(tree)
    return str(path)


def _children(tree: str) -> Iterable[str]:
    for table in tree.split("[[child]]")[1:]:
        yield table.split('name = "', 1)[1].split('"', 1)[0]


def apply(house: House, tree: str, **how: bool) -> dict[str, AppliedRow]:
    """Applies a tree to the running server; the rows by name."""
    return {row.name: row for row in house.client.apply_tree(write(house, tree), **how).rows}


def done(rows: dict[str, AppliedRow]) -> dict[str, str]:
    """What was done with each row that is not as it was."""
    return {name: row.done for name, row in rows.items() if row.done != "unchanged"}


def running(house: House, *names: str) -> None:
    """Waits until these actors run."""
    for name in names:
        eventually(
            lambda name=name: [row for row in house.client.list() if row.name == name and row.state == "running"],
            f"{name} runs",
        )


def lives(house: House, *names: str) -> list[int]:
    return [house.row(name).incarnation for name in names]


def shape(node: Supervisor | Member) -> Any:
    """A tree as names in lists: a supervisor is a tuple of its name and what is under it."""
    return (node.name, [shape(below) for below in node.children]) if isinstance(node, Supervisor) else node.name


def find(node: Supervisor, name: str) -> Supervisor:
    """The supervisor of this name."""
    for below in (node, *(child for child in node.children if isinstance(child, Supervisor))):
        if below.name == name:
            return below
        if below is not node:
            try:
                return find(below, name)
            except LookupError:
                continue
    raise LookupError(name)
