"""A disk that is full: what was acknowledged is kept, the server says so and lives, and goes on when there is room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import disks
import pytest
from house import RESTLESS, House, eventually, make_house, outcome, sending

from theater.chainlog import ChainReader

_SIZE = 4 << 20


@pytest.fixture
def cramped(probe: bytes) -> Iterator[House]:
    """A server whose home is on a disk of four MiB; its log and its manifests are elsewhere."""
    house = make_house(probe)
    house.home.mkdir(mode=0o700)
    try:
        disks.mount(house.home, _SIZE)
    except pytest.skip.Exception:
        house.close()
        raise
    house.before_removal = lambda: disks.unmount(house.home)
    try:
        yield house.open()
    finally:
        house.close()


def room(house: House) -> int:
    found = os.statvfs(house.home)
    return found.f_bavail * found.f_frsize


def fill(house: House, leave: int = 0) -> Path:
    """Takes all room but `leave` bytes, to the last."""
    path = house.home / "filler"
    with path.open("ab", buffering=0) as file:
        while room(house) > leave:
            try:
                file.write(bytes(min(65536, max(1, room(house) - leave))))
            except OSError:
                break
    return path


def counted(house: House, actor: str) -> int:
    """The highest count whose outcome is in the actor's chain."""
    with ChainReader(house.home / "actors" / actor / "chain") as reader:
        counts = [0]
        while batch := reader.read(500):
            for entry in batch:
                if entry.kind.label == "outcome" and entry.payload[0] == "ok" and entry.payload[1]:
                    counts.append(int.from_bytes(entry.payload[1][0][:4], "little"))
        return max(counts)


def test_nothing_acknowledged_is_lost_on_a_full_disk(cramped: House) -> None:
    house = cramped
    row = house.start("count", supervision={"intensity": 3, "period": 60})
    fill(house, leave=64 << 10)
    acknowledged = 0
    how = "reply"
    while how == "reply":
        how = outcome(lambda: house.client.request(row.id, b"c", timeout=10.0))
        acknowledged += how == "reply"
        fill(house, leave=32 << 10) if acknowledged % 50 == 0 else None
        assert acknowledged < 100_000
    assert how == "ActorDown"
    assert acknowledged > 10
    house.await_row(row.id, lambda row: row.state == "failed")
    assert counted(house, row.id) >= acknowledged
    failed = house.row(row.id)
    assert failed.last_exit is not None
    assert "disk full" in str(failed.last_exit) or "No space" in str(failed.last_exit)
    assert "No space left on device" in house.log_text()
    assert house.client.hello().pid == house.pid


def test_the_server_says_what_it_cannot_write_and_goes_on_when_it_can(cramped: House) -> None:
    house = cramped
    row = house.start("count", supervision=RESTLESS)
    house.count(row.id)
    filler = fill(house)
    assert outcome(lambda: house.start("more")) in ("DiskFull", "StartFailed")
    assert outcome(lambda: house.client.put(bytes(100_000))) == "DiskFull"
    assert outcome(lambda: house.client.request(row.id, b"e" * 100_000)) == "ActorDown"
    assert "more" not in {found.name for found in house.client.list()}
    filler.unlink()
    eventually(lambda: outcome(lambda: house.client.restart(row.id)) in ("reply", "WrongState"))
    house.await_row(row.id, lambda row: row.state == "running")
    assert house.count(row.id) == 2
    assert house.start("more").state == "running"
    house.client.stop(row.id)
    assert "exited" in {event for event, _ in house.history()}
    house.verify()


def test_what_happened_while_the_disk_was_full_is_in_the_supervisors_chain_afterwards(cramped: House) -> None:
    house = cramped
    row = house.start("count", supervision={"intensity": 0})
    filler = fill(house)
    house.kill(row.pid or 0)
    house.await_row(row.id, lambda row: row.state == "failed")

    def is_said() -> bool:
        outcome(lambda: house.client.restart(row.id))
        return "the supervisor's chain cannot be written" in house.log_text()

    eventually(is_said, "the supervisor's chain is full")
    filler.unlink()
    eventually(lambda: outcome(lambda: house.client.restart(row.id)) in ("reply", "WrongState"))
    house.await_row(row.id, lambda row: row.state == "running")
    events = [event for event, facts in house.history() if facts.get("actor") == row.id]
    assert events.count("spawned") == events.count("exited") + 1
    assert events.count("stop") > 1
    house.verify()


def test_an_orderly_end_on_a_full_disk_leaves_chains_that_verify(cramped: House) -> None:
    house = cramped
    ids = [house.start(name).id for name in ("one", "two")]
    for id in ids:
        house.count(id)
    filler = fill(house)
    house.client.stop_server()
    house.await_end()
    house.verify()
    filler.unlink()
    house.open()
    for id in ids:
        house.await_row(id, lambda row: row.state == "running")
        assert house.count(id) == 2


def test_a_home_on_a_full_disk_is_served_again_when_there_is_room(cramped: House) -> None:
    house = cramped
    row = house.start("count")
    house.count(row.id)
    house.client.stop_server()
    house.await_end()
    filler = fill(house)
    server = house.popen()
    served = house.log_text().count("serving")
    eventually(lambda: server.poll() is not None or house.log_text().count("serving") > served)
    server.terminate()
    code = server.wait(30.0)
    assert code != 1, "a full disk is no defect"
    filler.unlink()
    house.open()
    if house.row(row.id).state != "running":
        eventually(lambda: outcome(lambda: house.client.restart(row.id)) in ("reply", "WrongState"))
    house.await_row(row.id, lambda row: row.state == "running")
    assert house.count(row.id) == 2
    house.verify()


def test_a_sender_whose_disk_is_full_has_sent_nothing_that_is_not_recorded(cramped: House) -> None:
    house = cramped
    sender = house.start("sender", supervision={"intensity": 0})
    receiver = house.start("receiver", supervision={"intensity": 0})
    fill(house, leave=16 << 10)
    sent = 0
    while outcome(lambda: house.client.request(sender.id, sending("receiver", b"c"), timeout=10.0)) == "reply":
        sent += 1
        fill(house, leave=8 << 10) if sent % 20 == 0 else None
    causes = set()
    with ChainReader(house.home / "actors" / sender.id / "chain") as reader:
        while batch := reader.read(500):
            causes |= {entry.digest for entry in batch}
    with ChainReader(house.home / "actors" / receiver.id / "chain") as reader:
        while batch := reader.read(500):
            for entry in batch:
                if entry.kind.label == "call" and entry.read().cause is not None:
                    assert entry.read().cause in causes
    assert house.client.hello().pid == house.pid
