"""What a worker is born with."""

from __future__ import annotations

from dataclasses import dataclass

from theater.host.base import Seam
from theater.host.wasi import GuestHost
from theater.wasm.artefacts import Artefact
from theater.wasm.guest import Guest


@dataclass(frozen=True, slots=True)
class Warm:
    """A loaded component and the seam it is linked to, waiting for an actor."""

    guest: Guest
    host: GuestHost
    seam: Seam
    artefact: Artefact
