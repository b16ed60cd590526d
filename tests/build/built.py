"""What a build made, loaded as the server loads it, with a host that answers from a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from theater.build.compiled import ensure_compiled
from theater.core.codec import content_digest
from theater.core.values import Err, Ok
from theater.wasm.artefacts import ArtefactCache
from theater.wasm.guest import Guest
from theater.wasm.types import Signature

ACTOR = "theater:simple/actor"
CLIENT = "theater:simple/message-server-client"
RUNTIME = "theater:simple/runtime"
HOST = "theater:simple/message-server-host"
STORE = "theater:simple/store"
IDENTITY = "theater:otp/identity@0.1.0"
REGISTRY = "theater:otp/registry@0.1.0"
TIMERS = "theater:otp/timers@0.1.0"
REQUESTS = "theater:otp/requests@0.1.0"
SUPERVISOR = "theater:simple/supervisor"
MONITORS = "theater:otp/monitors@0.1.0"
LINKS = "theater:otp/links@0.1.0"
SECRETS = "theater:otp/secrets@0.1.0"
HTTP_CLIENT = "theater:simple/http-client"
HTTP_FRAMEWORK = "theater:simple/http-framework"
FILES = "theater:simple/filesystem"
MORE_FILES = "theater:otp/files@0.1.0"
WEBSOCKETS = "theater:otp/websockets@0.1.0"
PROCESS = "theater:simple/process"
TIMING = "theater:simple/timing"
RANDOM = "theater:simple/random"
ENVIRONMENT = "theater:simple/environment"
OF_HTTP = "theater:simple/http-handlers"
OF_PROGRAMS = "theater:simple/process-handlers"
OF_CHILDREN = "theater:simple/supervisor-handlers"
OF_ENDS = "theater:otp/monitor-handlers@0.1.0"


class Host:
    """Answers host calls, and remembers them.

    Attributes:
        answers: by interface and function; what is not there is answered with Ok() or nothing.
        calls: interface, function and arguments, in order, but for the log's.
        log: the lines that were logged.
    """

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.log: list[str] = []
        self.wasi: Any = None  # none of these guests imports WASI

    def bind(self, interface: str, function: str, signature: Signature) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if function == "log":
                return self.log.append(args[0])
            self.calls.append((interface, function, *args))
            return self.answers.get((interface, function), None if signature.result is None else Ok())

        return call


class Actor:
    """One instance, and the state that a server would keep for it."""

    def __init__(self, guest: Guest, host: Host) -> None:
        self._guest = guest
        self.host = host
        self.state: bytes | None = None

    def init(self, state: bytes | None = None) -> None:
        answer = self._guest.call(ACTOR, "init", (state, ("the-id",)))
        (self.state,) = answer.value

    def send(self, message: bytes) -> Ok | Err:
        answer: Ok | Err = self._guest.call(CLIENT, "handle-send", (self.state, (message,)))
        if isinstance(answer, Ok):
            (self.state,) = answer.value
        return answer

    def hear(self, interface: str, function: str, *params: Any) -> Ok | Err:
        """Tells it of an end."""
        answer: Ok | Err = self._guest.call(interface, function, (self.state, params))
        if isinstance(answer, Ok):
            (self.state,) = answer.value
        return answer

    def ask(self, interface: str, function: str, *params: Any) -> Any:
        """What a handler gives beside the state; the Err itself when the actor fails."""
        answer = self._guest.call(interface, function, (self.state, params))
        if isinstance(answer, Err):
            return answer
        self.state, (given,) = answer.value
        return given

    def request(self, body: bytes) -> bytes | Err | None:
        """The reply; None for later, and the Err itself when the actor fails."""
        answer = self._guest.call(CLIENT, "handle-request", (self.state, ("request-1", body)))
        if isinstance(answer, Err):
            return answer
        self.state, (reply,) = answer.value
        return reply  # type: ignore[no-any-return]

    def memory(self) -> int:
        return self._guest.memory_bytes()


@contextmanager
def running(component: Path, cache: Path) -> Iterator[Actor]:
    """An instance of a component, compiled as a server compiles it."""
    ensure_compiled(cache, component)
    artefact = ArtefactCache(cache).find(content_digest(component.read_bytes()).hex(), False)
    assert artefact is not None
    host = Host()
    guest = Guest(artefact, host, memory=64 << 20)
    try:
        yield Actor(guest, host)
    finally:
        guest.close()
