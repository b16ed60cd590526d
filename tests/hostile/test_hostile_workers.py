"""Workers in whose place somebody else speaks: what that does to the server, to actors, and to itself."""

from __future__ import annotations

import os
import time

import pytest
from attacks import ALL_ANSWERED, BOLD, ON_ACTORS, PATIENT
from flood import Besieged, besieged, flood

LONG = os.environ.get("THEATER_TESTS") == "long"
WORKERS, SECONDS = (50, 20.0) if LONG else (12, 3.0)
MOST_GROWN = 64 << 20
PATIENCE = 30.0


def ended(house: Besieged, actor: str) -> str:
    """Why an actor that attacked has ended."""
    deadline = time.monotonic() + PATIENCE
    while (row := house.row(actor)).state in ("running", "starting"):
        assert time.monotonic() < deadline, f"{actor} goes on"
        time.sleep(0.02)
    return str(row.last_exit)


def test_who_breaks_the_rules_is_ended_and_the_reason_says_so() -> None:
    with besieged() as house:
        house.start("bystander")
        pid = house.client.hello().pid
        for name in sorted(BOLD):
            hostile = house.start(f"hostile-{name}-1")
            assert "broke the rules of the bus" in ended(house, hostile.id), name
            assert house.client.request("bystander", b"e") == b"e"
        assert house.client.hello().pid == pid


def test_who_asks_much_and_reads_late_has_every_answer() -> None:
    """The server stops hearing it meanwhile. What it had read of it before must not be forgotten."""
    with besieged() as house:
        patient = house.start("hostile-late-1")
        assert f"status={ALL_ANSWERED}," in ended(house, patient.id)


@pytest.mark.parametrize(
    "attacks", [sorted(PATIENT), sorted(ON_ACTORS), sorted(PATIENT | ON_ACTORS | BOLD)], ids=["server", "actor", "all"]
)
def test_a_flood_is_bounded_and_keeps_nobody_from_being_answered(attacks: list[str]) -> None:
    figures = flood(attacks, WORKERS, SECONDS)
    assert figures["grown"] <= MOST_GROWN, figures
    assert figures["victim_grown"] <= MOST_GROWN, figures
    assert figures["failed"] == 0, figures
    assert figures["answered"] > 0, figures
