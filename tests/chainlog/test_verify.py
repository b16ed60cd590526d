"""Verifying a home: what was changed, cut, rewritten, exchanged or lost is found, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import chains
import pytest
from chains import ACTOR, OTHER, Living

from theater.chainlog import ChainWriter, collect_references, verify, verify_chain, verify_home
from theater.core.chain import REMOVED, Checkpoint, HostResult, Kind, Lifecycle
from theater.core.codec import content_digest
from theater.core.verification import Checkpoints, Verdict
from theater.errors import ChainBroken, UnknownActor, UnknownContent
from theater.store import ContentStore


@pytest.fixture
def home(tmp_path: Path) -> Living:
    """A home in which two actors have lived, and the supervisor knows it."""
    home = Living.at(tmp_path / "home")
    first, other = home.live(ACTOR, ["a", b"x" * 5000]), home.live(OTHER, "b")
    home.checkpoint(actor1=first, actor2=other)
    return home


def verdict_of(home: Living, actor: str = ACTOR) -> Verdict:
    (verdict,) = verify_home(home, home.store, [actor]).actors
    return verdict


def error_of(home: Living, actor: str = ACTOR) -> str:
    verdict = verdict_of(home, actor)
    assert not verdict.ok
    assert not verify_home(home, home.store).ok
    assert verdict.error is not None
    return verdict.error


def test_a_good_home_is_good(home: Living) -> None:
    seen: list[Verdict] = []
    found = verify_home(home, home.store, on_verdict=seen.append)
    assert found.ok
    assert [(verdict.id, verdict.name, verdict.entries) for verdict in found.actors] == [
        (ACTOR, "name-1", 3),
        (OTHER, "name-2", 2),
    ]
    assert tuple(seen) == found.actors
    assert (found.supervisor.id, found.supervisor.entries) == ("supervisor", 2)


@pytest.mark.parametrize("ended", [False, True], ids=["", "ended by somebody"])
def test_processes_that_share_the_work_find_what_one_finds(
    home: Living, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    chain = home.chain(OTHER)
    chain.write_bytes(chain.read_bytes()[:-1] + b"?")
    alone, seen = verify_home(home, home.store), list[Verdict]()
    monkeypatch.setattr(verify, "_WORTH_PROCESSES", 0)
    reopen = partial(os._exit, 9) if ended else partial(ContentStore, home.content)
    assert verify_home(home, home.store, on_verdict=seen.append, reopen=reopen) == alone
    assert [verdict.ok for verdict in seen] == [True, False]


def test_an_empty_home_is_good(tmp_path: Path) -> None:
    home = Living.at(tmp_path / "home")
    assert verify_home(home, home.store).ok


def test_an_actor_that_nobody_knows_is_an_error(home: Living) -> None:
    with pytest.raises(UnknownActor):
        verify_home(home, home.store, ["00000000-0000-8000-8000-000000000009"])


def test_a_changed_byte_is_found_in_the_entry_that_has_it(home: Living) -> None:
    path = home.chain(ACTOR)
    data = bytearray(path.read_bytes())
    data[-33] ^= 1
    path.write_bytes(data)
    assert error_of(home).startswith("entry 2 at byte")
    assert verdict_of(home, OTHER).ok


def test_a_chain_cut_at_an_entry_is_caught_by_the_checkpoint(home: Living) -> None:
    path = home.chain(OTHER)
    mark = home.live(OTHER, "c")
    home.checkpoint(actor2=mark)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert error_of(home, OTHER).startswith("entry 2: expected digest")
    path.write_bytes(b"")
    assert "found the end of the chain after 0 entries" in error_of(home, OTHER)
    path.unlink()
    assert "found the end of the chain after 0 entries" in error_of(home, OTHER)


def test_a_chain_that_is_ahead_of_its_checkpoint_is_good(home: Living) -> None:
    home.live(ACTOR, "more")
    assert verdict_of(home).entries == 7


def test_a_chain_rewritten_as_a_whole_is_caught_by_the_checkpoint(home: Living) -> None:
    home.chain(OTHER).unlink()
    home.live(OTHER, "c")
    assert error_of(home, OTHER).startswith("entry 1: expected digest")


def test_a_chain_in_the_place_of_another_is_caught(home: Living) -> None:
    home.chain(ACTOR).write_bytes(home.chain(OTHER).read_bytes())
    assert f"expected the chain of {ACTOR}, found that of {OTHER}" in error_of(home)


def test_a_whole_actor_that_was_deleted_is_missed(home: Living) -> None:
    home.chain(OTHER).unlink()
    home.actor(OTHER).rmdir()
    assert not verify_home(home, home.store).ok
    home.record(Kind.LIFECYCLE, Lifecycle(REMOVED, {"actor": OTHER}))
    assert verify_home(home, home.store).ok


def test_an_actor_that_died_before_its_genesis_is_no_error(home: Living) -> None:
    died = "00000000-0000-8000-8000-000000000003"
    home.actor(died).mkdir()
    assert verdict_of(home, died) == Verdict(died, "", 0, bytes(32).hex(), ok=True)
    home.chain(died).write_bytes(b"torn")
    assert verdict_of(home, died).torn_bytes == 4


def test_content_that_is_missing_or_damaged_is_found(home: Living) -> None:
    digest = content_digest(b"x" * 5000).hex()
    path = home.content / digest[:2] / digest[2:]
    path.write_bytes(b"y" * 5000)
    assert digest in error_of(home)
    assert error_of(home).startswith("entry 2: expected the content that it refers to")
    home.store.delete(digest)
    assert "there is no content" in error_of(home)


def test_content_inside_of_a_long_value_is_looked_at_too(home: Living) -> None:
    long = b"z" * 5000
    home.live(ACTOR, [[{"n": number, "z": long} for number in range(4000)]])
    assert verdict_of(home).ok
    assert content_digest(long).hex() in collect_references(home, home.store.get)
    home.store.delete(content_digest(long).hex())
    assert content_digest(long).hex() in error_of(home)


def test_a_manifest_and_a_component_that_a_genesis_names_must_be_there(home: Living) -> None:
    actor = "00000000-0000-8000-8000-000000000003"
    manifest, component = home.store.put(b"name = 'x'"), home.store.put(b"\0asm")
    home.actor(actor).mkdir()
    with ChainWriter.open(home.chain(actor)) as writer:
        facts = {"manifest": bytes.fromhex(manifest), "component": bytes.fromhex(component)}
        writer.append(Kind.GENESIS, chains.genesis(actor, **facts))
    assert verdict_of(home, actor).ok
    home.store.delete(component)
    assert component in error_of(home, actor)


def test_a_damaged_supervisors_chain_spoils_the_verdict_and_still_serves_as_far_as_it_goes(home: Living) -> None:
    home.chain(OTHER).unlink()
    data = home.supervisor_chain.read_bytes()
    home.checkpoint(actor1=home.live(ACTOR, "c"))
    home.supervisor_chain.write_bytes(home.supervisor_chain.read_bytes()[:-1] + b"?")
    found = verify_home(home, home.store)
    assert not found.supervisor.ok
    assert found.supervisor.entries == 2
    assert not verdict_of(home, OTHER).ok
    home.supervisor_chain.write_bytes(data)
    assert verify_home(home, home.store).supervisor.ok


def test_a_checkpoint_that_is_none_is_said(home: Living) -> None:
    home.record(Kind.CHECKPOINT, Checkpoint({ACTOR: ["many"]}))
    found = verify_home(home, home.store)
    assert found.supervisor.error is not None
    assert found.supervisor.error.startswith("entry 2: expected a checkpoint")


def test_a_chain_is_verified_while_it_is_written(home: Living) -> None:
    with ChainWriter.open(home.chain(ACTOR)) as writer:
        for number in range(50):
            writer.append(Kind.HOST_RESULT, HostResult(number))
            writer.flush()
            assert verdict_of(home).entries == 4 + number


def test_one_chain_can_be_held_against_a_copy_of_a_checkpoint(home: Living) -> None:
    path = home.chain(ACTOR)
    assert verify_chain(path).ok
    assert not verify_chain(path, Checkpoints([(2, bytes(32))])).ok
    assert not verify_chain(path, Checkpoints([(99, bytes(32))])).ok
    assert not verify_chain(path, actor=OTHER).ok


def test_a_file_that_cannot_be_read_is_an_error_of_its_chain(home: Living) -> None:
    home.chain(ACTOR).unlink()
    home.chain(ACTOR).mkdir()
    assert "reading a chain" in error_of(home)


_BOUNDED = """
import resource, sys
from theater.chainlog import verify_chain
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
verdict = verify_chain(sys.argv[1])
assert verdict.ok and verdict.entries == 2001, verdict
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_stays_bounded_however_long_the_chain_is(tmp_path: Path) -> None:
    path = tmp_path / "chain"
    body = os.urandom(100_000)
    chains.write(path, [body] * 2000)
    assert path.stat().st_size > 200_000_000
    grown = subprocess.run([sys.executable, "-c", _BOUNDED, str(path)], capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 20_000


# ---- references


def test_everything_that_a_chain_refers_to_is_collected(home: Living) -> None:
    digest = content_digest(b"x" * 5000).hex()
    assert collect_references(home, home.store.get) == {digest}
    unneeded = home.store.put(b"unneeded")
    home.store.gc(collect_references(home, home.store.get), 0, 1e12)
    assert not home.store.exists(unneeded)
    assert verify_home(home, home.store).ok


def test_nothing_is_collected_from_a_home_that_is_damaged(home: Living) -> None:
    home.chain(OTHER).write_bytes(b"damage, not just a torn tail" * 10)
    with pytest.raises(ChainBroken):
        collect_references(home, home.store.get)


def test_nothing_is_collected_if_content_that_refers_to_content_is_lost(home: Living) -> None:
    home.live(ACTOR, [[{"n": number} for number in range(20_000)]])
    (value,) = collect_references(home, home.store.get) - {content_digest(b"x" * 5000).hex()}
    home.store.delete(value)
    with pytest.raises(UnknownContent):
        collect_references(home, home.store.get)
