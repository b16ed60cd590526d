"""A plan is made from its seed alone."""

from __future__ import annotations

from itertools import pairwise

from tests.faults.plan import Kind, Victim, plan


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan(7, 60.0) == plan(7, 60.0)
    assert plan(7, 60.0) != plan(8, 60.0)


def test_a_plan_has_every_kind_of_fault_and_of_victim() -> None:
    faults = plan(1, 3600.0)
    assert {fault.kind for fault in faults} == set(Kind)
    assert {fault.victim for fault in faults if fault.kind is Kind.KILL} == set(Victim)
    assert all(before.at <= behind.at for before, behind in pairwise(faults))


def test_only_what_is_wanted_is_in_a_plan() -> None:
    faults = plan(1, 60.0, frozenset({"kill", "worker", "spawner"}))
    assert {fault.kind for fault in faults} == {Kind.KILL}
    assert {fault.victim for fault in faults} == {Victim.WORKER, Victim.SPAWNER}
