"""A server says which walls stand around its workers, and may be told to run with all or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

sys.path.append(str(Path(__file__).parents[1] / "server"))

from house import House, eventually, make_house

from theater.errors import WallMissing
from theater.server.required_walls import refuse_what_is_missing
from theater.walls.standing import Standing, Wall

PROBE = Path(__file__).parents[1] / "actors" / "probe.wat"


@pytest.fixture
def house() -> Iterator[House]:
    made = make_house(bytes(wasmtime.wat2wasm(PROBE.read_text())))
    try:
        yield made.open("--require-walls")
    finally:
        made.close()


def test_a_server_that_requires_all_walls_runs_where_they_stand_and_says_which(house: House) -> None:
    row = house.start("a")
    walls = house.client.hello().walls
    assert walls is not None
    assert walls.startswith("seccomp landlock(")
    assert house.client.inspect(row.id).facts["walls"] == walls
    assert "standing" in house.log_text()


def test_a_missing_wall_is_refused_in_a_sentence_with_a_code_of_its_own() -> None:
    with pytest.raises(
        WallMissing, match="--require-walls, and not all stand: landlock: this kernel has none"
    ) as found:
        refuse_what_is_missing(Standing((Wall("seccomp"), Wall("landlock", "this kernel has none", stands=False))))
    assert found.value.exit_code == 15
    assert Standing((Wall("a"), Wall("b", "why", stands=False))).summary() == "a; missing: b"


def test_speculation_is_given_up_by_all_or_the_server_says_why_not() -> None:
    """Which of the two depends on the processor and on how the kernel was booted."""
    made = make_house(bytes(wasmtime.wat2wasm(PROBE.read_text())))
    try:
        server = made.popen("--speculation-controls")
        made.server = server
        eventually(lambda: server.poll() is not None or "standing" in made.log_text(), "it runs, or it has ended")
        if server.poll() is None:
            made.await_server()
            row = made.start("a")
            assert str(made.client.inspect(row.id).facts["walls"]).endswith("speculation-controls namespaces")
        else:
            assert server.returncode == 15
            assert "a process cannot turn speculation off here" in made.log_text()
    finally:
        made.close()
