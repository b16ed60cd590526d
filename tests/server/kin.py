"""Actors with children, for tests: tests/actors/parent.wat does what a message says and notes what it hears."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wasmtime
from house import RESTLESS, House, eventually, is_running, manifest

from theater.client import Row

HANDLERS = ("message-server", "supervisor", "monitors")
_WAT = Path(__file__).parents[1] / "actors" / "parent.wat"


def toml_table(name: str, facts: Mapping[str, object]) -> str:
    """A table of a manifest."""
    rows = [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in facts.items()]
    return "\n".join((f"[{name}]", *rows, ""))


@dataclass
class Kin:
    """Parents and children of one house.

    Args:
        name: gives names that are free.
    """

    house: House
    name: Callable[[], str]
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        component = self.house.folder / "parent.wasm"
        if not component.exists():
            component.write_bytes(bytes(wasmtime.wat2wasm(_WAT.read_text())))

    # ---- having them

    def write(self, children: Mapping[str, object] | None = None, *, parent: bool = False, **facts: Any) -> str:
        """Writes a manifest and gives its file's name.

        Args:
            children: [supervision.children]; with them, and with `parent`, it is a parent's.
        """
        name = self.name()
        if children is not None:
            facts["more"] = facts.get("more", "") + toml_table("supervision.children", children)
        if children is not None or parent:
            facts = {"component": "parent.wasm", "handlers": HANDLERS, **facts}
        facts.setdefault("limits", {"call_timeout": "20s"})
        facts.setdefault("register", False)
        self.house.write(name, **facts)
        return f"{name}.toml"

    def parent(self, children: Mapping[str, object] | None = None, *, state: bytes = b"", **facts: Any) -> Row:
        """Starts a parent."""
        facts.setdefault("supervision", RESTLESS)
        file = self.write(children, parent=True, **facts)
        return self.house.client.start(self.house.folder / file, init_state=state or None)

    def ask(self, parent: str, order: bytes) -> bytes:
        """What a parent answers; an `err` of its is raised."""
        return bytes(self.house.client.request(parent, order, timeout=20.0) or b"")

    def spawn(self, parent: str, given: str) -> str:
        return self.ask(parent, b"S" + given.encode()).decode()

    def spawn_with(self, parent: str, given: str, state: bytes) -> str:
        return self.ask(parent, b"I" + len(state).to_bytes(4, "little") + state + given.encode()).decode()

    def resume(self, parent: str, given: str, state: bytes) -> str:
        return self.ask(parent, b"R" + len(state).to_bytes(4, "little") + state + given.encode()).decode()

    def stop(self, parent: str, child: str) -> None:
        self.ask(parent, b"T" + child.encode())

    def restart(self, parent: str, child: str) -> None:
        self.ask(parent, b"B" + child.encode())

    def note(self, parent: str, text: str = "here") -> None:
        """Has a parent note something, which commits a state."""
        self.ask(parent, b"n" + text.encode())

    # ---- looking

    def children(self, parent: str) -> list[str]:
        """What the parent itself is told."""
        return self.ask(parent, b"L").decode().split()

    def notes(self, parent: str) -> list[str]:
        """What a parent has noted."""
        return self.ask(parent, b"g").decode().splitlines()

    def heard(self, parent: str, child: str) -> list[str]:
        """What a parent has been told of a child, word by word."""
        notes = [note for note in self.notes(parent) if note.startswith("child-") and note.split()[1] == child]
        return [note.split()[0].removeprefix("child-") for note in notes]

    def await_heard(self, parent: str, child: str, *words: str) -> None:
        eventually(lambda: self.heard(parent, child) == list(words), lambda: f"{words}: {self.notes(parent)}")

    def pid(self, actor: str) -> int:
        """The process of an actor, once it is up."""
        row = self.house.await_row(actor, lambda row: row.state == "running" and row.pid is not None)
        assert row.pid is not None
        return row.pid

    def kill(self, actor: str) -> int:
        """Kills an actor's worker; gives its process id."""
        pid = self.pid(actor)
        self.house.kill(pid)
        return pid

    def await_life(self, actor: str, number: int) -> Row:
        return self.house.await_incarnation(actor, number)

    def await_down(self, *pids: int) -> None:
        eventually(lambda: not any(is_running(pid) for pid in pids), "the processes have ended")

    def story(self, *actors: str, since: int = 0) -> list[tuple[str, str]]:
        """What the server's chain says of some actors, in order: (event, actor)."""
        found = []
        for event in self.house.client.read_events("supervisor", since, types=["lifecycle"]):
            actor = event.data["details"].get("actor")
            if actor in actors:
                found.append((event.data["event"], actor))
        return found


def text_of_child(name: str, **facts: Any) -> str:
    """The text of a probe's manifest."""
    return manifest(name, register=False, **facts)
