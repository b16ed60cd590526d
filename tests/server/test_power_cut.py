"""A power cut: what was acknowledged under `durability = "host"` is there, and what else is missing is written down.

The cuts are simulated (machine.py): a disk has what was synced, and of the rest what chance leaves, by a seed that is
in the name of the test.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine as machines
import pytest
import trees
import wasmtime
from effort import effort
from house import RESTLESS, House, count, eventually, manifest, sending
from machine import Machine

from theater.chainlog import ChainReader, verify_home
from theater.chainlog.keys import public_key
from theater.chainlog.verify import HomeVerdict
from theater.config import Home
from theater.core.chain import Encoder
from theater.core.codec import content_digest
from theater.core.outage import Loss
from theater.core.signed_checkpoint import SignedCheckpoint
from theater.errors import TheaterError
from theater.store.content import ContentStore
from theater.store.labels import Labels

power, machine = machines.power, machines.machine

DURABLE = '[chain]\ndurability = "host"\n'
ROUNDS = 3
CLOCK = Path(__file__).parents[1] / "actors" / "clock.wat"


def verdict(house: House, **facts: Any) -> HomeVerdict:
    home = Home(house.home)
    return verify_home(home, ContentStore(home.content), **facts)


def calls(house: House, actor: str) -> list[bytes]:
    """The messages whose calls are in a chain."""
    home = Home(house.home)
    store = ContentStore(home.content)
    with ChainReader(home.chain(actor)) as reader:
        entries = reader.read(1 << 20)
    found = []
    for entry in entries:
        if entry.kind.label == "call" and entry.read().function != "init":
            body = entry.read().args[-1]
            found.append(body if isinstance(body, bytes) else store.get(body.digest.hex()))
    return found


class Load:
    """Somebody who asks an actor again and again, and remembers what was acknowledged."""

    def __init__(self, house: House, ask: Callable[[Any, int], bytes]) -> None:
        self.acknowledged: list[bytes] = []
        self._client = house.connect()
        self._ask = ask
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for number in range(100_000):
            try:
                self.acknowledged.append(self._ask(self._client, number))
            except TheaterError:
                return  # The power is gone.

    def end(self) -> None:
        self._thread.join(60.0)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("seed", range(effort(2, 8)))
def test_what_a_durable_actor_has_acknowledged_survives(machine: Machine, seed: int) -> None:
    chance = random.Random(seed)
    house = machine.open()
    counter = house.start("count", more=DURABLE)
    large = house.start("large", more=DURABLE)
    receiver = house.start("receiver", more=DURABLE)
    sender = house.start("sender", more=DURABLE, supervision=RESTLESS)
    counted = sent = 0
    for _ in range(ROUNDS):

        def send(client: Any, number: int) -> bytes:
            message = b"e%d.%d" % (time.monotonic_ns(), number)
            client.request(sender.id, sending("receiver", message), timeout=5.0)
            return message

        def echo(client: Any, number: int) -> bytes:
            body = b"e%d" % number + bytes(5000 + number)
            assert client.request(large.id, body, timeout=5.0) == body
            return body

        loads = [
            Load(house, lambda client, _: client.request(counter.id, b"c", timeout=5.0)),
            Load(house, echo),
            Load(house, send),
        ]
        asked = chance.randint(1, 60)
        eventually(lambda loads=loads, asked=asked: len(loads[0].acknowledged) >= asked)  # type: ignore[misc]
        if chance.random() < 0.5:
            house.kill(house.row(sender.id).pid or 0)
        machine.cut(chance)
        for load in loads:
            load.end()
        machine.open()
        for actor in (counter, large, receiver, sender):
            house.await_row(actor.id, lambda row: row.state == "running", house.log_text)
        numbers = [count(answer) for answer in loads[0].acknowledged]
        assert numbers == [*range(counted + 1, counted + 1 + len(numbers))]
        counted = house.count(counter.id)
        assert counted > (numbers[-1] if numbers else 0)
        assert set(loads[1].acknowledged) <= set(calls(house, large.id))
        handed_over = [sending("receiver", message) for message in loads[2].acknowledged]
        assert set(handed_over) <= set(calls(house, sender.id))
        sent += len(handed_over)
        report = verdict(house)
        assert report.ok, [str(each.error) for each in (report.supervisor, *report.actors)]
        assert not any(loss.known for each in report.actors for loss in each.lost), report
    assert counted > ROUNDS


@pytest.mark.parametrize("seed", range(effort(2, 8)))
def test_what_was_lost_without_durability_is_written_down_and_the_actor_goes_on(machine: Machine, seed: int) -> None:
    chance = random.Random(seed)
    house = machine.open()
    row = house.start("count", supervision=RESTLESS)
    house.client.stop_server()
    house.await_end()
    machine.open()
    house.await_row(row.id, lambda row: row.state == "running")
    lost: tuple[Loss, ...] = ()
    while not lost or chance.random() < 0.5:
        for _ in range(chance.randint(1, 40)):
            counted = house.count(row.id)
            if chance.random() < 0.1:
                house.kill_worker(row.id)
        kept = house.client.checkpoint()  # What it names of this actor is in memory only.
        machine.cut(chance, kind=True)
        machine.open()
        house.await_row(row.id, lambda row: row.state == "running", house.log_text)
        assert house.count(row.id) <= counted + 1
        report = verdict(house)
        assert report.ok, [str(each.error) for each in (report.supervisor, *report.actors)]
        (actor,) = report.actors
        if len(actor.lost) > len(lost) and actor.lost[-1].known is not None:
            assert str(actor.lost[-1]) in house.log_text()
            missed = verdict(house, checkpoint=SignedCheckpoint.read(kept.text))
            assert not missed.ok, "a checkpoint that somebody has kept misses what was lost"
        lost = actor.lost
    events = house.history()
    recorded = [at for at, (event, facts) in enumerate(events) if event == "lost" and facts["actor"] == row.id]
    assert len(recorded) == len(lost)
    for at in recorded:
        assert "spawned" in {event for event, facts in events[at:] if facts.get("actor") == row.id}


def shorten(house: House, actor: str, keep: int) -> None:
    """Leaves the first `keep` entries of a chain."""
    path = Home(house.home).chain(actor)
    with ChainReader(path) as reader:
        entries = reader.records(keep + 1)
    assert len(entries) > keep
    with path.open("r+b") as file:
        file.truncate(entries[keep].offset)


def stopped(machine: Machine) -> str:
    """An actor whose server has been killed; its id."""
    house = machine.open()
    row = house.start("count")
    for _ in range(5):
        house.count(row.id)
    house.client.checkpoint()
    machine.kill()
    return row.id


def test_a_chain_that_is_shorter_is_refused_if_the_machine_has_not_died(machine: Machine) -> None:
    actor = stopped(machine)
    shorten(machine.house, actor, 5)
    house = machine.open()
    house.await_row(actor, lambda row: row.state == "failed")
    assert "ChainBroken" in house.log_text()
    assert not verdict(house).ok
    assert "lost" not in {event for event, _ in house.history()}


def test_a_chain_that_is_shorter_goes_on_if_the_machine_has_died(machine: Machine) -> None:
    actor = stopped(machine)
    shorten(machine.house, actor, 5)
    machine.boot()
    house = machine.open()
    house.await_row(actor, lambda row: row.state == "running")
    (lost,) = verdict(house).actors[0].lost
    assert str(lost) == "entries 5 to 12 were lost when the machine died, as the server recorded"
    assert lost.seen_ns is not None
    assert house.count(actor) == 2
    house.verify()


def test_the_end_of_a_server_in_order_is_no_death_of_the_machine(machine: Machine) -> None:
    house = machine.open()
    actor = house.start("count").id
    for _ in range(5):
        house.count(actor)
    house.client.stop_server()
    house.await_end()
    shorten(house, actor, 5)
    machine.boot()
    machine.open()
    house.await_row(actor, lambda row: row.state == "failed")
    assert "lost" not in {event for event, _ in house.history()}


def test_a_chain_that_was_written_anew_is_refused_though_the_machine_has_died(machine: Machine) -> None:
    actor = stopped(machine)
    path = Home(machine.house.home).chain(actor)
    with ChainReader(path) as reader:
        entries = reader.read(100)
    again = Encoder()
    path.write_bytes(b"".join(again.entry(entry.kind, entry.payload, entry.time_ns + 1)[0] for entry in entries))
    machine.boot()
    house = machine.open()
    house.await_row(actor, lambda row: row.state == "failed")
    assert not verdict(house).ok


def test_a_durable_chain_that_is_shorter_is_refused_though_the_machine_has_died(machine: Machine) -> None:
    house = machine.open()
    actor = house.start("count", more=DURABLE).id
    for _ in range(5):
        house.count(actor)
    house.client.checkpoint()
    machine.kill()
    shorten(house, actor, 5)
    machine.boot()
    machine.open()
    house.await_row(actor, lambda row: row.state == "failed")
    assert not verdict(house).ok


def test_a_chain_that_is_gone_begins_anew_once_that_is_written_down(machine: Machine) -> None:
    actor = stopped(machine)
    Home(machine.house.home).chain(actor).unlink()
    machine.boot()
    house = machine.open()
    house.await_row(actor, lambda row: row.state == "running")
    assert house.count(actor) == 1
    assert str(verdict(house).actors[0].lost[0]).startswith("entries 0 to 12 were lost")
    house.verify()


def test_a_loss_is_noticed_again_if_the_server_dies_while_it_takes_stock(machine: Machine) -> None:
    actor = stopped(machine)
    shorten(machine.house, actor, 5)
    machine.boot()
    server = machine.start()
    eventually(lambda: "is shorter than it was" in machine.house.log_text() or server.poll() is not None)
    machine.kill()
    house = machine.open()
    house.await_row(actor, lambda row: row.state == "running")
    assert house.count(actor) == 2
    house.verify()


def test_a_given_checkpoint_of_durable_actors_holds_after_a_power_cut(machine: Machine) -> None:
    house = machine.open()
    actor = house.start("count", more=DURABLE).id
    house.count(actor)
    kept = SignedCheckpoint.read(house.client.checkpoint().text)
    key = public_key(Home(house.home))
    machine.cut(random.Random(0))
    assert public_key(Home(house.home)) == key
    machine.open()
    report = verdict(house, checkpoint=kept, key=key)
    assert report.ok, report
    assert machine.house.client.checkpoint().key == kept.key.hex(), "the key is the same"


def test_a_tree_that_was_applied_survives(machine: Machine) -> None:
    house = machine.open()
    tree = trees.supervisor("pool") + trees.child("a", "pool") + trees.child("b", "pool")
    for name in ("a", "b"):
        house.write(name, more=DURABLE)
    house.client.apply_tree(trees.write(house, tree))
    trees.running(house, "a", "b")
    house.count("a")
    machine.cut(random.Random(1))
    machine.open()
    trees.running(house, "a", "b")
    assert house.count("a") == 2
    house.verify()


def test_a_timer_of_a_durable_actor_survives(machine: Machine) -> None:
    house = machine.house
    (house.folder / "clock.wasm").write_bytes(bytes(wasmtime.wat2wasm(CLOCK.read_text())))
    machine.open()
    handlers = ("message-server", "timers", "registry")
    path = house.folder / "clock.toml"
    path.write_text(manifest("clock", component="clock.wasm", handlers=handlers, more=DURABLE))
    actor = house.client.start(path).id
    house.client.request(actor, b"t" + (1500).to_bytes(4, "little") + b"c")
    machine.cut(random.Random(2))
    machine.open()
    house.await_row(actor, lambda row: row.state == "running")
    eventually(lambda: b"c" in calls(house, actor), "the timer fires")
    house.verify()


STORING = """
import sys
from theater.store.content import ContentStore
from theater.store.labels import Labels
content = ContentStore(sys.argv[1] + "/content", durable=True)
labels = Labels(sys.argv[1] + "/labels", content)
store = labels.new()
for number in range(100000):
    data = b"%d" % number + bytes(number % 7000)
    labels.store_at_label(store, "label %d" % (number % 5), data)
    print(store, number, flush=True)
"""


@pytest.mark.parametrize("seed", range(effort(2, 8)))
def test_what_a_durable_actor_has_stored_survives(machine: Machine, seed: int) -> None:
    """The store of content and labels, used as a durable worker does, in a process that ends with the power."""
    chance = random.Random(seed)
    home = Home(machine.house.home).create()
    environment = {**os.environ, **machine.environment}
    machine.made_durable(home.root)
    writer = subprocess.Popen(
        [sys.executable, "-c", STORING, str(home.root)], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert writer.stdout is not None
    last = chance.randint(1, 60)
    acknowledged = [next(writer.stdout).split() for _ in range(last)]
    writer.kill()
    acknowledged += [line.split() for line in writer.stdout if line.endswith("\n")]
    writer.wait()
    writer.stdout.close()
    machine.cut(chance)
    labels = Labels(home.labels, ContentStore(home.content, durable=True))
    for store, number in acknowledged:
        data = b"%d" % int(number) + bytes(int(number) % 7000)
        digest = content_digest(data).hex()
        assert labels.get(store, digest) == data
        assert digest in labels.labelled(store, f"label {int(number) % 5}")
