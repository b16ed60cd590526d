"""Whose stores an actor may open, what it shares, and how much it may keep."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from theater.core.permissions.store import Store as Permissions
from theater.errors import InvalidInput, LimitExceeded, UnknownContent
from theater.host.base import Refused
from theater.host.store import Store
from theater.host.stores import Stores
from theater.store.content import ContentStore
from theater.store.labels import MOST_OF_A_LABEL, Labels, Room, named_store
from theater.store.used import Used, read_used, write_used

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"
NIL = "00000000-0000-0000-0000-000000000000"


def labels_in(folder: Path) -> Labels:
    return Labels(folder / "labels", ContentStore(folder / "content"))


def actor(folder: Path, who: str = ONE, **permissions: Any) -> Store:
    """The interface of an actor in the home `folder`."""
    return Store(Stores(labels_in(folder), who, Permissions(**permissions)))


def refusal(ask: Any, *args: Any) -> str:
    with pytest.raises((Refused, LimitExceeded)) as refused:
        ask(*args)
    return str(refused.value)


# ---- whose


def test_a_store_is_its_makers_in_all_of_its_lives(tmp_path: Path) -> None:
    first = actor(tmp_path)
    store = first.new()
    kept = first.store_at_label(store, "it", b"content")
    second = actor(tmp_path)
    assert second.get_by_label(store, "it") == kept
    assert second.get(store, kept) == b"content"


def test_a_store_of_another_actor_is_not_opened_by_its_id(tmp_path: Path) -> None:
    owner, stranger = actor(tmp_path), actor(tmp_path, TWO)
    store = owner.new()
    kept = owner.store_at_label(store, "it", b"content")
    reading = ((stranger.get, kept), (stranger.exists, kept), (stranger.get_by_label, "it"))
    for ask, what in reading:
        assert "those that it has made, and no other" in refusal(ask, store, what)
    for ask in (stranger.list_labels, stranger.list_all_content, stranger.calculate_total_size):
        assert "may read" in refusal(ask, store)
    for ask in (stranger.label, stranger.remove_from_label, stranger.replace_at_label):
        assert "may write" in refusal(ask, store, "it", kept)
    for ask in (stranger.store_at_label, stranger.replace_content_at_label):
        assert "may write" in refusal(ask, store, "it", b"x")
    assert "may write" in refusal(stranger.store, store, b"x")
    assert "may write" in refusal(stranger.remove_label, store, "it")
    assert refusal(stranger.list_labels, TWO) == refusal(stranger.list_labels, store).replace(store, TWO)
    assert owner.list_labels(store) == ["it"]


@pytest.mark.parametrize("store", ["", "../x", "\0", "x" * 10_000, ONE.upper(), f"{ONE}/../{TWO}", "Cache", "a/b"])
def test_what_is_no_id_and_no_name_opens_nothing(tmp_path: Path, store: str) -> None:
    with pytest.raises((Refused, InvalidInput)):
        actor(tmp_path).list_labels(store)


def test_nobody_owns_the_store_of_the_command_line_nor_that_of_a_name(tmp_path: Path) -> None:
    labels = labels_in(tmp_path)
    labels.new(NIL)
    labels.ensure(named_store("cache"))
    for store in (NIL, "cache", named_store("cache")):
        assert "may read" in refusal(actor(tmp_path).list_labels, store)


def test_a_store_of_a_name_is_the_same_for_all_who_are_granted_it(tmp_path: Path) -> None:
    writer = actor(tmp_path, ONE, write=("cache",))
    reader = actor(tmp_path, TWO, read=("cache",))
    assert reader.list_labels("cache") == []
    kept = writer.store_at_label("cache", "it", b"content")
    assert reader.get("cache", kept) == b"content"
    assert "may write" in refusal(reader.store, "cache", b"x")
    assert "may read" in refusal(writer.get, "cache", kept)
    assert 'and "cache"' in refusal(reader.list_labels, "other")


def test_a_store_can_be_granted_by_its_id(tmp_path: Path) -> None:
    owner = actor(tmp_path)
    store = owner.new()
    kept = owner.store(store, b"content")
    assert actor(tmp_path, TWO, read=(store,)).get(store, kept) == b"content"


def test_a_digest_that_one_knows_gives_nothing_of_another_store(tmp_path: Path) -> None:
    one, two = actor(tmp_path), actor(tmp_path, TWO)
    kept = one.store(one.new(), b"secret")
    store = two.new()
    assert not two.exists(store, kept)
    with pytest.raises(UnknownContent):
        two.get(store, kept)
    with pytest.raises(UnknownContent):
        two.label(store, "it", kept)


# ---- how much


def test_all_stores_of_an_actor_have_one_quota(tmp_path: Path) -> None:
    owner = actor(tmp_path, quota=1000)
    first, second = owner.new(), owner.new()
    owner.store(first, bytes(600))
    owner.store(second, b"x" * 400)
    sentence = refusal(owner.store, second, b"more")
    assert "may have 400 (quota = 1000B for all stores of this actor)" in sentence or "(quota = 1000" in sentence
    assert owner.store(first, bytes(600))
    assert "quota" in refusal(actor(tmp_path, quota=1000).store, first, b"more")
    assert actor(tmp_path, quota=1004).store(first, b"more")


def test_a_shared_store_has_a_quota_of_its_own(tmp_path: Path) -> None:
    one = actor(tmp_path, ONE, write=("cache",), store_quota=1000, quota=0)
    two = actor(tmp_path, TWO, write=("cache",), store_quota=1000, quota=0)
    one.store("cache", bytes(600))
    two.store("cache", b"x" * 400)
    assert "(store_quota = 1000" in refusal(one.store, "cache", b"x")
    assert "(quota = 0" in refusal(one.store, one.new(), b"x")


def test_contents_and_labels_are_counted(tmp_path: Path) -> None:
    owner = actor(tmp_path, items=2)
    store = owner.new()
    kept = owner.store(store, b"1")
    owner.store(store, b"2")
    assert "more contents" in refusal(owner.store, store, b"3")
    owner.label(store, "a", kept)
    owner.label(store, "b", kept)
    owner.label(store, "b", kept)
    assert "more labels" in refusal(owner.label, store, "c", kept)
    owner.remove_label(store, "a")
    owner.replace_at_label(store, "c", kept)
    assert owner.list_labels(store) == ["b", "c"]


def test_an_actor_makes_so_many_stores(tmp_path: Path) -> None:
    owner = actor(tmp_path, stores=2)
    owner.new()
    owner.new()
    assert "may have 2" in refusal(owner.new)
    assert "may have 2" in refusal(actor(tmp_path, stores=2).new)
    actor(tmp_path, TWO, stores=1).new()


def test_a_label_stands_for_so_many_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_OF_A_LABEL == 10_000
    monkeypatch.setattr("theater.store.labels.MOST_OF_A_LABEL", 2)
    owner = actor(tmp_path)
    store = owner.new()
    owner.store_at_label(store, "it", b"1")
    owner.store_at_label(store, "it", b"2")
    owner.store_at_label(store, "it", b"2")
    assert "remove some" in refusal(owner.store_at_label, store, "it", b"3")


def test_an_actor_is_not_given_more_than_crosses_into_wasm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("theater.host.store.LARGEST_PAYLOAD", 10)
    owner = actor(tmp_path)
    store = owner.new()
    kept = owner.store(store, bytes(11))
    assert "11 bytes" in refusal(owner.get, store, kept)


# ---- the count


def test_what_is_used_is_counted_as_it_comes(tmp_path: Path) -> None:
    labels = labels_in(tmp_path)
    store = labels.new()
    for data in (b"", b"12345", b"12345", b"123"):
        labels.store_at_label(store, data.decode() or "none", data)
    assert labels.used(store) == Used(contents=3, size=8, labels=3)
    labels.remove_label(store, "123")
    labels.remove_label(store, "123")
    assert labels.used(store).labels == 2
    assert labels.calculate_total_size(store) == 8


@pytest.mark.parametrize("damage", [b"", b"torn", bytes(56), None])
def test_a_count_that_is_torn_or_missing_is_made_again(tmp_path: Path, damage: bytes | None) -> None:
    labels = labels_in(tmp_path)
    store = labels.new()
    labels.store_at_label(store, "it", b"12345")
    path = tmp_path / "labels" / store / "used"
    path.unlink() if damage is None else path.write_bytes(damage)
    assert labels.used(store) == Used(1, 5, 1)
    labels.store(store, b"123")
    assert read_used(str(path)) == Used(2, 8, 1)


def test_a_count_that_a_killed_writer_left_too_high_is_corrected_before_anybody_is_refused(tmp_path: Path) -> None:
    labels = labels_in(tmp_path)
    store = labels.new()
    labels.store(store, b"12345")
    write_used(str(tmp_path / "labels" / store / "used"), Used(2, 1000, 0), durable=False)
    labels.store(store, b"123", Room(size=10))
    assert labels.used(store) == Used(2, 8, 0)
    with pytest.raises(LimitExceeded):
        labels.store(store, b"1234", Room(size=10))


# ---- at once


def _write_much(folder: Path, who: int, times: int) -> None:
    writer = actor(folder, ONE if who else TWO, write=("cache",), read=("cache",))
    for number in range(times):
        writer.store_at_label("cache", "both", b"%d %d" % (who, number))
        writer.store_at_label("cache", f"own {who}", b"same %d" % number)


def test_processes_that_share_a_store_lose_nothing_of_each_other(tmp_path: Path) -> None:
    times, context = 60, multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_much, args=(tmp_path, who, times)) for who in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    labels, store = labels_in(tmp_path), named_store("cache")
    assert len(labels.labelled(store, "both")) == 2 * times
    assert labels.used(store) == Used(3 * times, labels.calculate_total_size(store), 3)
    assert len(labels.list_all_content(store)) == 3 * times


def _make(folder: Path, barrier: Any, found: Any) -> None:
    barrier.wait()
    found.put(actor(folder, write=("new",)).store("new", b"x"))


def test_a_store_of_a_name_is_made_once_however_many_need_it_first(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(4), context.Queue()
    makers = [context.Process(target=_make, args=(tmp_path, barrier, found)) for _ in range(4)]
    for maker in makers:
        maker.start()
    assert len({found.get(timeout=60)["hash"] for _ in makers}) == 1
    for maker in makers:
        maker.join(60)
    assert labels_in(tmp_path).stores() == [named_store("new")]


# ---- the collector


def test_what_belongs_to_a_store_or_a_label_outlives_a_collection(tmp_path: Path) -> None:
    owner, labels, content = actor(tmp_path), labels_in(tmp_path), ContentStore(tmp_path / "content")
    store = owner.new()
    kept = [owner.store(store, b"unlabelled"), owner.store_at_label(store, "it", b"labelled")]
    shared = actor(tmp_path, TWO, write=("cache",)).store("cache", b"shared")
    lost = content.put(b"nobody's")
    for digest in content:
        os.utime(content.path(digest), (1, 1))
    content.gc(labels.references(), 0.0, time.time())
    assert [owner.get(store, each) for each in kept] == [b"unlabelled", b"labelled"]
    assert content.exists(shared["hash"])
    assert not content.exists(lost)
