"""theater:simple/environment: the variables of the server's environment that the manifest names.

A variable that is not granted is, to the actor, one that is not set.
"""

from __future__ import annotations

from collections.abc import Mapping


class Environment:
    """The interface.

    Args:
        variables: those that are granted and set, as they were when the life began.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def get_var(self, name: str) -> str | None:
        return self._variables.get(name)

    def list_vars(self) -> list[tuple[str, str]]:
        return sorted(self._variables.items())

    def exists(self, name: str) -> bool:
        return name in self._variables
