"""What a manifest may grant with each handler: one file, with one frozen dataclass, for each that has permissions.

The class is the schema of its `[[handler]]` table (theater/core/schema.py), so a key that it does not have is an error
with its line. Nothing is granted by default: the defaults of a class are what a handler has whose table says no more
than its type. `excess` is how a child is held to what its parent has, and `used` how a record shows what of it all was
needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

from theater.core.values import Err


class Asked(NamedTuple):
    """A host call of a chain and what it was told.

    Args:
        interface: of the handler, full WIT name.
        function: WIT name.
        args: as the guest gave them.
        answer: what it was told: `Ok`, `Err`, or a plain value; None, too, if it never was told.
    """

    interface: str
    function: str
    args: tuple[Any, ...]
    answer: Any

    @property
    def refused(self) -> bool:
        """Whether it was told an error."""
        return isinstance(self.answer, Err)


class Permissions(Protocol):
    """The permissions of one handler."""

    def excess(self, granted: Any) -> str | None:
        """What this has that `granted`, of the same class, has not: the rest of a sentence that begins with "it may";
        None if nothing."""

    def used(self, calls: Sequence[Asked]) -> Self:
        """The least of these permissions with which none of `calls` would be answered otherwise than it was.

        What is no access but a limit or a habit (a timeout, a seed) stays as it is. Refused calls count for nothing;
        content of an argument that was kept apart may be missing from it (`theater.core.codec.Ref`, `Veiled`).
        """


@runtime_checkable
class Placed(Protocol):
    """Permissions that name files or folders, which stand beside the manifest that names them."""

    def placed(self, folder: str) -> Self:
        """These with absolute paths, so that those of two manifests can be held against each other.

        Args:
            folder: absolute path of the manifest's folder.
        """


@runtime_checkable
class Frugal(Protocol):
    """Permissions of a handler with a service, with some of which nothing is left for the service to do."""

    @property
    def needs_service(self) -> bool: ...
