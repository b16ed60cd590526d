"""Chains are made smaller beside a server that runs, and by it, and nobody notices but the disk."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from house import RESTLESS, House, eventually, flooding

from theater.chainlog import verify_home
from theater.chainlog.chain_file import ChainFile
from theater.chainlog.keys import open_signer, public_key
from theater.chainlog.writer import ChainWriter
from theater.config import Home, cache
from theater.core.chain import (
    INCARNATION,
    SNAPSHOT,
    Call,
    Checkpoint,
    Genesis,
    Kind,
    Lifecycle,
    Mark,
    outcome_ok,
    state_digest,
)
from theater.core.codec import Form, Ref, pack
from theater.core.manifest import parse
from theater.errors import ActorFailed, ChainBroken
from theater.log import logger
from theater.replay.home import replay_home
from theater.server import caretaker
from theater.server.caretaker import Caretaker
from theater.server.cast import Actor, Cast, State
from theater.server.ledger import Ledger
from theater.server.loop import Loop
from theater.server.processes import Processes
from theater.server.upkeep import Upkeep
from theater.store.content import ContentStore

ONE = "10000000-0000-4000-8000-000000000001"
MANIFEST = """
name = "counter"
component = "counter.wasm"
[chain]
retention = { entries = 100 }
"""


# ---- beside a server


def test_a_chain_is_compressed_beside_its_server_and_its_worker(own_house: House) -> None:
    house = own_house
    home = Home(house.home)
    row = house.start("one", supervision=RESTLESS)
    house.start("two")
    while home.chain(row.id).stat().st_size < 6 << 20:
        with contextlib.suppress(ActorFailed):  # the other's mailbox is full now and then
            house.client.request("one", flooding("two", 200, b"x" * 3000))
    before = house.count("one")
    (done,) = Upkeep(home, time.time_ns()).tend([row.id])
    assert done.error is None
    assert done.done.compressed > 1 << 20
    assert house.count("one") == before + 1
    house.kill_worker("one")
    assert house.count("one") == before + 2
    assert house.client.events("one", since=0, limit=5)
    assert house.client.events("one", since=2000, limit=5)
    with ChainFile.open(home.chain(row.id)) as file:
        assert file.segments
    assert verify_home(home, ContentStore(home.content), key=public_key(home)).ok


def test_an_actor_comes_back_whose_last_state_is_in_a_compressed_range(own_house: House) -> None:
    """Its worker reads it behind its walls, where no code can be loaded any more."""
    house = own_house
    home = Home(house.home)
    row = house.start("one", supervision=RESTLESS)
    house.start("two")
    before = house.count("one")
    end = home.chain(row.id).stat().st_size
    while home.chain(row.id).stat().st_size < end + (6 << 20):
        with contextlib.suppress(ActorFailed):
            house.client.request("one", flooding("two", 200, b"x" * 3000))
    (done,) = Upkeep(home, time.time_ns()).tend([row.id])
    assert done.error is None
    with ChainFile.open(home.chain(row.id)) as file:
        (first, *_) = file.segments
        segment = file.segment(first)
        assert segment is not None
        assert segment.covers(end - 1)
    house.kill_worker("one")
    assert house.count("one") == before + 1
    house.send_signal(signal.SIGKILL)
    house.await_end()
    house.open()
    assert house.count("one") == before + 2


RETENTION = """
[chain]
retention = { entries = 100 }
snapshot = { entries = 20 }
"""


@pytest.mark.parametrize("policy", ["last", "replay"])
def test_an_actor_goes_on_and_replays_after_what_was_before_was_dropped(own_house: House, policy: str) -> None:
    house = own_house
    home = Home(house.home)
    manifest = house.write("one", supervision={**RESTLESS, "state": policy})
    manifest.write_text(manifest.read_text() + RETENTION)
    row = house.client.start(manifest)
    for _ in range(150):
        house.count("one")
    house.kill_worker("one")
    for _ in range(20):
        before = house.count("one")
    upkeep = Upkeep(home, time.time_ns())
    (done,) = upkeep.tend([row.id])
    assert done.error is None
    assert done.done.dropped_entries > 100
    assert upkeep.collect(0.0).count > 0
    assert house.count("one") == before + 1
    house.kill_worker("one")
    assert house.count("one") == before + 2
    _require_proved(home, row.id)
    house.send_signal(signal.SIGTERM)
    house.await_end()
    house.open()
    assert house.count("one") == before + 3
    _require_proved(home, row.id)


def _require_proved(home: Home, actor: str) -> None:
    """The chain verifies, says what was dropped, and can be performed again from there."""
    (verdict,) = verify_home(home, ContentStore(home.content), [actor], key=public_key(home)).actors
    assert verdict.ok, verdict
    assert verdict.dropped is not None
    (replayed,) = replay_home(home, cache() / "artefacts", [actor])
    assert replayed.ok, replayed
    assert replayed.entries >= verdict.entries


# ---- by the server


def write(home: Home, calls: int) -> Mark:
    """An actor that has handled calls, with a snapshot in the midst of them."""
    store = ContentStore(home.content)
    home.actor(ONE).mkdir(parents=True, exist_ok=True)
    with ChainWriter.open(home.chain(ONE), put=store.put, get=store.get) as writer:
        writer.append(Kind.GENESIS, Genesis(ONE, "counter", None, None, None, {}))
        for number in range(calls):
            writer.append(Kind.CALL, Call("i", "f", (f"words {number}",)))
            writer.append(Kind.OUTCOME, outcome_ok(None, b"state", state_digest(b"state") if number else None))
            if number == calls // 4:
                image = pack({"pages": []})
                memory = Ref(bytes.fromhex(store.put(image)), len(image), Form.VALUE)
                said = {"state": [b"state"], "committed": True, "life": {INCARNATION: 1}}
                writer.append(Kind.LIFECYCLE, Lifecycle(SNAPSHOT, {**said, "root": bytes(32), "memory": memory}))
        return writer.mark


class Watched:
    """A loop with a caretaker, as a server has them, and an actor."""

    def __init__(self, root: Path, calls: int) -> None:
        self.home = Home(root / "h").create()
        signer = open_signer(self.home)
        self.ledger = Ledger(self.home, logger(), "0", signer)
        self.cast = Cast(self.home)
        self.actor = Actor(ONE, 1, parse(MANIFEST, "manifest.toml"), "", "0" * 64, None, None, bytes(32))
        self.actor.state = State.STOPPED
        self.cast.add(self.actor)
        self.actor.head = write(self.home, calls)
        self.ledger.checkpoint([self.actor])
        self.loop = Loop()
        self.processes = Processes(self.loop)
        self.caretaker = Caretaker(self.home, self.loop, self.processes, self.cast, self.ledger, logger())

    def until_idle(self) -> None:
        def turn() -> bool:
            self.loop.turn()
            return not self.caretaker.is_at_work

        eventually(turn)

    @property
    def dropped(self) -> int:
        with ChainFile.open(self.home.chain(ONE)) as file:
            return file.dropped.entries if file.dropped is not None else 0


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[[int], Watched]]:
    """Makes homes with an actor that has handled so many calls."""
    before = signal.getsignal(signal.SIGCHLD)
    with contextlib.ExitStack() as stack:

        def make(calls: int) -> Watched:
            watched = Watched(tmp_path, calls)
            stack.callback(watched.loop.close)
            return watched

        yield make
    signal.signal(signal.SIGCHLD, before)


def test_a_server_drops_what_is_beyond_the_retention_by_a_process_of_its_own(watch: Callable[[int], Watched]) -> None:
    watched = watch(100)
    watched.caretaker.look()
    assert watched.caretaker.is_at_work
    watched.until_idle()
    assert watched.dropped == 52
    watched.caretaker.look()
    assert not watched.caretaker.is_at_work  # nothing has grown since
    assert verify_home(watched.home, ContentStore(watched.home.content), key=public_key(watched.home)).ok


def test_a_chain_within_its_retention_is_not_looked_at(watch: Callable[[int], Watched]) -> None:
    watched = watch(30)
    watched.caretaker.look()
    assert not watched.caretaker.is_at_work


def test_a_chain_that_has_grown_is_compressed(watch: Callable[[int], Watched], monkeypatch: pytest.MonkeyPatch) -> None:
    watched = watch(30)
    monkeypatch.setattr(caretaker, "COMPRESSED_AT", 1)
    watched.caretaker.look()
    assert watched.caretaker.is_at_work
    watched.until_idle()


def test_the_process_ends_with_the_server(watch: Callable[[int], Watched]) -> None:
    watched = watch(100)
    watched.caretaker.look()
    watched.caretaker.close()
    watched.until_idle()
    assert not watched.processes.alive
    watched.caretaker.look()
    assert not watched.caretaker.is_at_work
    assert verify_home(watched.home, ContentStore(watched.home.content), key=public_key(watched.home)).ok


def test_the_process_does_nothing_without_the_server_that_wants_it(watch: Callable[[int], Watched]) -> None:
    watched = watch(100)
    order = {"home": str(watched.home.root), "parent": os.getpid() + 1, "actors": [ONE]}
    command = [sys.executable, "-m", "theater.server.upkeep"]
    done = subprocess.run(command, input=json.dumps(order) + "\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, watched.dropped) == (1, "", 0)


def test_nothing_is_signed_while_the_servers_chain_does_not_verify(watch: Callable[[int], Watched]) -> None:
    watched = watch(100)
    watched.ledger.close()
    path = watched.home.supervisor_chain
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(ChainBroken, match="nothing was compressed or dropped"):
        Upkeep(watched.home, time.time_ns())


def test_a_chain_that_is_not_what_the_server_saw_is_not_signed_for(watch: Callable[[int], Watched]) -> None:
    watched = watch(100)
    watched.ledger.close()
    with ChainWriter.open(watched.home.supervisor_chain) as writer:
        writer.append(Kind.CHECKPOINT, Checkpoint({ONE: [30, bytes(32), 3000]}))
    (done, own) = Upkeep(watched.home, time.time_ns()).tend()
    assert own.error is None
    assert done.error is not None
    assert "entry 29" in done.error.message
    assert watched.dropped == 0
