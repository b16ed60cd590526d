"""What a manifest may grant with each handler: one file, with one frozen dataclass, for each that has permissions.

The class is the schema of its `[[handler]]` table (theater/core/schema.py), so a key that it does not have is an error
with its line. Nothing is granted by default: the defaults of a class are what a handler has whose table says no more
than its type. `excess` is how a child is held to what its parent has.
"""

from __future__ import annotations

from typing import Any, Protocol


class Permissions(Protocol):
    """The permissions of one handler."""

    def excess(self, granted: Any) -> str | None:
        """What this has that `granted`, of the same class, has not: the rest of a sentence that begins with "it may";
        None if nothing."""
