"""Files and stores of real actors: each function called, recorded, replayed; what a kill and a full disk leave."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import disks
import pytest
from house import House, eventually
from replays import reproduced

from theater.client import Row
from theater.core.chain import HostCall, HostResult
from theater.core.handlers import FILES, FILESYSTEM, STORE
from theater.core.values import Err
from theater.errors import ActorFailed, StartFailed
from theater.wasm.wit import known_interfaces

Name = Callable[[], str]

SOURCE = """
import theater
from theater import files


class Evaluator(theater.Actor):
    initial = {}

    def handle_request(self, message):
        found = eval(message)
        return found if not isinstance(found, bytes) else found.decode()

    def handle_send(self, message):
        exec(message, globals())
"""


def evaluator(house: House, name: str, permissions: str, kind: str = "filesystem", more: str = "") -> tuple[Row, Path]:
    """Starts an actor that evaluates what it is sent; returns it and the folder of its manifest."""
    folder = house.folder / name
    folder.mkdir()
    (folder / "actor.py").write_text(SOURCE)
    (folder / "manifest.toml").write_text(
        f'name = "{name}"\n[build]\nlanguage = "python"\nsource = "actor.py"\n'
        f'[[handler]]\ntype = "message-server"\n[[handler]]\ntype = "{kind}"\n{permissions}\n'
        f"[actor]\nregister = true\n[supervision]\nintensity = 100000\nperiod = 1\n{more}"
    )
    return house.client.start(folder / "manifest.toml"), folder


def tell(house: House, actor: str, expression: str) -> Any:
    return json.loads(house.client.request(actor, json.dumps(expression).encode()) or b"null")


def refused(house: House, actor: str, expression: str) -> str:
    with pytest.raises(ActorFailed) as failed:
        tell(house, actor, expression)
    return failed.value.message


def called(payloads: list[Any], interface: str) -> set[str]:
    return {found.function for found in payloads if isinstance(found, HostCall) and found.interface == interface}


# ---- files


def test_every_function_for_files_is_called_recorded_and_replayed_without_a_file(house: House, name: Name) -> None:
    row, folder = evaluator(house, name(), 'read = ["in", "out"]\nwrite = ["in", "out"]')
    (folder / "in" / "a.txt").write_bytes(b"alpha")
    expected = {
        "files.read('in/a.txt')": "alpha",
        "files.names('in')": ["a.txt"],
        "files.exists('in/none')": False,
        "files.write('out/t', 'text \u00e4')": None,
        "files.read_text('out/t')": "text ä",
        "files.write('out/b', bytes(300))": None,
        "files.append('out/b', b'end')": None,
        "files.read_part('out/b', 298, 100)": "\0\0end",
        "files.info('out/b').size": 303,
        "files.info('out/none')": None,
        "files.make_folder('out/x/y')": None,
        "files.rename('out/t', 'out/x/y/t')": None,
        "files.exists('out/x/y/t')": True,
        "files.delete('out/b')": None,
        "files.delete_folder('out/x')": None,
        "files.names('out')": [],
    }
    assert {each: tell(house, row.id, each) for each in expected} == expected
    assert "no such file" in refused(house, row.id, "files.read('in/none')")
    assert "does not let" in refused(house, row.id, "files.read('manifest.toml')")
    shutil.rmtree(folder)
    payloads = reproduced(house, row.id)
    simple = set(known_interfaces()[FILESYSTEM].functions) - {"execute-command", "execute-nix-command"}
    assert called(payloads, FILESYSTEM) == simple
    assert called(payloads, FILES) == set(known_interfaces()[FILES].functions)
    answers = [found.value for found in payloads if isinstance(found, HostResult)]
    assert sum(isinstance(answer, Err) for answer in answers) == 2


def test_a_manifest_may_be_named_by_a_crooked_path(house: House, name: Name) -> None:
    row, folder = evaluator(house, name(), 'write = ["out"]\nread = ["out"]\ncommands = ["pwd"]')
    house.client.stop(row.id)
    link = folder.parent / f"{folder.name}-link"
    link.symlink_to(folder)
    row = house.client.start(link / ".." / folder.name / "manifest.toml")
    tell(house, row.id, "files.write('out/a', 'crooked')")
    assert tell(house, row.id, "files.run('pwd', folder='out').stdout") == f"{os.path.realpath(folder)}/out\n"
    house.client.stop(row.id)
    row = house.client.start(link / "manifest.toml")
    assert tell(house, row.id, "files.read('out/a')") == "crooked"


def test_files_alone_need_no_launcher(own_house: House, name: Name) -> None:
    row, _ = evaluator(own_house, name(), 'write = ["out"]')
    tell(own_house, row.id, "files.write('out/a', '')")
    assert own_house.services() == {}
    evaluator(own_house, name(), 'write = ["out"]\ncommands = ["true"]')
    assert own_house.service("launcher")


def test_commands_need_a_grant(house: House, name: Name) -> None:
    row, _ = evaluator(house, name(), 'write = ["out"]\ncommands = ["git"]')
    assert 'run "rm"; allowed: "git"' in refused(house, row.id, "files.run('rm', '-r', folder='out')")
    assert "Nix" in refused(house, row.id, "files.run_nix('true', folder='out')")
    assert "does not let" in refused(house, row.id, "files.run('git', folder='.')")


def test_an_actor_whose_folder_is_not_there_does_not_start_and_says_which(house: House, name: Name) -> None:
    with pytest.raises(StartFailed, match='the folder "gone" that the manifest grants'):
        evaluator(house, name(), 'read = ["gone"]')


def test_an_actor_without_the_handler_is_told_what_its_manifest_lacks(house: House, name: Name) -> None:
    row, _ = evaluator(house, name(), "", kind="timing")
    assert 'add [[handler]] type = "filesystem"' in refused(house, row.id, "files.read('a')")
    assert 'add [[handler]] type = "filesystem"' in refused(house, row.id, "files.append('a', '')")


def test_nobody_reads_out_of_a_folder_that_becomes_a_link_all_the_time(house: House, name: Name) -> None:
    row, folder = evaluator(house, name(), 'read = ["in"]\nwrite = ["in"]\nmax_file = 100')
    inside, outside, link = folder / "in" / "d", folder / "outside", folder / "link"
    for where, text in ((inside, b"inside"), (outside, b"outside")):
        where.mkdir()
        (where / "f").write_bytes(text)
    link.symlink_to(outside)
    libc, over = ctypes.CDLL(None), threading.Event()

    def swap() -> None:
        while not over.is_set():
            libc.renameat2(-100, bytes(inside), -100, bytes(link), 2)  # RENAME_EXCHANGE

    look = "(lambda t: [t(lambda: files.read('in/d/f').decode()) for _ in range(1000)])(attempt)"
    house.client.send(row.id, json.dumps(_ATTEMPT).encode())
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        told = {each for _ in range(3) for each in tell(house, row.id, look)}
        for _ in range(300):
            with contextlib.suppress(ActorFailed):
                tell(house, row.id, "files.write('in/d/f', 'inside')")
    finally:
        over.set()
        thread.join()
    assert "outside" not in told
    assert told >= {"inside", "refused"}
    assert (outside / "f").read_bytes() == b"outside"
    assert os.listdir(outside) == ["f"]


_ATTEMPT = """
def attempt(do):
    try:
        return do()
    except theater.CallFailed:
        return "refused"
