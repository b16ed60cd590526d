"""Servers for tests: one for each module, and one for each test that ends, starves or breaks its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wasmtime
from house import House, make_house

PROBE = Path(__file__).parents[1] / "actors" / "probe.wat"


@pytest.fixture(scope="session")
def probe() -> bytes:
    """The component of tests/actors/probe.wat."""
    return bytes(wasmtime.wat2wasm(PROBE.read_text()))


@pytest.fixture(scope="module")
def house(probe: bytes) -> Iterator[House]:
    """A server that the tests of a module share; each uses actors of its own."""
    shared = make_house(probe)
    try:
        yield shared.open()
    finally:
        shared.close()


@pytest.fixture
def closed_house(probe: bytes) -> Iterator[House]:
    """A house whose server has not been started."""
    own = make_house(probe)
    try:
        yield own
    finally:
        own.close()


@pytest.fixture
def own_house(closed_house: House) -> House:
    """A server for this test alone."""
    return closed_house.open()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Names of actors, of at most eight letters, that no other test of the module uses."""
    counter = getattr(request.module, "_names", 0)

    def fresh() -> str:
        nonlocal counter
        counter += 1
        request.module._names = counter  # type: ignore[union-attr]
        return f"n{counter}"

    return fresh
