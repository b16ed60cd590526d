"""Workers that are forked before anybody orders them: those that are not taken do not stay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from house import House, eventually, make_house, manifest

NAMES = [f"child{number}" for number in range(8)]


def tree(strategy: str) -> str:
    lines = ["[[supervisor]]", 'name = "pool"', 'under = "root"', f'strategy = "{strategy}"', "intensity = 100"]
    for name in NAMES:
        lines += ["[[child]]", f'name = "{name}"', 'under = "pool"', f'manifest = "{name}.toml"']
    return "\n".join(lines) + "\n"


@pytest.fixture(params=["one_for_all", "rest_for_one"])
def house(request: pytest.FixtureRequest, probe: bytes) -> Iterator[House]:
    """A server with a supervisor of eight."""
    found = make_house(probe)
    for name in NAMES:
        (found.folder / f"{name}.toml").write_text(manifest(name))
    (found.folder / "theater.toml").write_text(tree(request.param))
    found.open("--tree", str(found.folder / "theater.toml"))
    yield found
    found.close()


def lives(house: House) -> list[int]:
    """The incarnations of those that run."""
    return [row.incarnation for row in house.client.list() if row.state == "running"]


def test_a_restart_of_several_leaves_no_worker_that_nobody_took(house: House) -> None:
    eventually(lambda: lives(house) == [1] * len(NAMES), "all run")
    for life in (2, 3):
        house.kill_worker(house.row(NAMES[0]).id)
        eventually(lambda life=life: lives(house) == [life] * len(NAMES), "all run again")
    eventually(lambda: len(house.spares()) == 1, "one spare is kept, and nothing else")
    eventually(lambda: not house.zombies(), "nobody is left unreaped")
