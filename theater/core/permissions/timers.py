"""What becomes of the moments of an interval that an actor was not there for."""

# ruff: noqa: RUF009 (`key` is `dataclasses.field` with a reader)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from theater.core import schema
from theater.core.overdue import CatchUp
from theater.core.permissions import Asked
from theater.core.schema import key


@dataclass(frozen=True, slots=True)
class Timers:
    """Permissions of the handler `timers`.

    Args:
        catch_up: which of the messages of an interval that were missed while the actor was down it gets when it is
            back.
    """

    catch_up: CatchUp = key(schema.one_of(CatchUp), CatchUp.ONE)

    def excess(self, granted: Self) -> str | None:
        return None

    def used(self, calls: Sequence[Asked]) -> Self:
        return self
