"""The server's own chain grows with each command and each checkpoint: it starts as fast, and need not be kept whole."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House, eventually

from theater.chainlog import verify_home
from theater.chainlog.keys import open_signer, public_key
from theater.chainlog.outage import read_known
from theater.chainlog.reader import ChainReader
from theater.chainlog.verify import HomeVerdict
from theater.chainlog.writer import ChainWriter
from theater.config import Home
from theater.core.chain import REMOVED, SNAPSHOT, Checkpoint, Genesis, Kind, Lifecycle, Mark
from theater.core.manifest import Retention, parse
from theater.core.outage import LOST
from theater.core.verification import SUPERVISOR
from theater.errors import ChainBroken
from theater.log import logger
from theater.server import caretaker
from theater.server.caretaker import Caretaker
from theater.server.cast import Actor, Cast, State
from theater.server.ledger import Ledger
from theater.server.loop import Loop
from theater.server.outage import Machine
from theater.server.processes import Processes
from theater.server.upkeep import Upkeep
from theater.store.content import ContentStore

ONE = "10000000-0000-4000-8000-000000000001"
MANIFEST = 'name = "counter"\ncomponent = "counter.wasm"\n'
KEPT = Retention(entries=100)
SECOND_VERIFIER = Path(__file__).parents[2] / "examples" / "verifier" / "verify_chain.py"


class Office:
    """A server's own chain and who keeps it small, as a server has them, and an actor with a chain."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root / "h").create()
        self.signer = open_signer(self.home)
        self.ledger = self.open()
        self.cast = Cast(self.home)
        self.actor = Actor(ONE, 1, parse(MANIFEST, "manifest.toml"), "", "0" * 64, None, None, bytes(32))
        self.actor.state = State.STOPPED
        self.cast.add(self.actor)
        self.cast.save(self.actor)
        with ChainWriter.open(self.home.chain(ONE)) as writer:
            writer.append(Kind.GENESIS, Genesis(ONE, "counter", None, None, None, {}))
            for number in range(9):
                writer.append(Kind.LIFECYCLE, Lifecycle("something", {"number": number}))
            self.actor.head = writer.mark
        self.loop = Loop()
        self.processes = Processes(self.loop)
        self.caretaker = self.hire()

    def open(self) -> Ledger:
        self.is_open = True
        return Ledger(self.home, logger(), "0", self.signer)

    def close(self) -> None:
        """Ends in order, once."""
        if self.is_open:
            self.is_open = False
            self.ledger.close()

    def hire(self) -> Caretaker:
        return Caretaker(self.home, self.loop, self.processes, self.cast, self.ledger, logger())

    def happen(self, times: int) -> None:
        for number in range(times):
            self.ledger.event("something", {"number": number, "what": "x" * 100})

    def look(self) -> None:
        """Has the caretaker look, and waits for what it has begun."""
        self.caretaker.look()

        def is_idle() -> bool:
            self.loop.turn()
            return not self.caretaker.is_at_work

        eventually(is_idle)

    def reopen(self) -> None:
        self.close()
        self.ledger = self.open()
        self.caretaker = self.hire()

    def verify(self) -> HomeVerdict:
        return verify_home(self.home, ContentStore(self.home.content), key=public_key(self.home))

    def require_refused(self) -> None:
        """A server does not start with this chain."""
        with pytest.raises(ChainBroken):
            Ledger(self.home, logger(), "0", self.signer)

    def snapshots(self) -> int:
        with ChainReader(self.home.supervisor_chain) as chain:
            found = [entry.read() for entry in chain.read(10_000)]
        return sum(isinstance(each, Lifecycle) and each.event == SNAPSHOT for each in found)

    def damage(self, offset: int) -> None:
        """Flips a bit of the server's own chain."""
        with self.home.supervisor_chain.open("r+b") as file:
            file.seek(offset)
            (found,) = file.read(1)
            file.seek(offset)
            file.write(bytes([found ^ 1]))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    before = signal.getsignal(signal.SIGCHLD)
    made = Office(tmp_path)
    yield made
    made.close()
    made.loop.close()
    signal.signal(signal.SIGCHLD, before)


