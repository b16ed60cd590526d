"""The stores of actors: content that belongs to one of them, and ordered labels."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from effort import effort
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theater.core.codec import content_digest
from theater.errors import Conflict, ContentDamaged, InvalidInput, UnknownContent
from theater.store import ContentStore, Labels

_ID = "00000000-0000-8000-8000-00000000000a"


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return Labels(tmp_path / "labels", ContentStore(tmp_path / "content"))


@pytest.fixture
def mine(labels: Labels) -> str:
    return labels.new()


def test_a_new_store_has_a_uuid_and_nothing_in_it(labels: Labels) -> None:
    store = labels.new()
    assert str(uuid.UUID(store)) == store
    assert labels.list_labels(store) == labels.list_all_content(store) == []
    assert labels.calculate_total_size(store) == 0
    assert labels.stores() == [store]


def test_a_store_can_be_given_its_id_once(labels: Labels) -> None:
    given_id = "00000000-0000-8000-8000-000000000001"
    assert labels.new(given_id) == given_id
    with pytest.raises(Conflict, match=given_id):
        labels.new(given_id)


def test_content_belongs_to_the_store_that_keeps_it(labels: Labels, mine: str) -> None:
    other = labels.new()
    digest = labels.store(mine, b"content")
    assert labels.get(mine, digest) == b"content"
    assert labels.exists(mine, digest)
    assert not labels.exists(other, digest)
    with pytest.raises(UnknownContent, match=digest):
        labels.get(other, digest)
    with pytest.raises(UnknownContent, match=digest):
        labels.label(other, "stolen", digest)


def test_the_size_of_a_store_counts_each_content_once(labels: Labels, mine: str) -> None:
    for data in (b"four", b"four", b"sevens!"):
        labels.store(mine, data)
    assert labels.calculate_total_size(mine) == 11
    assert labels.list_all_content(mine) == sorted(content_digest(data).hex() for data in (b"four", b"sevens!"))


def test_the_newest_content_of_a_label_is_the_one_that_was_added_last(labels: Labels, mine: str) -> None:
    first, second = labels.store_at_label(mine, "log", b"1"), labels.store_at_label(mine, "log", b"2")
    assert labels.get_by_label(mine, "log") == second
    labels.label(mine, "log", first)
    assert labels.labelled(mine, "log") == [second, first]
    labels.remove_from_label(mine, "log", first)
    assert labels.get_by_label(mine, "log") == second
    labels.remove_from_label(mine, "log", second)
    assert labels.get_by_label(mine, "log") is None
    assert labels.list_labels(mine) == []
    assert labels.exists(mine, first)


def test_replacing_leaves_one(labels: Labels, mine: str) -> None:
    first = labels.store_at_label(mine, "a", b"1")
    labels.store_at_label(mine, "a", b"2")
    third = labels.replace_content_at_label(mine, "a", b"3")
    assert labels.labelled(mine, "a") == [third]
    labels.replace_at_label(mine, "a", first)
    assert labels.labelled(mine, "a") == [first]


def test_removing_a_label_that_is_not_there_is_no_error(labels: Labels, mine: str) -> None:
    labels.remove_label(mine, "none")
    labels.store_at_label(mine, "some", b"1")
    labels.remove_label(mine, "some")
    assert labels.get_by_label(mine, "some") is None


@settings(max_examples=effort(30, 200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60),
                min_size=1, max_size=5, unique=True))  # fmt: skip
def test_any_text_can_be_a_label(tmp_path: Path, names: list[str]) -> None:
    labels = Labels(tmp_path / "labels", ContentStore(tmp_path / "content"))
    store = labels.new()
    for name in names:
        labels.store_at_label(store, name, name.encode())
    assert labels.list_labels(store) == sorted(names)
    assert {name: labels.get(store, labels.get_by_label(store, name) or "") for name in names} == {
        name: name.encode() for name in names
    }


@pytest.mark.parametrize("name", ["..", "../../x", "/etc/passwd", ".lock", "a" * 255, "ä" * 127, "\n\x1b[2J"])
def test_a_label_never_becomes_a_path(labels: Labels, mine: str, tmp_path: Path, name: str) -> None:
    before = {path for path in tmp_path.rglob("*") if "labels" not in path.parts}
    labels.store_at_label(mine, name, b"x")
    assert labels.list_labels(mine) == [name]
    strangers = {path for path in tmp_path.rglob("*") if "labels" not in path.parts and "content" not in path.parts}
    assert strangers <= before


@pytest.mark.parametrize("name", ["", "a" * 256, "ä" * 128, "a\0b", "\ud800"])
def test_what_cannot_be_a_label_is_refused(labels: Labels, mine: str, name: str) -> None:
    for ask in (labels.get_by_label, labels.remove_label):
        with pytest.raises(InvalidInput, match="label"):
            ask(mine, name)
    with pytest.raises(InvalidInput, match="label"):
        labels.store_at_label(mine, name, b"x")
    assert labels.list_all_content(mine) == []


@pytest.mark.parametrize("store", ["", "..", "x", _ID.upper(), f"{{{_ID}}}"])
def test_what_is_no_store_id_is_refused(labels: Labels, store: str) -> None:
    with pytest.raises(InvalidInput):
        labels.list_labels(store)
    with pytest.raises(InvalidInput):
        labels.new(store)


def test_an_unknown_store_is_an_error_that_names_it(labels: Labels) -> None:
    store = str(uuid.uuid4())
    with pytest.raises(UnknownContent, match=store):
        labels.store(store, b"x")


def test_a_label_file_that_was_changed_is_not_believed(labels: Labels, mine: str, tmp_path: Path) -> None:
    labels.store_at_label(mine, "a", b"1")
    (path,) = (tmp_path / "labels" / mine / "labels").iterdir()
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    with pytest.raises(ContentDamaged):
        labels.get_by_label(mine, "a")


def test_what_any_store_holds_is_referenced(labels: Labels, mine: str) -> None:
    digests = {labels.store(mine, b"1"), labels.store_at_label(labels.new(), "x", b"2")}
    assert labels.references() == digests


_LABELLER = """
import sys
from theater.store import ContentStore, Labels
root, store, who = sys.argv[1:]
labels = Labels(root + "/labels", ContentStore(root + "/content"))
for number in range(100):
    labels.store_at_label(store, "shared", f"{who} {number}".encode())
