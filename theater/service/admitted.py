"""The lives that a service serves, as the supervisor has named them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from theater.core.handlers import HANDLERS, permissions_of
from theater.core.permissions import Permissions
from theater.core.wire import Admit


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the actor that concern a service.

    Args:
        message: bytes of one message.
        mailbox: how many calls may wait for it.
        request_timeout: seconds that somebody waits who does not say how long.
        call_timeout: seconds that one call may last; None for any time.
    """

    message: int
    mailbox: int
    request_timeout: float
    call_timeout: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Admitted:
    """One life of one actor.

    Args:
        actor: its id.
        incarnation: which life it is.
        name: of its manifest.
        where: the manifest's file, whose folder relative paths in permissions start from.
        folder: the actor's folder in the home.
        permissions: what its manifest grants, by handler: instances of the classes in theater/core/permissions.
        limits: see `Limits`.
    """

    actor: str
    incarnation: int
    name: str
    where: Path
    folder: Path
    permissions: Mapping[str, Permissions]
    limits: Limits

    @classmethod
    def from_wire(cls, message: Admit) -> Self:
        """What the supervisor said.

        Raises:
            ManifestError: it grants what cannot be granted.
        """
        permissions: dict[str, Any] = {
            name: permissions_of(name, plain) for name, plain in message.permissions.items() if name in HANDLERS
        }
        where, folder = Path(message.where), Path(message.folder)
        limits = Limits(**message.limits)
        return cls(message.actor, message.incarnation, message.name, where, folder, permissions, limits)
