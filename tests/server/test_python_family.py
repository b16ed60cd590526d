"""Actors in Python with children, monitors and links: the guest library against a real server."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

from house import House, eventually

from theater.build import build
from theater.core.manifest import parse

PARENT = """
    import theater

    class Parent(theater.Actor):
        initial = {"heard": []}

        def init(self):
            self.state["child"] = theater.spawn("child.toml", {"count": 40})

        def handle_child_error(self, child, error):
            theater.restart_child(child)
            self.state["heard"].append(["failed", child, error.kind])

        def handle_child_exit(self, child, data):
            self.state["heard"].append(["ended", child, data and data.decode()])

        def handle_child_stopped(self, child):
            self.state["heard"].append(["stopped", child])

        def handle_down(self, monitor, actor, reason):
            self.state["heard"].append(["down", actor, reason.kind, reason.is_normal])

        def handle_send(self, message):
            self.state["heard"].append(["told", message])

        def handle_request(self, message):
            if message == "watch":
                theater.monitor(self.state["child"])
            elif message == "look":
                child = self.state["child"]
                events = [event.type for event in theater.child_events(child)]
                return {"children": theater.children(), "state": theater.child_state(child), "first": events[0]}
            return self.state
"""
CHILD = """
    import theater

    class Child(theater.Actor):
        def init(self):
            self.state["count"] += 1

        def handle_send(self, message):
            theater.send("parent", "so long")
            if message == "crash":
                raise ValueError("as told")
            theater.shutdown(b"bye")

        def handle_request(self, message):
            self.state["count"] += 1
            return self.state["count"]
"""


def write(folder: Path, name: str, source: str, *handlers: str) -> Path:
    """Writes and builds an actor; returns its manifest."""
    (folder / f"{name}.py").write_text(dedent(source))
    rows = "".join(f'[[handler]]\ntype = "{handler}"\n' for handler in handlers)
    text = f'name = "{name}"\n[build]\nlanguage = "python"\nsource = "{name}.py"\n{rows}[actor]\nregister = true\n'
    path = folder / f"{name}.toml"
    path.write_text(text)
    build(folder, parse(text, str(path)))
    return path


def ask(house: House, actor: str, message: object) -> Any:
    return json.loads(house.client.request(actor, json.dumps(message).encode()))


def test_a_parent_in_python_starts_hears_of_and_restarts_its_child(own_house: House) -> None:
    house = own_house
    write(house.folder, "child", CHILD, "message-server")
    parent = house.client.start(write(house.folder, "parent", PARENT, "message-server", "supervisor", "monitors"))
    child = ask(house, "parent", None)["child"]
    assert ask(house, "parent", "look") == {"children": [child], "state": {"count": 41}, "first": "genesis"}
    assert house.row(child).parent == parent.id
    assert ask(house, child, None) == 42

    ask(house, "parent", "watch")
    house.client.send("child", b'"crash"')
    eventually(lambda: len(ask(house, "parent", None)["heard"]) == 3)
    told, *news = ask(house, "parent", None)["heard"]
    assert told == ["told", "so long"]  # the last message comes before the news
    assert sorted(news) == [["down", child, "trap", False], ["failed", child, "trap"]]
    assert ask(house, child, None) == 43  # it went on from its last state

    house.client.send("child", b'"leave"')
    eventually(lambda: len(ask(house, "parent", None)["heard"]) == 5)
    assert ask(house, "parent", None)["heard"][3:] == [["told", "so long"], ["ended", child, "bye"]]
    house.verify()