# ---- starting


def test_what_the_key_has_signed_is_not_read_again_at_a_start(office: Office) -> None:
    office.happen(3000)
    office.close()
    office.damage(200_000)
    office.ledger = office.open()
    office.happen(1)
    verdict = office.verify().supervisor
    assert verdict.error is not None
    assert "expected digest" in verdict.error


@pytest.mark.parametrize("from_end", [1, 100])
def test_what_was_written_since_is_read(office: Office, from_end: int) -> None:
    office.happen(10)
    office.close()
    with ChainWriter.open(office.home.supervisor_chain) as writer:
        writer.append(Kind.LIFECYCLE, Lifecycle("something", {"what": "y" * 200}))
    size = office.home.supervisor_chain.stat().st_size
    office.damage(size - from_end)
    office.require_refused()


def test_without_a_signature_of_this_key_all_is_read(office: Office, tmp_path: Path) -> None:
    office.happen(3000)
    office.close()
    office.damage(200_000)
    office.signer = open_signer(Home(tmp_path / "other").create())
    office.require_refused()


@pytest.mark.parametrize("change", [("time 1", "time 2"), ("chain supervisor 3", "chain supervisor 2")])
def test_a_signature_that_is_none_is_not_believed(office: Office, change: tuple[str, str]) -> None:
    office.happen(3000)
    office.close()
    with ChainReader(office.home.supervisor_chain) as chain:
        (last,) = chain.tail(1)
    payload = last.read()
    assert isinstance(payload, Lifecycle)
    text = payload.details["checkpoint"].replace(*change)
    assert text != payload.details["checkpoint"]
    with ChainWriter.open(office.home.supervisor_chain) as writer:
        since = writer.mark.offset
        writer.append(Kind.LIFECYCLE, Lifecycle("something", {"what": "y" * 200}))
        writer.append(Kind.LIFECYCLE, Lifecycle("signed", {"checkpoint": text}))
    office.damage(since + 100)
    office.require_refused()


# ---- snapshots


def test_a_server_takes_a_snapshot_soon_and_then_only_if_something_has_happened(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caretaker, "SNAPSHOT_EVERY_S", 0.0)
    office.look()
    assert office.snapshots() == 1
    for _ in range(3):
        office.ledger.sign()
        office.look()
    assert office.snapshots() == 1
    office.happen(5)
    office.look()
    assert office.snapshots() == 2


def test_a_snapshot_waits_for_its_day(office: Office) -> None:
    office.look()
    office.happen(500)
    office.look()
    assert office.snapshots() == 1


def test_a_snapshot_says_how_far_all_chains_are(office: Office) -> None:
    office.ledger.snapshot(office.cast)
    assert office.actor.head is not None
    assert read_known(office.home.supervisor_chain).marks[ONE] == [office.actor.head]
    assert office.verify().ok
    with office.home.chain(ONE).open("r+b") as file:
        file.truncate(office.actor.head.offset - 1)
    (verdict,) = office.verify().actors
    assert verdict.error is not None
    assert "by a checkpoint" in verdict.error


# ---- keeping it small


def grow_beyond(office: Office) -> None:
    office.caretaker.kept = KEPT
    for _ in range(8):
        office.look()
        office.happen(30)


