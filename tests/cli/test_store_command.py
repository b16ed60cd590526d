"""`theater store`."""

from __future__ import annotations

import json
import os
import time

from commandline import Theater

from theater.core.codec import content_digest
from theater.errors import ContentDamaged, InvalidInput, UnknownContent
from theater.store.content import ContentStore
from theater.store.labels import Labels, named_store

HELLO = content_digest(b"hello\xff").hex()


def test_what_is_put_is_got_by_its_digest(theater: Theater) -> None:
    (theater.home / "file").write_bytes(b"hello\xff")
    assert theater("store", "put", "file").text == f"{HELLO}\n"
    assert theater("store", "put", "-", stdin=b"hello\xff").text == f"{HELLO}\n"
    assert theater("store", "get", HELLO).out == b"hello\xff"
    assert theater.on_terminal("store", "get", HELLO).text == "hello\\xff\n"


def test_what_is_not_there_is_not_found(theater: Theater) -> None:
    assert theater("store", "get", "0" * 64).code == UnknownContent.exit_code
    assert theater("store", "get", "nothing").code == UnknownContent.exit_code
    assert theater("store", "label", "a", "0" * 64).code == UnknownContent.exit_code
    assert theater("store", "put", "nothing").code == 2


def test_damaged_content_is_never_given_out(theater: Theater) -> None:
    theater("store", "put", "-", stdin=b"hello\xff")
    (theater.home / "content" / HELLO[:2] / HELLO[2:]).write_bytes(b"jello\xff")
    done = theater("store", "get", HELLO)
    assert (done.code, done.out) == (ContentDamaged.exit_code, b"")


def test_a_label_stands_for_the_last_content_it_was_given(theater: Theater) -> None:
    first, second = (theater("store", "put", "-", stdin=data).text.strip() for data in (b"one", b"two"))
    for digest in (first, second):
        assert theater("store", "label", "a b", digest).text == f"a b is {digest}\n"
    assert theater("store", "get", "a b").out == b"two"
    assert json.loads(theater("store", "put", "-", "--label", "a b", "--json", stdin=b"three").out)["size"] == 5
    assert theater("store", "get", "a b").out == b"three"


def test_a_label_of_several_stores_needs_the_store(theater: Theater) -> None:
    content = ContentStore(theater.home / "content")
    labels = Labels(theater.home / "labels", content)
    one, two = labels.new(), labels.new()
    labels.store_at_label(one, "x", b"in one")
    assert theater("store", "get", "x").out == b"in one"
    labels.store_at_label(two, "x", b"in two")
    assert theater("store", "get", "x").code == InvalidInput.exit_code
    assert theater("store", "get", "x", "--store", two).out == b"in two"


def test_ls_shows_digest_size_and_labels(theater: Theater) -> None:
    assert json.loads(theater("store", "ls", "--json").out) == []
    theater("store", "put", "-", "--label", "greeting", stdin=b"hello\xff")
    (row,) = json.loads(theater("store", "ls", "--json").out)
    assert (row["digest"], row["size"], row["labels"][0]["label"]) == (HELLO, 6, "greeting")
    assert theater("store", "ls").text.splitlines()[1].split() == [HELLO, "6", "B", "greeting"]


def test_stats_count(theater: Theater) -> None:
    theater("store", "put", "-", "--label", "a", stdin=b"hello\xff")
    found = json.loads(theater("store", "stats", "--json").out)
    assert found == {"count": 1, "size": 6, "damaged": 0, "stores": 1}
    assert theater("store", "stats").text.splitlines()[1].split() == ["size", "6", "B"]


def test_gc_spares_the_young_and_the_referenced(theater: Theater) -> None:
    theater("store", "put", "-", stdin=b"hello\xff")
    theater("store", "put", "-", "--label", "a", stdin=b"labelled")
    assert json.loads(theater("store", "gc", "--json").out) == {"count": 0, "size": 0}
    long_ago = time.time() - 7200
    for folder, _, files in os.walk(theater.home / "content"):
        for file in files:
            os.utime(f"{folder}/{file}", (long_ago, long_ago))
    assert theater("store", "gc").text == "deleted 1, freed 6 B\n"
    assert theater("store", "get", "a").out == b"labelled"


def test_a_grace_that_is_no_time_is_refused(theater: Theater) -> None:
    assert theater("store", "gc", "--grace", "soon").code == InvalidInput.exit_code


def test_alone_it_shows_its_help(theater: Theater) -> None:
    assert "Deletes content that nothing refers to." in theater("store").text


def test_a_store_is_also_the_one_that_manifests_share_by_name(theater: Theater) -> None:
    assert theater("store", "get", "today", "--store", "news").code == UnknownContent.exit_code
    theater("store", "put", "-", "--store", "news", "--label", "today", stdin=b"hello\xff")
    assert theater("store", "get", "today", "--store", "news").out == b"hello\xff"
    assert theater("store", "get", "today", "--store", named_store("news")).out == b"hello\xff"
    (row,) = json.loads(theater("store", "ls", "--store", "news", "--json").out)
    assert row["labels"] == [{"store": named_store("news"), "label": "today"}]
    assert theater("store", "ls", "--store", "No Name").code == InvalidInput.exit_code
