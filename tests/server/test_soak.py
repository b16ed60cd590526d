"""A short soak (benchmarks/soak.py): workers die at random instants while clients and actors talk."""

from __future__ import annotations

import pytest
from house import House

from benchmarks.soak import Soak
from benchmarks.soak_tree import TreeSoak


@pytest.mark.parametrize("everyone", [pytest.param(False, id="workers"), pytest.param(True, id="everyone")])
def test_sixty_kills_leave_nothing_unanswered_unrecorded_or_behind(closed_house: House, everyone: bool) -> None:
    found = Soak(closed_house, kills=60, seed=7, everyone=everyone).run()
    assert found.kills == 60
    assert found.silent == []
    assert found.ends["reply"] > 5  # On a busy machine many kills come while nobody has got to work.
    assert set(found.ends) <= {"reply", "ActorDown", "ActorFailed", "TimedOut", "MailboxFull"}
    assert found.descriptors[1] <= found.descriptors[0] + 2
    assert found.processes[1] <= found.processes[0]
    assert found.memory_kib[1] < found.memory_kib[0] + 20_000


def test_sixty_kills_leave_a_tree_of_three_levels_whole(closed_house: House) -> None:
    """Strategies, escalation and order are checked from the record alone (benchmarks/soak_tree.py)."""
    found = TreeSoak(closed_house, kills=60, seed=3).run()
    assert found.kills == 60
    assert found.ends["reply"] > 5
    assert found.descriptors[1] <= found.descriptors[0] + 2
    assert found.processes[1] <= found.processes[0]