def test_what_is_beyond_the_retention_is_dropped_and_proved_to_be(office: Office) -> None:
    grow_beyond(office)
    verdict = office.verify()
    assert verdict.ok, verdict
    dropped = verdict.supervisor.dropped
    assert dropped is not None
    assert verdict.supervisor.entries - dropped.until.entries < 2 * 100
    assert (office.home.root / "supervisor.dropped").exists()
    said = subprocess.run(
        [sys.executable, SECOND_VERIFIER, office.home.supervisor_chain], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said
    assert f"entries 1 to {dropped.until.entries - 1} were dropped" in said.stdout


def test_a_chain_that_was_cut_is_missed_after_its_checkpoints_were_dropped(office: Office) -> None:
    office.ledger.checkpoint([office.actor])
    grow_beyond(office)
    assert office.verify().ok
    assert office.actor.head is not None
    with office.home.chain(ONE).open("r+b") as file:
        file.truncate(office.actor.head.offset - 1)
    (verdict,) = office.verify().actors
    assert not verdict.ok


def test_the_chain_goes_on_behind_what_was_dropped(office: Office) -> None:
    grow_beyond(office)
    before = office.verify().supervisor
    office.reopen()
    office.happen(3)
    office.ledger.sign()
    after = office.verify()
    assert after.ok, after
    assert after.supervisor.dropped == before.dropped
    assert after.signed is not None
    assert after.signed.positions[SUPERVISOR][0] > before.entries


def test_within_the_retention_nothing_is_dropped(office: Office) -> None:
    office.caretaker.kept = Retention(entries=10_000)
    for _ in range(4):
        office.look()
        office.happen(30)
    assert office.verify().supervisor.dropped is None


def test_by_itself_a_server_keeps_all_of_it(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caretaker, "COMPRESSED_AT", 1)
    monkeypatch.setattr(caretaker, "SNAPSHOT_EVERY_S", 0.0)
    for _ in range(3):
        office.happen(1000)
        office.look()
    assert list((office.home.root / "supervisor.segments").iterdir())
    verdict = office.verify()
    assert verdict.ok, verdict
    assert verdict.supervisor.dropped is None
    office.reopen()
    with ChainReader(office.home.supervisor_chain) as chain:
        assert len(chain.read(10_000)) == office.verify().supervisor.entries


def test_what_has_grown_old_is_dropped(office: Office) -> None:
    office.happen(50)
    office.ledger.snapshot(office.cast)
    office.happen(50)
    in_a_month = time.time_ns() + 31 * 86_400 * 10**9
    (done,) = Upkeep(office.home, in_a_month, kept=Retention(age=30 * 86_400_000)).tend([SUPERVISOR])
    assert done.error is None
    assert done.done.dropped_entries == 51
    assert office.verify().ok


def test_a_snapshot_that_leaves_out_a_chain_is_no_beginning(office: Office) -> None:
    other = "20000000-0000-4000-8000-000000000002"
    office.close()
    with ChainWriter.open(office.home.supervisor_chain) as writer:
        writer.append(Kind.CHECKPOINT, Checkpoint({other: list(Mark(1, bytes(32), 100))}))
    office.ledger = office.open()
    office.ledger.snapshot(office.cast)
    office.happen(200)
    upkeep = Upkeep(office.home, time.time_ns(), kept=KEPT)
    (done,) = upkeep.tend([SUPERVISOR])
    assert done.done.dropped_entries == 0
    assert done.done.note is not None
    assert f"does not say how far the chain of {other} was" in done.done.note
    office.ledger.event(REMOVED, {"actor": other})
    office.ledger.snapshot(office.cast)
    office.happen(200)
    (done,) = Upkeep(office.home, time.time_ns(), kept=KEPT).tend([SUPERVISOR])
    assert done.done.dropped_entries > 200
    assert office.verify().ok


def test_a_snapshot_that_is_behind_a_checkpoint_is_no_beginning(office: Office) -> None:
    """A chain that was cut since that checkpoint must be missed for ever."""
    head = office.actor.head
    assert head is not None
    office.ledger.checkpoint([office.actor])
    office.actor.head = Mark(2, bytes(32), 200)
    office.ledger.snapshot(office.cast)
    office.happen(200)
    (done,) = Upkeep(office.home, time.time_ns(), kept=KEPT).tend([SUPERVISOR])
    assert done.done.dropped_entries == 0
    assert "does not say how far" in (done.done.note or "")


def test_small_snapshots_beside_a_small_retention_do_not_feed_on_each_other(office: Office) -> None:
    office.caretaker.kept = Retention(bytes=64 << 10)
    for number in range(300):
        actor = Actor(f"30000000-0000-4000-8000-{number:012}", 1, office.actor.manifest, "", "0" * 64, None, None, b"")
        actor.state, actor.head = State.STOPPED, Mark(1, bytes(32), 100)
        office.cast.add(actor)
    for _ in range(4):
        office.happen(300)
        office.look()
    found = office.snapshots()
    for _ in range(5):
        office.ledger.sign()
        office.look()
    assert office.snapshots() <= found + 1


def test_what_the_disk_has_not_taken_is_not_signed(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written anew, with another time, and a signature of what it was would be of nothing."""
    office.happen(10)
    office.ledger.sign()
    size, sync, failures = office.home.supervisor_chain.stat().st_size, os.fdatasync, [OSError(errno.EIO, "no disk")]
    office.happen(10)

    def lose_once(fd: int) -> None:
        if failures:
            os.ftruncate(fd, size)
            raise failures.pop()
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", lose_once)
    office.ledger.sign()
    assert not failures
    office.ledger.sign()
    verdict = office.verify()
    assert verdict.supervisor.ok, verdict.supervisor
    office.reopen()
    assert office.verify().supervisor.ok


def test_a_chain_that_was_written_anew_is_no_loss_of_the_machine_though_a_snapshot_knows_more(office: Office) -> None:
    path, head = office.home.chain(ONE), office.actor.head
    assert head is not None
    office.ledger.checkpoint([office.actor])
    with ChainWriter.open(path) as writer:
        for number in range(50):
            writer.append(Kind.LIFECYCLE, Lifecycle("something", {"number": number}))
        office.actor.head = writer.mark
    office.ledger.snapshot(office.cast)
    for _ in range(3):
        office.happen(1)
        office.ledger.sign()
    office.close()
    path.unlink()
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, Genesis(ONE, "counter", None, None, None, {}))
        for number in range(30):
            writer.append(Kind.LIFECYCLE, Lifecycle("another", {"number": number}))
    office.home.boot.write_text("00000000-0000-0000-0000-000000000000\n")
    machine = Machine(office.home, logger(), office.signer.public, lambda text: None)
    machine.prepare()
    office.ledger = office.open()
    known = office.actor.head
    machine.take_stock(office.cast, office.ledger)
    assert office.actor.head == known
    with ChainReader(office.home.supervisor_chain) as chain:
        said = [entry.read() for entry in chain.read(10_000)]
    assert not [each for each in said if isinstance(each, Lifecycle) and each.event == LOST]


def test_a_server_goes_on_with_a_home_of_which_the_beginning_is_not_kept(own_house: House) -> None:
    house = own_house
    home = Home(house.home)
    house.start("one")
    counted = house.count("one")
    house.send_signal(signal.SIGTERM)
    house.await_end()
    ledger = Ledger(home, logger(), "0", open_signer(home))
    cast = Cast(home)
    cast.load()
    for number in range(300):
        if number == 100:
            ledger.snapshot(cast)
        ledger.event("something", {"number": number})
    ledger.close()
    (done,) = Upkeep(home, time.time_ns(), kept=KEPT).tend([SUPERVISOR])
    assert done.done.dropped_entries > 100
    house.open("--retention", "entries=1000", "--retention", "age=30d")
    assert house.count("one") == counted + 1
    assert house.client.events("supervisor", since=0, limit=5).events[1].data["event"] == SNAPSHOT
    house.send_signal(signal.SIGKILL)
    house.await_end()
    house.open()
    assert house.count("one") == counted + 2
    verdict = verify_home(home, ContentStore(home.content), key=public_key(home))
    assert verdict.ok, verdict
