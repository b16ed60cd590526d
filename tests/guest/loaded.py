"""A program in a runner, with the state that a host would keep between its calls."""

from __future__ import annotations

import json
from typing import Any

from recording_host import RecordingHost

from theater.core.values import Err, Ok
from theater.wasm.artefacts import Artefact
from theater.wasm.guest import Guest, Trap

PROGRAM = "theater:otp/program@0.1.0"
ACTOR = "theater:simple/actor"
CLIENT = "theater:simple/message-server-client"
OF_CHILDREN = "theater:simple/supervisor-handlers"
OF_ENDS = "theater:otp/monitor-handlers@0.1.0"
HTTP = "theater:simple/http-handlers"
OF_PROGRAMS = "theater:simple/process-handlers"


class LoadFailed(Exception):
    """The runner refused a program."""


class Loaded:
    """An actor in a runner.

    Attributes:
        guest: the runner's instance.
        host: what it is linked to.
        state: what the last call left.
    """

    def __init__(self, artefact: Artefact, host: RecordingHost, modules: dict[str, bytes]) -> None:
        self.host = host
        self.guest = Guest(artefact, host)
        self.state: bytes | None = None
        answer = self.guest.call(PROGRAM, "load", (list(modules.items()), "actor"))
        if isinstance(answer, Err):
            raise LoadFailed(answer.value)

    def init(self, state: bytes | None = None) -> Ok | Err:
        """Begins a life of the actor, with a state that it is given."""
        self.state = state
        return self._keep(self.guest.call(ACTOR, "init", (self.state, ("an-actor",))))

    def request(self, body: bytes | object, request: str = "r1") -> Any:
        """The result of a request: `Ok` of the reply's bytes or of None, or `Err`."""
        answer = self._keep(self.guest.call(CLIENT, "handle-request", (self.state, (request, _body(body)))))
        return Ok(answer.value[1][0]) if isinstance(answer, Ok) else answer

    def ask(self, body: object) -> Any:
        """The reply to a request, as it is in JSON."""
        answer = self.request(body)
        assert isinstance(answer, Ok), answer
        return json.loads(answer.value)

    def send(self, body: bytes | object) -> Ok | Err:
        """The result of a message."""
        return self._keep(self.guest.call(CLIENT, "handle-send", (self.state, (_body(body),))))

    def child(self, function: str, *params: Any) -> Ok | Err:
        """The result of news of a child."""
        return self._keep(self.guest.call(OF_CHILDREN, function, (self.state, params)))

    def end(self, function: str, *params: Any) -> Ok | Err:
        """The result of news of a monitored or linked actor."""
        return self._keep(self.guest.call(OF_ENDS, function, (self.state, params)))

    def channel(self, function: str, *params: Any) -> Ok | Err:
        """The result of what comes on a channel."""
        return self._keep(self.guest.call(CLIENT, function, (self.state, params)))

    def http(self, function: str, *params: Any) -> Any:
        """What a call of `http-handlers` gives beside the state: a record, a list, or None; or `Err`."""
        answer = self._keep(self.guest.call(HTTP, function, (self.state, params)))
        if isinstance(answer, Err):
            return answer
        return answer.value[1][0] if len(answer.value) > 1 else None

    def program(self, function: str, *params: Any) -> Ok | Err:
        """The result of news of a program."""
        return self._keep(self.guest.call(OF_PROGRAMS, function, (self.state, params)))

    def crash(self, body: object) -> str:
        """What a request that ends the actor leaves on standard error."""
        try:
            answer = self.request(body)
        except Trap:
            return self.host.wasi.out["stderr"].decode()
        raise AssertionError(f"it did not crash, it answered {answer}")

    def _keep(self, answer: Any) -> Any:
        if isinstance(answer, Ok):
            self.state = answer.value[0]
        return answer


def _body(body: bytes | object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()
