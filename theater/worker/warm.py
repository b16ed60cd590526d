"""What a worker is born with."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any, Protocol

from theater.core.memory_image import MemoryImage
from theater.host.base import Seam
from theater.host.wasi import GuestHost
from theater.wasm.artefacts import Artefact


class Player(Protocol):
    """What an actor asks of its guest: `theater.wasm.guest.Guest`, or who stands in for it in a rehearsal."""

    @property
    def exports(self) -> Set[tuple[str, str]]: ...

    def call(self, interface: str, function: str, args: tuple[Any, ...], timeout: float | None = None) -> Any: ...

    def shaped(self, interface: str, function: str, params: tuple[Any, ...]) -> tuple[Any, ...]: ...

    def prepare_deadlines(self) -> None: ...

    def limit_memory(self, size: int | None) -> None: ...

    def memory_bytes(self) -> int: ...

    def set_fuel(self, fuel: int) -> None: ...

    def fuel_consumed(self) -> int: ...

    def state_root(self) -> bytes: ...

    def prepare_state_roots(self) -> None: ...

    @property
    def unportable(self) -> str | None: ...

    def keep(self) -> MemoryImage: ...


@dataclass(frozen=True, slots=True)
class Warm:
    """A loaded component and the seam it is linked to, waiting for an actor."""

    guest: Player
    host: GuestHost
    seam: Seam
    artefact: Artefact
