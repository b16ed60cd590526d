"""Actors as supervisors of actors: whom they can start, reach, stop and look at, and what they are told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from house import House, bare_actor, count, eventually, flooding, is_running
from kin import HANDLERS, Kin, text_of_child
from replays import entries_of

from theater.core.chain import Genesis, HostCall
from theater.core.ids import child_id, is_id
from theater.errors import ActorFailed, StartFailed, UnknownActor

EASY = {"intensity": 1000, "period": 1}


@pytest.fixture
def kin(house: House, name: Callable[[], str]) -> Kin:
    return Kin(house, name)


# ---- spawning


def test_a_child_is_up_when_spawn_returns(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write())
    row = kin.house.row(child)
    assert is_id(child)
    assert (row.state, row.parent, row.supervisor, row.incarnation) == ("running", parent.id, parent.id, 1)
    assert kin.house.count(child) == 1


def test_init_may_spawn(kin: Kin) -> None:
    files = [kin.write(), kin.write()]
    parent = kin.parent(EASY, state=b"S" + "\n".join(files).encode())
    spawned = [note.split()[1] for note in kin.notes(parent.id) if note.startswith("spawned")]
    assert kin.children(parent.id) == spawned
    assert [kin.house.row(child).name + ".toml" for child in spawned] == files


def test_a_parent_whose_init_fails_leaves_no_child(kin: Kin) -> None:
    file = kin.write()
    with pytest.raises(StartFailed, match=r"nothing\.toml"):
        kin.parent(EASY, state=b"S" + f"{file}\nnothing.toml".encode())
    assert file.removesuffix(".toml") not in {row.name for row in kin.house.client.list()}


def test_init_bytes_are_what_init_gets(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn_with(parent.id, kin.write(), b"\x05\0\0\0")
    assert kin.house.count(child) == 6
    assert next(kin.house.client.read_events(child, types=["call"])).data["function"] == "init"


def test_a_resumed_child_goes_on_without_init(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.resume(parent.id, kin.write(), b"\x05\0\0\0")
    assert kin.house.row(child).state == "running"
    assert not list(kin.house.client.read_events(child, types=["call"]))
    kin.kill(child)
    kin.await_life(child, 2)
    assert kin.house.count(child) == 6
    kin.kill(child)
    kin.await_life(child, 3)
    assert kin.house.count(child) == 7
    calls = [event.data["function"] for event in kin.house.client.read_events(child, types=["call"])]
    assert calls == ["handle-request", "handle-request"]


def test_a_state_that_init_would_refuse_can_be_resumed(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.resume(parent.id, kin.write(), b"fail")
    assert kin.house.client.request(child, b"g") == b"fail"


def test_a_manifest_may_be_a_text(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, text_of_child("texted"))
    assert kin.house.row(child).name == "texted"
    assert kin.house.count(child) == 1


def test_a_manifest_may_be_that_of_a_folder(kin: Kin, probe: bytes) -> None:
    folder = kin.house.folder / "inner"
    folder.mkdir(exist_ok=True)
    (folder / "probe.wasm").write_bytes(probe)
    (folder / "manifest.toml").write_text(text_of_child("inner"))
    parent = kin.parent(EASY)
    assert kin.house.row(kin.spawn(parent.id, "inner")).name == "inner"


def test_ids_of_children_follow_from_the_parents_chain(kin: Kin) -> None:
    parent = kin.parent(EASY)
    file = kin.write()
    children = [kin.spawn(parent.id, file) for _ in range(3)]
    assert len(set(children)) == 3
    assert all(child.split("-")[2][0] == "8" for child in children)  # a UUID of version 8


def test_the_genesis_of_a_child_names_the_entry_that_its_id_follows_from(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write())
    genesis = entries_of(kin.house, child)[0].read()
    assert isinstance(genesis, Genesis)
    (spawn,) = (entry for entry in entries_of(kin.house, parent.id) if entry.digest == genesis.parent_head)
    wish = spawn.read()
    assert isinstance(wish, HostCall)
    assert (genesis.parent, wish.function) == (parent.id, "spawn")
    assert child_id(spawn.digest, spawn.seq) == child == genesis.actor


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ("nothing.toml", r"cannot read .*nothing\.toml"),
        ("not = 1\n", "not"),
        ('name = "x"\ncomponent = "gone.wasm"\n', r"no component .*gone\.wasm"),
        ('name = "x"\n[build]\nlanguage = "wat"\nsource = "x.wat"\n', "theater build"),
        (f'name = "x"\ncomponent = "store:{"0" * 64}"\n', "0" * 64),
    ],
)
def test_a_spawn_that_cannot_be_done_says_why(kin: Kin, manifest: str, why: str) -> None:
    parent = kin.parent(EASY)
    with pytest.raises(ActorFailed, match=why):
        kin.spawn(parent.id, manifest)
    assert kin.children(parent.id) == []


@pytest.mark.parametrize(("state", "why"), [(b"fail", "answered with an error: fail"), (b"trap", "unreachable")])
def test_a_child_that_does_not_start_leaves_nothing_but_its_chain(kin: Kin, state: bytes, why: str) -> None:
    parent = kin.parent(EASY)
    with pytest.raises(ActorFailed, match=why):
        kin.spawn_with(parent.id, kin.write(), state)
    assert kin.children(parent.id) == []
    removed = [facts for event, facts in kin.house.history() if event == "removed"][-1]
    assert why.split()[0] in removed["why"]
    assert (kin.house.home / "actors" / removed["actor"] / "chain").exists()
    assert kin.notes(parent.id) == []


def test_a_child_may_not_take_a_name_that_is_taken(kin: Kin) -> None:
    parent = kin.parent(EASY)
    other = kin.house.start(kin.name())
    with pytest.raises(ActorFailed, match=other.id):
        kin.spawn(parent.id, text_of_child(other.name).replace("register = false", "register = true"))
    assert kin.children(parent.id) == []


def test_there_may_be_no_more_children_than_the_manifest_says(kin: Kin) -> None:
    parent = kin.parent({**EASY, "max_children": 2})
    file = kin.write()
    kept = [kin.spawn(parent.id, file) for _ in range(2)]
    with pytest.raises(ActorFailed, match="more than"):
        kin.spawn(parent.id, file)
    assert kin.children(parent.id) == kept


def test_a_significant_child_needs_a_parent_for_whom_that_means_something(kin: Kin) -> None:
    file = kin.write(supervision={"restart": "transient", "significant": True})
    with pytest.raises(ActorFailed, match="auto_shutdown"):
        kin.spawn(kin.parent(EASY).id, file)
    decides_itself = kin.parent().id
    assert kin.house.row(kin.spawn(decides_itself, file)).state == "running"


def test_a_start_deadline_ends_a_spawn(kin: Kin) -> None:
    parent = kin.parent(EASY)
    (kin.house.folder / "slow.wasm").write_bytes(bare_actor(init="(loop $l (br $l)) (i32.const 64)"))
    with pytest.raises(ActorFailed, match="300 ms"):
        kin.spawn(parent.id, kin.write(component="slow.wasm", handlers=(), supervision={"start_timeout": 300}))
    assert kin.children(parent.id) == []


# ---- what may be used


def test_nothing_outside_of_the_parents_folder_is_read(kin: Kin, tmp_path: Path, probe: bytes) -> None:
    (tmp_path / "probe.wasm").write_bytes(probe)
    (tmp_path / "a.toml").write_text(text_of_child("outsider"))
    parent = kin.parent(EASY)
    house = kin.house
    (house.folder / "link.toml").symlink_to(tmp_path / "a.toml")
    (house.folder / "linked").symlink_to(tmp_path)
    up = "../" * len(house.folder.parts)
    for given in (str(tmp_path / "a.toml"), f"{up}{tmp_path}/a.toml", "link.toml", "linked/a.toml", "/etc/passwd"):
        with pytest.raises(ActorFailed, match="is not in"):
            kin.spawn(parent.id, given)


def test_a_manifest_reaches_nothing_outside_either(kin: Kin, tmp_path: Path, probe: bytes) -> None:
    (tmp_path / "probe.wasm").write_bytes(probe)
    parent = kin.parent(EASY)
    (kin.house.folder / "linked.wasm").symlink_to(tmp_path / "probe.wasm")
    for text in (
        text_of_child("x", component=str(tmp_path / "probe.wasm")),
        text_of_child("x", component="linked.wasm"),
        text_of_child("x", more='init_state = "/etc/hostname"'),
    ):
        with pytest.raises(ActorFailed, match="is not in"):
            kin.spawn(parent.id, text)


def test_patterns_name_the_manifests_that_may_be_used(kin: Kin, tmp_path: Path, probe: bytes) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "probe.wasm").write_bytes(probe)
    (outside / "a.toml").write_text(text_of_child("outside"))
    allowed, other = kin.write(), kin.write()
    name = kin.name()
    file = kin.house.folder / f"{name}.toml"
    kin.house.write(name, component="parent.wasm", handlers=("message-server", "monitors"), register=False)
    pattern = f'[[handler]]\ntype = "supervisor"\nmanifests = ["{allowed}", "{tmp_path}/*/*.toml"]\n'
    file.write_text(file.read_text() + pattern)
    parent = kin.house.client.start(file)
    assert kin.house.row(kin.spawn(parent.id, allowed)).state == "running"
    assert kin.house.row(kin.spawn(parent.id, str(outside / "a.toml"))).name == "outside"
    for refused in (other, "/etc/passwd", f"x/../{other}"):
        with pytest.raises(ActorFailed, match="fits none"):
            kin.spawn(parent.id, refused)
    with pytest.raises(ActorFailed, match="names files"):
        kin.spawn(parent.id, text_of_child("x"))


@pytest.mark.parametrize("given", ["", "a\0b", "x" * 5000, "loop", "pipe", "x/" * 2000, "init of pipe"])
def test_a_manifest_that_nothing_can_be_harms_nobody_but_the_spawn(kin: Kin, given: str) -> None:
    folder = kin.house.folder
    if given == "loop":
        (folder / "loop").symlink_to("loop")
    elif given == "pipe":
        os.mkfifo(folder / "pipe")
    elif given == "init of pipe":
        os.mkfifo(folder / "other")
        given = text_of_child("x", more='init_state = "other"')
    parent = kin.parent(EASY)
    with pytest.raises(ActorFailed, match=r"cannot|no file"):
        kin.spawn(parent.id, given)
    assert kin.house.client.hello().pid == kin.house.pid


@pytest.mark.parametrize("form", ["text", "file"])
def test_a_child_has_nothing_that_its_parent_lacks(kin: Kin, form: str) -> None:
    """Whoever wrote its manifest."""
    wide = '[[handler]]\ntype = "environment"\nvariables = ["HOME"]\n'

    def given(**facts: Any) -> str:
        return text_of_child("x", **facts) if form == "text" else kin.write(**facts)

    narrow = kin.parent(EASY)
    for facts, refused in [
        ({"handlers": ("message-server", "store")}, "may not have the handler store: its parent .* add it"),
        ({"more": wide}, "may not have the handler environment"),
    ]:
        with pytest.raises(ActorFailed, match=refused):
            kin.spawn(narrow.id, given(**facts))
    other = kin.parent(EASY, more=wide.replace("HOME", "PATH"))
    with pytest.raises(ActorFailed, match="with its handler environment see the variables HOME"):
        kin.spawn(other.id, given(more=wide))


def test_a_parent_passes_on_what_it_grants(kin: Kin) -> None:
    grants = '[[grant]]\ntype = "timing"\n[[grant]]\ntype = "environment"\nvariables = ["HO*"]\n'
    parent = kin.parent(EASY, more=grants)
    wide = '[[handler]]\ntype = "environment"\nvariables = ["HOME"]\n'
    child = kin.spawn(parent.id, kin.write(handlers=("message-server", "timing"), more=wide))
    assert kin.house.row(child).state == "running"
    with pytest.raises(ActorFailed, match="may not have the handler random"):
        kin.spawn(parent.id, text_of_child("x", handlers=("random",)))


def test_a_child_names_no_secret_that_its_parent_lacks(kin: Kin) -> None:
    path = kin.house.folder / "its.secret"
    path.touch(0o600)
    path.write_bytes(b"of the parent")
    row = 'a = { file = "its.secret" }'
    parent = kin.parent(EASY, more=f"[secrets]\n{row}\n")
    for other in (
        'a = { env = "HOME" }',
        'a = { file = "/etc/passwd" }',
        'b = { file = "its.secret" }',
        f'{row}\nb = {{ env = "PATH" }}',
    ):
        with pytest.raises(ActorFailed, match="cannot name the secret"):
            kin.spawn(parent.id, text_of_child("x", more=f"[secrets]\n{other}\n"))
        with pytest.raises(ActorFailed, match="cannot name the secret"):
            kin.spawn(parent.id, kin.write(more=f"[secrets]\n{other}\n"))
    folder = kin.house.folder / f"{kin.name()}.d"
    folder.mkdir()
    (folder / "manifest.toml").write_text(text_of_child("x", component="../probe.wasm", more=f"[secrets]\n{row}\n"))
    with pytest.raises(ActorFailed, match="cannot name the secret"):
        kin.spawn(parent.id, folder.name)  # The file beside that manifest is another one.
    child = kin.spawn(parent.id, text_of_child("x", more='[secrets]\na = { file = "./its.secret" }\n'))
    assert (kin.house.home / "secrets" / child / "a.1").read_bytes()[32:] == b"of the parent"


# ---- reaching


def test_an_actor_reaches_its_descendants_and_nobody_else(kin: Kin) -> None:
    parent, stranger = kin.parent(EASY), kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write(EASY))
    grandchild = kin.spawn(child, kin.write())
    other = kin.spawn(stranger.id, kin.write())
    for of_others in (parent.id, stranger.id, other, "nobody"):
        for order in b"TBGE":
            with pytest.raises(ActorFailed, match="has no child"):
                kin.ask(parent.id, bytes((order,)) + of_others.encode())
    with pytest.raises(ActorFailed, match="has no child"):
        kin.stop(child, parent.id)
    assert kin.children(parent.id) == [child]
    assert kin.children(child) == [grandchild]
    kin.stop(parent.id, grandchild)
    assert kin.house.row(grandchild).state == "stopped"
    kin.await_heard(child, grandchild, "stopped")
    assert [kin.house.row(actor).state for actor in (parent.id, child, stranger.id, other)] == ["running"] * 4


def test_a_stopped_child_stays_known_and_can_be_restarted(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write())
    kin.house.count(child)
    pid = kin.pid(child)
    kin.stop(parent.id, child)
    assert not is_running(pid)
    assert kin.children(parent.id) == [child]
    kin.restart(parent.id, child)
    assert kin.house.count(child) == 2
    kin.restart(parent.id, child)
    assert kin.house.count(child) == 3
    assert kin.house.row(child).incarnation == 3
    assert kin.heard(parent.id, child) == []


def test_the_state_of_a_child_can_be_read_dead_or_alive(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write())
    assert kin.ask(parent.id, b"G" + child.encode()) == b"\0"
    kin.house.count(child)
    assert count(kin.ask(parent.id, b"G" + child.encode())[1:]) == 1
    kin.stop(parent.id, child)
    assert count(kin.ask(parent.id, b"G" + child.encode())[1:]) == 1


def test_the_events_of_a_child_are_its_chain(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write())
    types = kin.ask(parent.id, b"E" + child.encode()).decode().split()
    assert types == ["genesis", "call", "outcome"]
    for _ in range(600):
        kin.house.client.send(child, b"e")
    kin.house.client.request(child, b"e")
    assert len(kin.ask(parent.id, b"E" + child.encode()).decode().split()) == 1000


def test_a_child_that_was_removed_is_unknown_to_its_parent(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write())
    kin.house.client.stop(child, remove=True)
    assert kin.children(parent.id) == []
    with pytest.raises(ActorFailed, match="has no child"):
        kin.restart(parent.id, child)


def test_a_parent_is_shown_with_its_children(kin: Kin) -> None:
    parent = kin.parent(EASY)
    children = [kin.spawn(parent.id, kin.write()) for _ in range(2)]
    assert kin.house.client.inspect(parent.id).facts["children"] == children


# ---- hearing


def test_a_parent_hears_why_a_child_failed_and_that_it_comes_back(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write())
    kin.kill(child)
    kin.await_life(child, 2)
    kin.await_heard(parent.id, child, "error")
    kind, reason = next(note for note in kin.notes(parent.id) if note.startswith("child-error")).split(" ", 3)[2:]
    assert kind == "internal"
    assert (json.loads(reason)["reason"], json.loads(reason)["signal"]) == ("signal", 9)


def test_a_parent_hears_what_a_child_said_at_its_end(kin: Kin) -> None:
    parent = kin.parent(EASY)
    file = kin.write(supervision={"restart": "transient"})
    child = kin.spawn(parent.id, file)
    kin.house.client.request(child, b"qdone")
    kin.await_heard(parent.id, child, "exit")
    assert f"child-exit {child} done" in kin.notes(parent.id)


def test_last_words_are_told_byte_for_byte_however_long(kin: Kin) -> None:
    parent = kin.parent(EASY)
    said = bytes(byte for byte in range(256) if byte not in b"\n\r") * 400
    child = kin.spawn(parent.id, kin.write(supervision={"restart": "temporary"}))
    kin.house.client.request(child, b"q" + said)
    eventually(lambda: said in kin.ask(parent.id, b"g"))


def test_a_stop_by_somebody_else_is_told(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write())
    kin.house.client.stop(child)
    kin.await_heard(parent.id, child, "stopped")
    kin.house.client.restart(child)
    assert kin.house.count(child) == 1
    kin.house.client.restart(child)
    kin.await_heard(parent.id, child, "stopped", "stopped")


def test_what_a_child_has_sent_is_heard_before_its_end(kin: Kin) -> None:
    """Worker to worker, and from the supervisor: two ways, one order (OTP 1.13, 8)."""
    name = kin.name()
    file = kin.write(parent=True, supervision={"restart": "temporary"})
    kin.house.write(name, component="parent.wasm", handlers=HANDLERS)
    parent = kin.house.client.start(kin.house.folder / f"{name}.toml").id
    for _ in range(5):
        child = kin.spawn(parent, file)
        kin.ask(parent, b"w")
        kin.house.client.send(child, flooding(name, 200, b"nm"))
        kin.house.client.send(child, b"u")
        notes = eventually(lambda: _until(b"child-error ", kin.ask(parent, b"g")))
        assert notes.count(b"note m") == 200


def _until(news: bytes, notes: bytes) -> bytes | None:
    return notes.partition(news)[0] if news in notes else None


def test_the_name_of_a_child_is_free_when_its_parent_hears_of_its_end(kin: Kin) -> None:
    parent = kin.parent(EASY)
    file = kin.write(register=True, supervision={"restart": "temporary"})
    for _ in range(20):
        child = kin.spawn(parent.id, file)
        kin.house.client.request(child, b"q")
        kin.await_heard(parent.id, child, "exit")


# ---- deciding oneself


def test_without_strategy_a_child_is_started_again_by_its_parent_alone(kin: Kin) -> None:
    parent = kin.parent()
    child = kin.spawn(parent.id, kin.write())
    kin.house.count(child)
    kin.kill(child)
    kin.await_heard(parent.id, child, "error")
    assert kin.house.row(child).state == "stopped"
    assert kin.children(parent.id) == [child]
    kin.restart(parent.id, child)
    assert kin.house.count(child) == 2


def test_a_parent_may_restart_a_child_from_its_callback(kin: Kin) -> None:
    parent = kin.parent()
    child = kin.spawn(parent.id, kin.write())
    kin.ask(parent.id, b"A")
    for life in range(2, 5):
        kin.kill(child)
        kin.await_life(child, life)


def test_of_many_children_that_ended_the_newest_hundred_are_known(kin: Kin) -> None:
    parent = kin.parent()
    file = kin.write()
    children = []
    for _ in range(103):
        child = kin.spawn(parent.id, file)
        kin.house.client.request(child, b"q")
        children.append(child)
    eventually(lambda: kin.children(parent.id) == children[3:])
    with pytest.raises(UnknownActor):
        kin.house.row(children[0])
    assert (kin.house.home / "actors" / children[0] / "chain").exists()
