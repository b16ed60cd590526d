"""A program is loaded once, where it is built, so that what is wrong with it is said there and not at its start.

The runner is the only judge of a program: it has another Python than this machine, other modules, and it runs the
top of every module. It does so in its sandbox, and here with a host that has nothing to give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from theater.core.values import Err
from theater.errors import BuildFailed
from theater.wasm.artefacts import Artefact
from theater.wasm.guest import Guest, Trap, TrapKind
from theater.wasm.types import Signature

PROGRAM = "theater:otp/program@0.1.0"
TIMEOUT = 30.0
"""Seconds that the modules of a program may take to be imported; the template gives them as many."""


def load(artefact: Artefact, modules: Mapping[str, bytes], entry: str, timeout: float = TIMEOUT) -> None:
    """Loads a program into a runner that is thrown away.

    Args:
        artefact: the compiled runner.
        modules: source by relative path.
        entry: the name of the module that defines the actor.
        timeout: seconds that it may take.

    Raises:
        BuildFailed: it does not load; with what the runner says.
    """
    nobody = _Nobody()
    guest = Guest(artefact, nobody)
    try:
        answer = guest.call(PROGRAM, "load", (list(modules.items()), entry), timeout)
    except Trap as trap:
        if trap.kind is TrapKind.TIMEOUT:
            raise BuildFailed(f"the program was not loaded within {timeout:g} s") from trap
        raise BuildFailed(f"the program ended while it was loaded: {trap.message}{nobody.printed()}") from trap
    except _Asked as asked:
        raise BuildFailed(f"the program calls {asked} while it is loaded, before there is an actor") from None
    finally:
        guest.close()
    if isinstance(answer, Err):
        raise BuildFailed(f"the program does not load:\n{answer.value.rstrip()}")


class _Asked(BaseException):
    """The program called a host function. No error of Python's, so that the program cannot catch it."""


class _Nobody:
    """The host of a program without an actor: WASI as it is, everything else is an error."""

    def __init__(self) -> None:
        self._output: list[bytes] = []

    @property
    def wasi(self) -> _Nobody:
        return self

    def bind(self, interface: str, function: str, signature: Signature) -> Callable[..., Any]:
        def call(*_: Any) -> NoReturn:
            raise _Asked(f"{function} of {interface}")

        return call

    def answer(self, interface: str, function: str, args: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        return compute()

    def output(self, stream: str, data: bytes) -> None:
        self._output.append(data)

    def sleep(self, nanoseconds: int) -> None:
        """A program that is loaded has nothing to wait for."""

    def printed(self) -> str:
        """What the program printed, on lines of its own."""
        text = b"".join(self._output).decode(errors="replace").strip()
        return f"\n{text}" if text else ""
