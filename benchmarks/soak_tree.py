"""The soak over a tree of three levels: a death concerns siblings, and too many of them end a supervisor.

    root             one_for_one
    ├─ all           one_for_all
    │  ├─ a0, a1
    │  └─ inner      rest_for_one, gives up after three restarts within a second: then `all` starts everything again
    │     └─ b0, b1, b2
    ├─ rest          rest_for_one
    │  └─ c0, c1
    └─ d             an actor that is the supervisor of its children, one_for_all
       └─ d0, d1

Beside what every soak asserts, the supervisor's chain must show that no actor ever had two lives at once, that nobody
was started while an actor lived that has to come after it, and that the tree is whole at the end, with no socket file
left of anybody who is dead.
"""

from __future__ import annotations

from typing import ClassVar

from house import manifest

from benchmarks.soak import LIMITS, ROOT, Figures, Soak, eventually
from theater.client.answers import Member, Supervisor
from theater.wasm.assemble import assemble

_PARENT = ROOT / "tests" / "actors" / "parent.wat"

TREE = """
[[supervisor]]
name = "root"
intensity = 100000
[[supervisor]]
name = "all"
strategy = "one_for_all"
intensity = 100000
[[child]]
name = "a0"
under = "all"
manifest = "a0.toml"
[[child]]
name = "a1"
under = "all"
manifest = "a1.toml"
[[supervisor]]
name = "inner"
under = "all"
strategy = "rest_for_one"
intensity = 3
period = 1
[[child]]
name = "b0"
under = "inner"
manifest = "b0.toml"
[[child]]
name = "b1"
under = "inner"
manifest = "b1.toml"
[[child]]
name = "b2"
under = "inner"
manifest = "b2.toml"
[[supervisor]]
name = "rest"
strategy = "rest_for_one"
intensity = 100000
[[child]]
name = "c0"
under = "rest"
manifest = "c0.toml"
[[child]]
name = "c1"
under = "rest"
manifest = "c1.toml"
[[child]]
name = "d"
manifest = "d.toml"
"""
FAMILY = """
[supervision.children]
strategy = "one_for_all"
intensity = 100000
"""

_NAMES = ("a0", "a1", "b0", "b1", "b2", "c0", "c1", "d0", "d1")
_AFTER = {
    "a0": ("a1", "b0", "b1", "b2"),
    "a1": ("b0", "b1", "b2"),
    "b0": ("b1", "b2"),
    "b1": ("b2",),
    "b2": (),
    "c0": ("c1",),
    "c1": (),
    "d": ("d0", "d1"),
    "d0": ("d1",),
    "d1": (),
}
"""Who must be dead when an actor is started."""


class TreeSoak(Soak):
    """A soak of the tree above."""

    pause_s: ClassVar = 0.08

    def start_actors(self) -> dict[str, str]:
        house = self._house
        for name in _NAMES:
            (house.folder / f"{name}.toml").write_text(manifest(name, limits=LIMITS))
        (house.folder / "theater.toml").write_text(TREE)
        (house.folder / "parent.wasm").write_bytes(assemble(_PARENT.read_text(), _PARENT.name))
        handlers = ("message-server", "supervisor", "monitors")
        parent = manifest("d", component="parent.wasm", handlers=handlers, limits=LIMITS)
        (house.folder / "d.toml").write_text(parent + FAMILY)
        house.open("--tree", str(house.folder / "theater.toml"))
        house.await_row("d", lambda row: row.state == "running")
        house.client.request("d", b"nit has a state to go on from, and its children with it")
        for name in ("d0", "d1"):
            house.client.request("d", f"S{name}.toml".encode())
        eventually(lambda: all(row.state == "running" for row in house.client.list()), "the tree is up")
        ids = {row.name: row.id for row in house.client.list()}
        self._parent = ids.pop("d")
        return ids

    def check(self, figures: Figures) -> None:
        super().check(figures)
        self._check_order()
        root = self._house.client.tree()
        shapes = [shape(child) for child in root.children]
        assert shapes == [
            ("all", ["a0", "a1", ("inner", ["b0", "b1", "b2"])]),
            ("rest", ["c0", "c1"]),
            ("d", ["d0", "d1"]),
        ], shapes
        eventually(lambda: not self._of_somebody(), lambda: f"left by the dead: {self._of_somebody()}")

    def _of_somebody(self) -> list[str]:
        """What stands beside the server's own sockets; spares are not at their rehearsal any more."""
        return [path.name for path in (self._house.home / "run").iterdir() if "." in path.name]

    def _check_order(self) -> None:
        """Walks through the record: who is alive when somebody is started?"""
        name_of = {id: name for name, id in self._ids.items()} | {self._parent: "d"}
        alive: dict[str, int] = {}
        for event, details in self._house.history():
            name = name_of.get(str(details.get("actor")))
            if name is None:
                continue
            life = details.get("incarnation")
            if event == "spawned":
                assert name not in alive, f"{name} has two lives: {alive[name]} and {life}"
                late = [other for other in _AFTER[name] if other in alive]
                assert not late, f"{name} was started while {late} lived"
                alive[name] = life
            elif event == "exited":
                assert alive.pop(name) == life
        assert sorted(alive) == sorted(_AFTER), f"alive at the end: {sorted(alive)}"


def shape(node: Supervisor | Member) -> object:
    """A tree as names within names; everything in it must be running."""
    assert node.state == "running", node
    below = node.family if isinstance(node, Member) else node
    return node.name if below is None else (node.name, [shape(child) for child in below.children])
