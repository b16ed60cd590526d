"""An actor's program in the runner: how source that was built becomes a loaded guest (theater/build/python.py)."""

from __future__ import annotations

from typing import Any, Protocol

from theater.core.codec import unpack
from theater.core.values import Err
from theater.errors import ComponentError, WireError
from theater.wasm.traps import Trap

_INTERFACE = "theater:otp/program@0.1.0"
_LARGEST = 64 << 20


class Callee(Protocol):
    """A guest."""

    def call(self, interface: str, function: str, args: tuple[Any, ...], timeout: float | None = None) -> Any: ...


def load(guest: Callee, content: bytes) -> None:
    """Gives the runner the actor's modules, without a deadline.

    Args:
        content: of the program's file.

    Raises:
        ComponentError: the program could not be loaded.
    """
    try:
        program = unpack(content.partition(b"\n")[2], max_len=_LARGEST)
        modules = [(name, source) for name, source in program["modules"].items()]
        result = guest.call(_INTERFACE, "load", (modules, program["entry"]))
    except (WireError, KeyError, TypeError, AttributeError) as error:
        raise ComponentError(f"what should be a program is none: {error}") from error
    except Trap as trap:
        raise ComponentError(f"the program could not be loaded: {trap}") from trap
    if isinstance(result, Err):
        raise ComponentError(f"the program could not be loaded: {result.value}")
