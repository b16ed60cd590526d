"""Checkpoints that a server gives away: what was there then is missed later, whatever is done to the home."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from house import RESTLESS, House, asking, eventually, sending

from theater.chainlog import HomeVerdict, verify_home
from theater.chainlog.keys import given_key, open_signer, public_key
from theater.config import Home
from theater.core.chain import Scanner
from theater.core.codec import content_digest
from theater.core.signed_checkpoint import SignedCheckpoint
from theater.core.verification import SUPERVISOR
from theater.errors import DiskFull, IntegrityError, InvalidInput, UnknownActor
from theater.log import logger
from theater.server.ledger import Ledger
from theater.store.content import ContentStore


def verify(home: Path, checkpoint: SignedCheckpoint | None = None) -> HomeVerdict:
    where = Home(home)
    return verify_home(where, ContentStore(where.content), checkpoint=checkpoint, key=public_key(where))


def given(house: House, *actors: str) -> SignedCheckpoint:
    return SignedCheckpoint.read(house.client.checkpoint(actors).text)


def length(path: Path) -> int:
    scanner = Scanner()
    scanner.feed(path.read_bytes())
    return scanner.head.entries


# ---- a server


def test_a_checkpoint_says_how_far_all_chains_are(own_house: House) -> None:
    house = own_house
    one, two = house.start("one"), house.start("two")
    house.count("one")
    kept = given(house)
    assert set(kept.positions) == {SUPERVISOR, one.id, two.id}
    assert [kept.positions[row.id][0] for row in (one, two)] == [5, 3]
    assert kept.key.hex() == house.client.hello().key == (house.home / "key.pub").read_text().strip()
    assert set(given(house, "one").positions) == {SUPERVISOR, one.id}
    with pytest.raises(UnknownActor):
        house.client.checkpoint(["nobody"])
    house.count("two")
    house.kill_worker("one")
    found = verify(house.home, kept)
    assert found.ok, found


def test_the_servers_chain_says_what_was_given_and_is_signed(own_house: House) -> None:
    house = own_house
    row = house.start("one")
    kept = given(house)
    events = house.history()
    assert events[0] == ("server-started", {"version": house.client.hello().version, "key": kept.key.hex()})
    (facts,) = [details for event, details in events if event == "checkpoint-given"]
    assert facts == {"digest": content_digest(kept.text).hex(), "chains": 2}
    assert events[-1][0] == "signed"
    known = [event.data for event in house.client.read_events("supervisor", types=["checkpoint"])]
    assert any(row.id in data["marks"] for data in known)
    house.client.stop_server()
    house.await_end()
    signed = verify(house.home).signed
    assert signed is not None
    assert signed.positions[SUPERVISOR][0] == length(house.home / "supervisor.chain") - 1


def test_a_home_put_back_to_an_earlier_day_is_found(own_house: House) -> None:
    """The whole of it, with the server's own chain: what an operator can do who wants something not to have been."""
    house = own_house
    house.start("one")
    house.client.stop_server()
    house.await_end()
    before = house.folder / "before"
    shutil.copytree(house.home, before, ignore=shutil.ignore_patterns("run"))
    house.open()
    house.count("one")
    kept = given(house)
    house.client.stop_server()
    house.await_end()
    assert verify(house.home, kept).ok
    assert verify(before).ok
    found = verify(before, kept)
    assert not found.supervisor.ok
    assert "expected digest" in str(found.actors[0].error)
    assert "by a checkpoint" in str(found.actors[0].error)


def test_heads_of_that_very_moment_are_given(own_house: House) -> None:
    house = own_house
    row = house.start("one", supervision=RESTLESS)
    for number in range(20):
        house.count("one")
        assert given(house).positions[row.id][0] == 5 + 2 * number


def test_the_server_keeps_its_key(own_house: House) -> None:
    house = own_house
    key = house.client.hello().key
    for name, mode in (("key", 0o600), ("key.pub", 0o644)):
        assert stat.S_IMODE((house.home / name).stat().st_mode) & ~os.umask(os.umask(0)) == mode & 0o666
    house.client.stop_server()
    house.await_end()
    house.open()
    assert house.client.hello().key == key
    secret = (house.home / "key").read_text().strip()
    assert secret not in house.log_text()
    house.start("one")
    assert bytes.fromhex(secret) in memory(house.pid)
    assert len(house.processes()) > 2
    for pid in house.processes():
        if pid != house.pid:
            assert bytes.fromhex(secret) not in memory(pid)