"""


def test_a_kill_in_the_middle_of_writing_leaves_the_old_file_or_the_new(house: House, name: Name) -> None:
    row, folder = evaluator(house, name(), 'read = ["out"]\nwrite = ["out"]')
    tell(house, row.id, "files.write('out/f', bytes([0]) * 4000000)")
    endless = "n = 0\nwhile True:\n    n = (n + 1) % 250\n    files.write('out/f', bytes([n]) * 4000000)"
    drafts = 0
    for _ in range(12):
        house.client.send(row.id, json.dumps(endless).encode())
        eventually(lambda: any(each.startswith(".theater-draft.") for each in os.listdir(folder / "out")), "it writes")
        house.kill_worker(row.id)
        content = (folder / "out" / "f").read_bytes()
        assert len(content) == 4000000
        assert len(set(content)) == 1
        drafts += len(os.listdir(folder / "out")) > 1
        assert tell(house, row.id, "files.names('out')") == ["f"]
    assert drafts
    tell(house, row.id, "files.write('out/g', '')")
    assert sorted(os.listdir(folder / "out")) == ["f", "g"]


@pytest.mark.parametrize("durability", ["process", "host"])
def test_a_full_disk_is_an_err_and_the_old_file_stays(house: House, name: Name, durability: str) -> None:
    folder = house.folder / f"disk-{durability}"
    folder.mkdir()
    disks.mount(folder, 1 << 20)
    try:
        path = str(folder)
        row, _ = evaluator(
            house,
            name(),
            f'read = ["{path}"]\nwrite = ["{path}"]',
            more=f'[chain]\ndurability = "{durability}"\n',
        )
        tell(house, row.id, f"files.write('{path}/f', 'old')")
        tell(house, row.id, f"files.write('{path}/big', bytes(900000))")
        for change in (
            "write('{}/f', bytes(500000))",
            "append('{}/f', bytes(500000))",
            "write('{}/new', bytes(500000))",
        ):
            assert "the disk is full; nothing was changed" in refused(house, row.id, f"files.{change.format(path)}")
        assert tell(house, row.id, f"files.read('{path}/f')") == "old"
        assert tell(house, row.id, f"files.names('{path}')") == ["big", "f"]
        assert sorted(os.listdir(folder)) == ["big", "f"]
        tell(house, row.id, f"files.delete('{path}/big')")
        tell(house, row.id, f"files.write('{path}/f', bytes(500000))")
        house.client.stop(row.id)
    finally:
        disks.unmount(folder)


def test_a_quota_counts_over_lives(house: House, name: Name) -> None:
    row, _ = evaluator(house, name(), 'write = ["out"]\nquota = 1000')
    tell(house, row.id, "files.write('out/a', bytes(900))")
    assert "900 of quota = 1000 are in use" in refused(house, row.id, "files.write('out/b', bytes(101))")
    house.kill_worker(row.id)
    assert "900 of quota = 1000 are in use" in refused(house, row.id, "files.append('out/a', bytes(101))")
    tell(house, row.id, "files.write('out/b', bytes(100))")


# ---- stores


def test_every_function_of_stores_is_called_recorded_and_replayed_without_a_store(own_house: House, name: Name) -> None:
    house = own_house
    row, _ = evaluator(house, name(), "", kind="store")
    house.client.send(row.id, json.dumps("s = theater.Store()\nd = s.put(b'one')").encode())
    expected = {
        "s.get(d)": "one",
        "s.exists(d)": True,
        "s.exists('0' * 64)": False,
        "s.label('l', d)": None,
        "s.find('l') == d": True,
        "s.find('none')": None,
        "s.get(s.put_at('l', b'two'))": "two",
        "s.unlabel('l', s.find('l'))": None,
        "s.get(s.find('l'))": "one",
        "s.get(s.replace_at('m', b'three'))": "three",
        "s.point('m', d)": None,
        "s.labels()": ["l", "m"],
        "s.unlabel('l')": None,
        "len(s.contents())": 3,
        "s.size()": 11,
    }
    assert {each: tell(house, row.id, each) for each in expected} == expected
    assert "has no content" in refused(house, row.id, "s.get('0' * 64)")
    assert "not one that this actor may read" in refused(house, row.id, "theater.Store('other').labels()")
    shutil.rmtree(house.home / "labels")
    payloads = reproduced(house, row.id)
    assert called(payloads, STORE) == set(known_interfaces()[STORE].functions)


def test_a_killed_actor_has_its_stores_again_and_another_one_has_not(house: House, name: Name) -> None:
    row, _ = evaluator(house, name(), "", kind="store")
    store = tell(house, row.id, "theater.Store().id")
    tell(house, row.id, f"theater.Store('{store}').put_at('l', b'kept')")
    house.kill_worker(row.id)
    assert tell(house, row.id, f"(lambda s: s.get(s.find('l')))(theater.Store('{store}'))") == "kept"
    other, _ = evaluator(house, name(), "", kind="store")
    assert "may read" in refused(house, other.id, f"theater.Store('{store}').labels()")
    granted, _ = evaluator(house, name(), f'read = ["{store}"]', kind="store")
    assert tell(house, granted.id, f"theater.Store('{store}').labels()") == ["l"]


def test_actors_share_the_store_that_their_manifests_name(house: House, name: Name) -> None:
    one, _ = evaluator(house, name(), 'read = ["board"]\nwrite = ["board"]', kind="store")
    two, _ = evaluator(house, name(), 'read = ["board"]', kind="store")
    tell(house, one.id, "theater.Store('board').replace_at('today', b'sun')")
    assert tell(house, two.id, "(lambda s: s.get(s.find('today')))(theater.Store('board'))") == "sun"
    assert "may write" in refused(house, two.id, "theater.Store('board').put(b'x')")
    assert "there is no room" not in refused(house, two.id, "theater.Store('else').put(b'x')")


def test_a_full_quota_of_a_store_is_an_err(house: House, name: Name) -> None:
    row, _ = evaluator(house, name(), "quota = 10", kind="store")
    store = tell(house, row.id, "theater.Store().id")
    tell(house, row.id, f"theater.Store('{store}').put(bytes(10))")
    assert "there is no room for 1 bytes" in refused(house, row.id, f"theater.Store('{store}').put(b'x')")


def test_a_collection_takes_nothing_that_a_store_has(own_house: House, name: Name) -> None:
    house = own_house
    row, _ = evaluator(house, name(), 'read = ["board"]\nwrite = ["board"]', kind="store")
    large = "bytes(9000) + b'x'"
    digest = tell(house, row.id, f"theater.Store('board').put({large})")
    house.client.stop_server()
    house.await_end()
    command = [sys.executable, "-m", "theater_cli", "--home", str(house.home), "store", "gc", "--grace", "0s", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    house.open()
    assert tell(house, row.id, f"len(theater.Store('board').get('{digest}'))") == 9001
