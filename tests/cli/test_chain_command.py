"""`theater chain`."""

from __future__ import annotations

import json
import time

import pytest
from commandline import Theater

from theater.chainlog.keys import open_signer
from theater.chainlog.reader import ChainReader
from theater.chainlog.writer import ChainWriter
from theater.config import Home
from theater.core.chain import (
    INCARNATION,
    MARKS,
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
from theater.core.manifest import Retention, parse
from theater.core.verification import SUPERVISOR
from theater.errors import ChainBroken, NotFound
from theater.server.cast import Actor, Cast, State
from theater.server.upkeep import Upkeep
from theater.store.content import ContentStore

ONE = "10000000-0000-4000-8000-000000000001"
MANIFEST = """
name = "counter"
component = "counter.wasm"
[chain]
retention = { entries = 100 }
"""
HOUR_NS = 3600 * 10**9


def live(home: Home, calls: int = 100) -> Mark:
    """An actor that has handled calls, with a snapshot in the midst, and content of two hours ago."""
    store = ContentStore(home.content)
    home.actor(ONE).mkdir(parents=True, exist_ok=True)
    with ChainWriter.open(home.chain(ONE), put=store.put, get=store.get) as writer:
        writer.append(Kind.GENESIS, Genesis(ONE, "counter", None, None, None, {}))
        for number in range(calls):
            writer.append(Kind.CALL, Call("i", "f", (f"words {number} " * 1000,)))
            writer.append(Kind.OUTCOME, outcome_ok(None, b"state", state_digest(b"state") if number else None))
            if number == calls // 4:
                image = pack({"pages": []})
                memory = Ref(bytes.fromhex(store.put(image)), len(image), Form.VALUE)
                details = {
                    "state": [b"state"],
                    "committed": True,
                    "life": {INCARNATION: 1},
                    "root": bytes(32),
                    "memory": memory,
                }
                writer.append(Kind.LIFECYCLE, Lifecycle(SNAPSHOT, details))
        return writer.mark


@pytest.fixture
def home(theater: Theater) -> Home:
    home = Home(theater.home).create()
    open_signer(home)
    mark = live(home)
    with ChainWriter.open(home.supervisor_chain) as writer:
        writer.append(Kind.GENESIS, Genesis("supervisor", "supervisor", None, None, None, {}))
        writer.append(Kind.CHECKPOINT, Checkpoint({ONE: list(mark)}))
    cast = Cast(home)
    actor = Actor(ONE, 1, parse(MANIFEST, "manifest.toml"), "", "0" * 64, None, None, bytes(32))
    actor.state = State.STOPPED
    cast.add(actor)
    return home


def row(theater: Theater) -> dict[str, int]:
    own, found = json.loads(theater("chain", "stats", "--json").out)
    assert own["id"] == SUPERVISOR
    return dict(found)


def test_stats_counts_what_a_chain_is_made_of(theater: Theater, home: Home) -> None:
    found = row(theater)
    assert list(found) == [
        "id", "entries", "size", "on_disk", "compressed", "segments", "dropped", "dropped_size", "snapshots",
        "contents", "contents_size",
    ]  # fmt: skip
    assert (found["entries"], found["snapshots"], found["dropped"], found["segments"]) == (202, 1, 0, 0)
    assert found["contents"] == 101
    assert "202" in theater("chain", "stats", "counter").text
    (own,) = json.loads(theater("chain", "stats", "supervisor", "--json").out)
    assert (own["id"], own["entries"], own["contents"]) == (SUPERVISOR, 2, 0)


def test_gc_drops_by_the_manifests_retention_and_verify_names_it(theater: Theater, home: Home) -> None:
    done = theater("chain", "gc", "--grace", "0s")
    assert done.code == 0, done.err
    assert f"{ONE}: 52 entries, " in done.text
    assert "content: 26 deleted" in done.text
    assert row(theater)["dropped"] == 52
    verified = theater("verify")
    assert verified.code == 0, verified.text
    assert f"{ONE}: entries 1 to 52 were dropped by retention on " in verified.text
    (actor,) = json.loads(theater("verify", "--json").out)["actors"]
    assert (actor["dropped"]["first"], actor["dropped"]["last"]) == (1, 52)
    assert theater("verify", "--key", "0" * 64).code == ChainBroken.exit_code


def test_a_checkpoint_about_what_was_dropped_cannot_be_compared_and_that_is_said(theater: Theater, home: Home) -> None:
    with ChainReader(home.supervisor_chain) as reader:
        first = reader.records(1)[0].digest
    with ChainReader(home.chain(ONE)) as reader:
        digests = [record.digest for record in reader.records(1000)]
    kept = theater.home / "kept"
    for entries, said in ((20, True), (53, False), (54, False)):
        positions = {SUPERVISOR: (1, first), ONE: (entries, digests[entries - 1])}
        kept.write_bytes(open_signer(home).sign(first, positions, 1).text)
        theater("chain", "gc")
        done = theater("verify", "--checkpoint", str(kept))
        assert done.code == 0, done.text
        assert ("cannot be compared" in done.text) is said
        found = json.loads(theater("verify", "--checkpoint", str(kept), "--json").out)
        assert found["checkpoint"]["dropped"] == ([ONE] if said else [])
    positions[ONE] = (53, bytes(32))
    kept.write_bytes(open_signer(home).sign(first, positions, 1).text)
    done = theater("verify", "--checkpoint", str(kept))
    assert done.code == ChainBroken.exit_code
    assert "entry 52: expected digest" in done.text


def test_of_the_servers_own_chain_a_server_drops_and_verify_and_audit_go_on_with_the_rest(
    theater: Theater, home: Home
) -> None:
    with ChainReader(home.chain(ONE)) as reader:
        (last,) = reader.tail(1)
    with ChainWriter.open(home.supervisor_chain) as writer:
        for number in range(400):
            if number == 200:
                mark = list(Mark(last.seq + 1, last.digest, home.chain(ONE).stat().st_size))
                writer.append(Kind.LIFECYCLE, Lifecycle(SNAPSHOT, {MARKS: {ONE: mark}}))
            writer.append(Kind.LIFECYCLE, Lifecycle("something", {"number": number}))
    with ChainReader(home.supervisor_chain) as reader:
        digests = [record.digest for record in reader.records(1000)]
    kept = theater.home / "kept"
    kept.write_bytes(open_signer(home).sign(digests[0], {SUPERVISOR: (100, digests[99])}, 1).text)
    assert "cannot be compared" not in theater("verify", "--checkpoint", str(kept)).text
    (done,) = Upkeep(home, time.time_ns(), kept=Retention(entries=100)).tend([SUPERVISOR])
    assert done.done.dropped_entries == 201
    verified = theater("verify", "--checkpoint", str(kept))
    assert verified.code == 0, verified.text
    assert "supervisor: entries 1 to 201 were dropped by retention on " in verified.text
    assert "supervisor: the entry that the checkpoint names was dropped" in verified.text
    assert json.loads(theater("verify", "--json").out)["supervisor"]["dropped"]["last"] == 201
    (own,) = json.loads(theater("chain", "stats", "supervisor", "--json").out)
    assert (own["dropped"], own["entries"], own["snapshots"]) == (201, 403, 1)


def test_a_second_time_there_is_nothing_to_do(theater: Theater, home: Home) -> None:
    theater("chain", "gc", "--grace", "0s")
    found = json.loads(theater("chain", "gc", "--grace", "0s", "--json").out)
    assert found["ok"] is True
    assert found["content"] == {"count": 0, "size": 0, "error": None}
    assert [actor["id"] for actor in found["actors"]] == [ONE, SUPERVISOR]
    for actor in found["actors"]:
        assert (actor["compressed"], actor["dropped"], actor["error"]) == (0, 0, None)


def test_a_dry_run_says_the_same_and_does_nothing(theater: Theater, home: Home) -> None:
    before = {path: path.stat().st_mtime_ns for path in theater.home.rglob("*")}
    said = json.loads(theater("chain", "gc", "--grace", "0s", "--dry-run", "--json").out)
    assert {path: path.stat().st_mtime_ns for path in theater.home.rglob("*")} == before
    done = json.loads(theater("chain", "gc", "--grace", "0s", "--json").out)
    assert said["content"] == done["content"]
    assert said["actors"][0]["dropped"] == done["actors"][0]["dropped"] == 52


def test_content_that_was_put_just_now_is_spared(theater: Theater, home: Home) -> None:
    found = json.loads(theater("chain", "gc", "--json").out)
    assert found["actors"][0]["dropped"] == 52
    assert found["content"]["count"] == 0


def test_without_a_key_nothing_is_dropped_and_that_is_said(theater: Theater, home: Home) -> None:
    home.key.unlink()
    done = theater("chain", "gc")
    assert done.code == NotFound.exit_code
    assert "to sign with, so nothing was dropped" in done.err
    assert row(theater)["dropped"] == 0


def test_a_damaged_chain_is_left_alone_and_said(theater: Theater, home: Home) -> None:
    chain = home.chain(ONE)
    data = bytearray(chain.read_bytes())
    data[len(data) // 2] ^= 1
    chain.write_bytes(data)
    done = theater("chain", "gc")
    assert done.code == ChainBroken.exit_code
    assert f"{ONE}: " in done.err
    assert "no content was deleted" in done.err
    assert chain.read_bytes() == data


def test_alone_it_shows_its_help(theater: Theater) -> None:
    assert "stats" in theater("chain").text


def test_age_is_reckoned_from_the_snapshot(theater: Theater, home: Home) -> None:
    from theater.chainlog.shrinking import Order, shrink
    from theater.core.manifest import Retention
    from theater.core.verification import Checkpoints

    signer = open_signer(home)
    store = ContentStore(home.content)
    now = time.time_ns()
    for later, dropped in ((0, 0), (2 * HOUR_NS, 52)):
        kept = Retention(age=3_600_000)
        order = Order(ONE, kept, Checkpoints(), signer.public, signer, now + later, dry_run=True)
        assert shrink(home.chain(ONE), order, store).dropped_entries == dropped