"""


def test_two_processes_that_add_to_one_label_lose_nothing(labels: Labels, mine: str, tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _LABELLER, str(tmp_path), mine, who], env=os.environ) for who in "ab"
    ]
    assert [writer.wait(30) for writer in writers] == [0, 0]
    expected = {content_digest(f"{who} {number}".encode()).hex() for who in "ab" for number in range(100)}
    assert set(labels.labelled(mine, "shared")) == expected
    assert len(labels.labelled(mine, "shared")) == 200


def test_whoever_must_know_first_is_told_before_each_change_and_can_prevent_it(tmp_path: Path) -> None:
    told: list[str] = []
    root, content = tmp_path / "labels", ContentStore(tmp_path / "content")
    labels = Labels(root, content, lambda: told.append("change"))
    store = labels.new()
    digest = labels.store(store, b"data")
    labels.label(store, "a", digest)
    labels.label(store, "a", digest)  # changes nothing
    labels.remove_label(store, "a")
    labels.get(store, digest)
    assert len(told) == 4

    def refuse() -> None:
        raise RuntimeError("the record takes nothing")

    careful = Labels(root, content, refuse)
    for change in (careful.new, lambda: careful.store(store, b"more"), lambda: careful.label(store, "b", digest)):
        with pytest.raises(RuntimeError):
            change()
    assert labels.stores() == [store]
    assert labels.list_labels(store) == []
    assert labels.list_all_content(store) == [digest]
