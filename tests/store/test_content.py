"""The content store: what is put is there, once, under its digest, whoever else is at work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from theater.core.codec import content_digest
from theater.errors import ContentDamaged, DiskFull, InvalidInput, UnknownContent
from theater.store import Collected, ContentStore, Stats

HOUR = 3600.0


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def file_of(store_root: Path, digest: str) -> Path:
    return store_root / "content" / digest[:2] / digest[2:]


@pytest.mark.parametrize("data", [b"", b"x", b"theater" * 100_000], ids=["empty", "a byte", "700 kB"])
def test_what_was_put_is_got_under_its_blake3(store: ContentStore, data: bytes) -> None:
    digest = store.put(data)
    assert digest == content_digest(data).hex()
    assert store.get(digest) == data
    assert store.check(digest) == store.size(digest) == len(data)
    assert store.exists(digest)


def test_files_are_private_and_named_by_their_digest(store: ContentStore, tmp_path: Path) -> None:
    path = file_of(tmp_path, store.put(b"secret"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_second_put_writes_nothing(store: ContentStore, tmp_path: Path) -> None:
    digest = store.put(b"same")
    inode = file_of(tmp_path, digest).stat().st_ino
    assert store.put(b"same") == digest
    assert file_of(tmp_path, digest).stat().st_ino == inode
    assert store.stats() == Stats(count=1, size=4, damaged=0)


def test_durable_content_reads_like_any_other(tmp_path: Path) -> None:
    durable = ContentStore(tmp_path, durable=True)
    assert durable.get(durable.put(b"kept")) == b"kept"
    assert durable.put(b"kept") == content_digest(b"kept").hex()


def test_unknown_content_is_an_error_that_names_it(store: ContentStore) -> None:
    missing = content_digest(b"never put").hex()
    assert not store.exists(missing)
    for ask in (store.get, store.size, store.check):
        with pytest.raises(UnknownContent, match=missing):
            ask(missing)
    assert not store.delete(missing)


@pytest.mark.parametrize("words", ["", "ab", "../" * 21 + "a", "A" * 64, "g" * 64, "a" * 63 + "\n", "a" * 63 + "\0"])
def test_what_is_no_digest_never_becomes_a_path(store: ContentStore, words: str) -> None:
    with pytest.raises(InvalidInput):
        store.get(words)
    with pytest.raises(InvalidInput):
        store.delete(words)


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_damaged_content_is_refused_and_set_aside(store: ContentStore, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    digest = store.put(data)
    path = file_of(tmp_path, digest)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ContentDamaged, match=digest):
        store.check(digest)
    assert store.exists(digest)
    with pytest.raises(ContentDamaged, match=digest):
        store.get(digest)
    assert not store.exists(digest)
    assert store.stats().damaged == 1


def test_a_put_repairs_content_that_was_cut(store: ContentStore, tmp_path: Path) -> None:
    digest = store.put(b"whole content")
    file_of(tmp_path, digest).write_bytes(b"whole")
    store.put(b"whole content")
    assert store.get(digest) == b"whole content"
    assert store.stats() == Stats(count=1, size=13, damaged=1)


def test_content_is_listed_in_order(store: ContentStore) -> None:
    digests = [store.put(bytes([number])) for number in range(50)]
    assert list(store) == sorted(digests)


# ---- the collector


def test_the_collector_takes_what_is_old_and_not_referenced(store: ContentStore, tmp_path: Path) -> None:
    needed, old, recent = store.put(b"needed"), store.put(b"old!"), store.put(b"recent")
    for digest in (needed, old):
        os.utime(file_of(tmp_path, digest), (0, 0))
    now = file_of(tmp_path, recent).stat().st_mtime
    assert store.gc({needed}, HOUR, now) == Collected(count=1, size=4)
    assert list(store) == sorted([needed, recent])


def test_content_that_was_put_again_is_recent(store: ContentStore, tmp_path: Path) -> None:
    digest = store.put(b"again")
    os.utime(file_of(tmp_path, digest), (0, 0))
    store.put(b"again")
    now = file_of(tmp_path, digest).stat().st_mtime
    assert store.gc(set(), HOUR, now) == Collected(0, 0)
    assert store.gc(set(), HOUR, now + HOUR + 1) == Collected(1, 5)


def test_the_collector_removes_what_a_dead_process_left_half_written(store: ContentStore, tmp_path: Path) -> None:
    folder = file_of(tmp_path, store.put(b"x")).parent
    draft = folder / ".123.0.abcdef01"
    draft.write_bytes(b"half")
    now = draft.stat().st_mtime
    assert store.stats().count == 1
    store.gc(set(store), HOUR, now)
    assert draft.exists()
    store.gc(set(store), HOUR, now + HOUR + 1)
    assert not draft.exists()


def test_a_collector_that_died_between_its_steps_has_lost_nothing(store: ContentStore, tmp_path: Path) -> None:
    path = file_of(tmp_path, digest := store.put(b"in between"))
    dying = path.with_name(path.name + ".dying")
    path.rename(dying)
    assert store.get(digest) == b"in between"
    store.gc({digest}, 0, dying.stat().st_mtime + 1)
    assert store.exists(digest)


# ---- several processes

_PUTTER = """
import os, sys
from theater.store import ContentStore
root, who = sys.argv[1:]
store = ContentStore(root)
for round in range(1500):
    for number in range(4):
        shared, own = bytes([number]) * 5000, f"{who} {number}".encode()
        assert store.get(store.put(shared)) == shared
        digest = store.put(own)
        assert store.get(digest) == own
        try:
            os.utime(f"{root}/{digest[:2]}/{digest[2:]}", (0, 0))  # so that the collector may take it
        except FileNotFoundError:
            pass  # it is about to put it back
"""

_COLLECTOR = """
import sys, time
from theater.store import ContentStore
store = ContentStore(sys.argv[1])
collected = 0
print(flush=True)
while True:
    collected += store.gc(set(), 3600, time.time()).count
    print(collected, flush=True)
"""


def test_two_processes_put_the_same_content_while_a_third_collects(tmp_path: Path) -> None:
    python = [sys.executable, "-c"]
    with (tmp_path / "collected").open("w+") as collected:
        root = tmp_path / "content"
        collector = subprocess.Popen([*python, _COLLECTOR, str(root)], stdout=collected)
        putters = [subprocess.Popen([*python, _PUTTER, str(root), who]) for who in "ab"]
        try:
            assert [putter.wait(30) for putter in putters] == [0, 0]
        finally:
            for process in (collector, *putters):
                process.kill()
                process.wait()
        collected.seek(0)
        assert int(collected.read().split()[-1]) > 0
    store = ContentStore(root)
    shared = {content_digest(bytes([number]) * 5000).hex() for number in range(4)}
    assert shared <= set(store)
    assert store.stats().damaged == 0


def test_a_full_disk_leaves_nothing_of_the_content(small_disk: Path) -> None:
    store = ContentStore(small_disk)
    kept = store.put(b"small")
    with pytest.raises(DiskFull):
        store.put(bytes(4 << 20))
    assert list(store) == [kept]
    assert not list(small_disk.glob("*/.*"))
    assert store.get(store.put(b"still works")) == b"still works"
