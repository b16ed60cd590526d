"""A host for one guest, in memory: it answers from a table, and remembers what it was asked and told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from theater.core.values import Err, Ok

RUNTIME = "theater:simple/runtime"
MESSAGES = "theater:simple/message-server-host"
STORE = "theater:simple/store"
IDENTITY = "theater:otp/identity@0.1.0"
REGISTRY = "theater:otp/registry@0.1.0"
TIMERS = "theater:otp/timers@0.1.0"
REQUESTS = "theater:otp/requests@0.1.0"
SUPERVISOR = "theater:simple/supervisor"
MONITORS = "theater:otp/monitors@0.1.0"
LINKS = "theater:otp/links@0.1.0"
SECRETS = "theater:otp/secrets@0.1.0"
HTTP_FRAMEWORK = "theater:simple/http-framework"
HTTP_CLIENT = "theater:simple/http-client"
WEBSOCKETS = "theater:otp/websockets@0.1.0"
FILES = "theater:simple/filesystem"
MORE_FILES = "theater:otp/files@0.1.0"
PROCESS = "theater:simple/process"
TIMING = "theater:simple/timing"
RANDOM = "theater:simple/random"
ENVIRONMENT = "theater:simple/environment"

Answers = dict[tuple[str, str], Callable[..., Any]]
"""(interface, function) -> function of the arguments; it raises `Refused` to answer with an err."""


class World:
    """What the guest sees of the world: real randomness and clocks, and output that is kept."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.out: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        self.writes = 0

    def answer(self, interface: str, function: str, args: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        self.asked.append((interface.partition("@")[0], function))
        return compute()

    def output(self, stream: str, data: bytes) -> None:
        self.out[stream] += data
        self.writes += 1

    def sleep(self, nanoseconds: int) -> None:
        pass

    def draws(self) -> int:
        """How many times the guest asked for randomness."""
        return sum(interface.startswith("wasi:random/") for interface, _ in self.asked)


class RecordingHost:
    """Binds every import to a function that records the call and answers from `answers`.

    Attributes:
        answers: what it knows.
        calls: what was asked so far: interface, function, arguments.
        log: the lines that the actor logged.
    """

    def __init__(self, answers: Answers | None = None) -> None:
        self.wasi = World()
        self.answers = answers or {}
        self.calls: list[tuple[str, str, tuple[Any, ...]]] = []
        self.log: list[str] = []

    def bind(self, interface: str, function: str, signature: Any) -> Callable[..., Any]:
        result = signature[1]
        fallible = isinstance(result, tuple) and result[0] == "result"

        def call(*args: Any) -> Any:
            self.calls.append((interface, function, args))
            if (interface, function) == (RUNTIME, "log"):
                return self.log.append(args[0])
            answer = self.answers.get((interface, function))
            try:
                value = answer(*args) if answer else _absent(interface, function)
            except Refused as refused:
                return Err(str(refused))
            return Ok(value) if fallible else value

        return call


class Refused(Exception):
    """A host function answers with an err."""


def _absent(interface: str, function: str) -> Any:
    raise Refused(f"{function} of {interface} is not granted")
