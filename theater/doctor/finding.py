"""What the doctor says of one thing: how it is, whose matter it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from theater.errors import TheaterError


class Verdict(StrEnum):
    """`note`: it works, and there is something to know, or something that fewer people need is missing."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        area: kernel, limits, home, disk, clock, packages, toolchains, cache or server.
        what: the thing.
        says: how it is, one sentence.
        advice: what to do; empty if nothing is to be done.
        fault: of a problem, the class of error whose exit code it has.
    """

    area: str
    what: str
    verdict: Verdict
    says: str
    advice: str = ""
    fault: type[TheaterError] = TheaterError

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "area": self.area,
            "what": self.what,
            "verdict": self.verdict.value,
            "says": self.says,
            "advice": self.advice or None,
        }


def ok(area: str, what: str, says: str) -> Finding:
    return Finding(area, what, Verdict.OK, says)


def note(area: str, what: str, says: str, advice: str = "") -> Finding:
    return Finding(area, what, Verdict.NOTE, says, advice)


def problem(area: str, what: str, says: str, advice: str, fault: type[TheaterError] = TheaterError) -> Finding:
    return Finding(area, what, Verdict.PROBLEM, says, advice, fault)


def exit_code(findings: Iterable[Finding]) -> int:
    """0 if nothing is a problem, else that of the first one."""
    return next((found.fault.exit_code for found in findings if found.verdict is Verdict.PROBLEM), 0)
