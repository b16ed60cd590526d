"""A guest's memory as a value: kept of one instance, given to another, the same afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from compiled import API, Host, compiled, faults

from theater.core.memory_image import load, store
from theater.store.content import ContentStore
from theater.wasm.artefacts import Artefact
from theater.wasm.guest import Guest


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return compiled(tmp_path_factory.mktemp("kept"), faults())


def made(artefact: Artefact) -> Guest:
    guest = Guest(artefact, Host())
    guest.keep_image()
    return guest


def test_two_guests_of_a_component_have_the_same_root_before_and_after_the_same_calls(artefact: Artefact) -> None:
    one, other = made(artefact), made(artefact)
    assert one.state_root() == other.state_root()
    before = one.state_root()
    for guest in (one, other):
        assert guest.call(API, "echo", (b"some bytes",)) == b"some bytes"
    assert one.state_root() == other.state_root() != before


def test_a_memory_that_was_kept_is_restored(artefact: Artefact, tmp_path: Path) -> None:
    content = ContentStore(tmp_path / "content")
    one = made(artefact)
    one.call(API, "echo", (b"some bytes",))
    kept = one.keep()
    ref = store(kept, content.put)
    assert load(ref, content.get) == kept
    other = made(artefact)
    other.restore(load(ref, content.get))
    assert other.state_root() == one.state_root() == kept.root
