"""HTTP in the shapes of the interface: a handler's id leads to the actor's method, and what it returns is a record."""

from typing import Any

from theater._host import interface
from theater.http._handlers import handler_of
from theater.http.messages import Abort, Request, Response, query_of, response_of
from theater.http.sockets import Socket, content, websocket_message
from theater_runtime.calls import Calls, State

_types = interface("http_types")


class HttpHandlers:
    """theater:simple/http-handlers"""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._call = calls.call
        self._actor = calls.actor

    def handle_request(self, state: State, params: tuple[int, Any]) -> tuple[State, tuple[Any]]:
        kept, response = self._call(state, self._respond, *params)
        return kept, (response,)

    def handle_middleware(self, state: State, params: tuple[int, Any]) -> tuple[State, tuple[Any]]:
        kept, result = self._call(state, self._pass_on, *params)
        return kept, (result,)

    def handle_websocket_connect(self, state: State, params: tuple[int, int, str, str | None]) -> tuple[State]:
        handler, connection, path, query = params
        kept, _ = self._call(state, self._tell, handler, Socket(connection), path, query_of(query or ""))
        return (kept,)

    def handle_websocket_message(self, state: State, params: tuple[int, int, Any]) -> tuple[State, tuple[list[Any]]]:
        kept, answer = self._call(state, self._tell, params[0], Socket(params[1]), content(params[2]))
        return kept, ([] if answer is None else [websocket_message(answer)],)

    def handle_websocket_disconnect(self, state: State, params: tuple[int, int]) -> tuple[State]:
        kept, _ = self._call(state, self._tell, params[0], Socket(params[1]))
        return (kept,)

    def _respond(self, number: int, record: Any) -> Any:
        handler = handler_of(self._actor, number)
        params = handler.params(record) if handler.patterns else {}
        try:
            answer = handler.method(Request(record, params), **params)
        except Abort as abort:
            self._calls.forget()
            answer = abort.response
        return response_of(answer).record()

    def _pass_on(self, number: int, record: Any) -> Any:
        try:
            answer = handler_of(self._actor, number).method(Request(record, {}))
        except Abort as abort:
            self._calls.forget()
            answer = abort.response
        if answer is None or answer is True:
            return _types.MiddlewareResult(True, record)
        if answer is False:
            answer = Response(None, 403)
        if isinstance(answer, Request):
            return _types.MiddlewareResult(True, answer.record())
        return _types.MiddlewareResult(False, _as_request(response_of(answer), record))

    def _tell(self, number: int, *args: Any) -> Any:
        return handler_of(self._actor, number).method(*args)


def _as_request(response: Response, asked: Any) -> Any:
    """A middleware's own answer, as the host finds it in the request that does not go on: the status in the place of
    the method."""
    return _types.HttpRequest(str(response.status), asked.uri, response.headers.pairs, response.body or None)
