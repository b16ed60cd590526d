"""What a script of a replay has happen to the guest, one after the other, and how a host call ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from theater.core.chain import Outcome
from theater.core.life import Life
from theater.core.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Cue:
    """An export is to be called.

    Args:
        args: what it is given beside the state.
        is_cut: the record says nothing of what the guest did in it, so it is not entered.
    """

    interface: str
    function: str
    args: tuple[Any, ...]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Resume:
    """A guest is to be made and to get the memory of a snapshot, with which the record begins."""

    life: Life
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Compare:
    """The guest is what this snapshot says, or it is not: `Script.confirm` is to be told."""

    snapshot: Snapshot


class Cut(BaseException):
    """The record of the call ends here: the guest is given up. Passes through host code as SystemExit does."""


class Failed(BaseException):
    """The host call ended the guest when it was recorded, and does so again.

    Attributes:
        outcome: what the record says of the call then.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome
