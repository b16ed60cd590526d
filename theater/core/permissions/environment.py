"""Which variables of the server's environment an actor sees."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from theater.core.permissions import Asked
from theater.core.quantities import show
from theater.core.schema import Place, key
from theater.errors import InvalidInput

_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}\*?|\*")


def _variables(value: object, place: Place) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidInput(f"found {show(value)}; allowed: an array of names")
    for pattern in value:
        if not isinstance(pattern, str) or _PATTERN.fullmatch(pattern) is None:
            raise InvalidInput(f'found {show(pattern)}; allowed: names such as "HOME", and beginnings such as "APP_*"')
    return tuple(value)


@dataclass(frozen=True, slots=True)
class Environment:
    """Permissions of the handler `environment`.

    Args:
        variables: names, and beginnings of names with a `*` behind them.
    """

    variables: tuple[str, ...] = key(_variables, ())

    def grants(self, name: str) -> bool:
        """Whether the actor may see the variable `name`."""
        return any(_covers(pattern, name) for pattern in self.variables)

    def of(self, environment: Mapping[str, str]) -> dict[str, str]:
        """What the actor sees of an environment, in the order of names."""
        return {name: value for name, value in sorted(environment.items()) if self.grants(name)}

    def excess(self, granted: Self) -> str | None:
        more = [pattern for pattern in self.variables if not granted.grants(pattern)]
        return f"see the variables {', '.join(more)}" if more else None

    def used(self, calls: Sequence[Asked]) -> Self:
        """Who asks for a variable that is not set needs it, too; who lists them is told all that are granted."""
        if any(call.function == "list-vars" for call in calls):
            return self
        names = {str(call.args[0]) for call in calls if call.args}
        return replace(self, variables=tuple(sorted(name for name in names if self.grants(name))))


def _covers(pattern: str, name: str) -> bool:
    """Whether every variable that `name` stands for, which may be a pattern itself, fits `pattern`."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