def memory(pid: int) -> bytes:
    """What a process has written to: its heap and its anonymous pages."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as pages:
        for row in maps:
            span, access = row.split()[:2]
            begin, end = (int(part, 16) for part in span.split("-"))
            if access.startswith("rw") and end - begin < 64 << 20:
                try:
                    pages.seek(begin)
                    found.append(pages.read(end - begin))
                except OSError:
                    continue
    return b"".join(found)


def test_a_verifier_that_knows_nothing_of_theater_says_the_same(own_house: House) -> None:
    house = own_house
    one, two = house.start("one"), house.start("two", supervision=RESTLESS)
    house.client.request(one.id, asking("two", b"c"))
    house.client.request(one.id, sending("two", b"c"))
    house.await_row(two.id, lambda row: row.entries >= 7)
    house.kill_worker("two")
    house.client.request(two.id, asking("one", b"c"))
    (house.folder / "kept").write_bytes(house.client.checkpoint().text)
    house.client.stop_server()
    house.await_end()
    chains = [house.home / "actors" / row.id / "chain" for row in (one, two)]
    script = Path(__file__).parents[2] / "examples" / "verifier" / "verify_chain.py"
    words = [sys.executable, script, "--checkpoint", house.folder / "kept", house.home / "supervisor.chain", *chains]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for verdict in (found := verify(house.home)).actors:
        assert f"{verdict.entries} entries, head {verdict.head}" in done.stdout
    assert found.ok
    assert "causes: 5 in these chains, 0 elsewhere" in done.stdout, done.stdout


# ---- the ledger


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "h").create()


def ledger_of(home: Home) -> Ledger:
    return Ledger(home, logger(), "1", open_signer(home))


def test_only_what_is_new_is_signed(home: Home) -> None:
    ledger = ledger_of(home)
    ledger.sign()
    entries = length(home.supervisor_chain)
    ledger.sign()
    ledger.sign()
    assert length(home.supervisor_chain) == entries
    ledger.event("something", {})
    ledger.sign()
    assert length(home.supervisor_chain) == entries + 2
    signed = verify(home.root).signed
    assert signed is not None
    assert signed.positions[SUPERVISOR][0] == entries + 1
    ledger.close()


@contextmanager
def no_file_grows() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_nothing_is_signed_or_given_that_the_disk_has_not_taken(home: Home, capsys: object) -> None:
    ledger = ledger_of(home)
    with no_file_grows():
        ledger.event("something", {})
        assert ledger.is_behind
        ledger.sign()
        with pytest.raises(DiskFull, match="no checkpoint is given now"):
            ledger.give_checkpoint([])
    ledger.event("something", {})
    kept = ledger.give_checkpoint([])
    ledger.close()
    assert verify(home.root, kept).ok
    assert verify(home.root).signed is not None


# ---- keys


def test_a_home_has_one_key(home: Home) -> None:
    assert public_key(home) is None
    signer = open_signer(home)
    assert open_signer(home).public == signer.public == public_key(home)
    assert stat.S_IMODE(home.key.stat().st_mode) == 0o600
    home.public_key.unlink()
    assert open_signer(home).public == public_key(home)


def test_a_copy_without_the_secret_gets_another_key(home: Home) -> None:
    before = open_signer(home).public
    home.key.unlink()
    assert open_signer(home).public != before


def test_a_damaged_key_is_said_to_be_one(home: Home) -> None:
    open_signer(home)
    home.key.write_bytes(b"\0" * 64)
    with pytest.raises(IntegrityError, match="is no key"):
        open_signer(home)


def test_a_key_is_given_by_its_digits_or_by_a_file(home: Home, tmp_path: Path) -> None:
    key = open_signer(home).public
    assert given_key(key.hex()) == given_key(str(home.public_key)) == key
    for words in ("nonsense", str(tmp_path / "nothing"), key.hex().upper()):
        with pytest.raises(InvalidInput, match="is no key"):
            given_key(words)
    (tmp_path / "other").write_text("not a key")
    with pytest.raises(InvalidInput, match="is no key"):
        given_key(str(tmp_path / "other"))


def test_no_room_for_a_key_is_an_error_of_the_disk(home: Home) -> None:
    home.key.with_name("key.new").mkdir()
    with pytest.raises(IntegrityError, match="writing the key"):
        open_signer(home)
    eventually(lambda: not home.key.exists())
