"""Servers, websockets and channels as a host has them, for the examples of the manual."""

from __future__ import annotations

from typing import Any

from loaded import Loaded
from recording_host import HTTP_FRAMEWORK, MESSAGES, WEBSOCKETS, Answers

from theater.core import http_routes
from theater.core.http_routes import Match, Route, Routes
from theater.core.values import Case, Err


class Web:
    """See the module.

    Attributes:
        said: what the actor said on channels and websockets since it was taken, as lines.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self._handlers: dict[str, int] = {}
        self._routes: list[Route] = []
        self._middlewares: list[tuple[http_routes.Pattern, int]] = []
        self._sockets: dict[str, tuple[int | None, int, int | None]] = {}
        self._connected: dict[str, str] = {}

    def answers(self) -> Answers:
        """What the host answers."""
        return {
            (HTTP_FRAMEWORK, "create-server"): lambda _: 1,
            (HTTP_FRAMEWORK, "start-server"): lambda _: 8080,
            (HTTP_FRAMEWORK, "register-handler"): lambda name: self._handlers.setdefault(
                name, len(self._handlers) + 10
            ),
            (HTTP_FRAMEWORK, "add-route"): self._add_route,
            (HTTP_FRAMEWORK, "add-middleware"): self._add_middleware,
            (HTTP_FRAMEWORK, "enable-websocket"): self._enable,
            (HTTP_FRAMEWORK, "send-websocket-message"): lambda _, number, message: self._hear(number, message["text"]),
            (HTTP_FRAMEWORK, "close-websocket"): lambda _, number: self.said.append(f"hangs up {number}"),
            (WEBSOCKETS, "broadcast-text"): lambda _, path, text: self._hear("all", text) or len(self._connected),
            (MESSAGES, "send-on-channel"): lambda channel, body: self._hear(channel, body.decode()),
            (MESSAGES, "close-channel"): lambda channel: self.said.append(f"hangs up {channel}"),
        }

    # ---- requests

    def fetch(self, actor: Loaded, method: str, path: str, body: bytes | None) -> tuple[int, str]:
        """The status and the body of the answer."""
        asked = {"method": method, "uri": path, "headers": [], "body": body}
        segments = http_routes.split(path.partition("?")[0])
        for pattern, handler in self._middlewares:
            if http_routes.is_below(segments, pattern):
                result = actor.http("handle-middleware", handler, asked)
                asked = result["request"]
                if not result["proceed"]:
                    return int(asked["method"]), (asked["body"] or b"").decode()
        found = Routes(self._routes).find(method, path.partition("?")[0])
        if not isinstance(found, Match):
            return 404, ""
        answer = actor.http("handle-request", found.route.handler, asked)
        assert not isinstance(answer, Err), answer
        return answer["status"], (answer["body"] or b"").decode()

    def _add_route(self, server: int, path: str, method: str, handler: int) -> int:
        self._routes.append(Route(len(self._routes), http_routes.pattern(path), method, handler))
        return len(self._routes)

    def _add_middleware(self, server: int, path: str, handler: int) -> int:
        self._middlewares.append((http_routes.pattern(path), handler))
        return len(self._middlewares)

    # ---- websockets and channels

    def connect(self, actor: Loaded, number: str, path: str) -> Any:
        """A websocket connects."""
        path, _, query = path.partition("?")
        self._connected[number] = path
        return actor.http("handle-websocket-connect", self._sockets[path][0], int(number), path, query or None)

    def disconnect(self, actor: Loaded, number: str) -> Any:
        """A websocket is gone."""
        return actor.http("handle-websocket-disconnect", self._sockets[self._connected.pop(number)][2], int(number))

    def say(self, actor: Loaded, whom: str, text: str) -> Any:
        """A message on a websocket or channel."""
        if whom not in self._connected:
            return actor.channel("handle-channel-message", whom, text.encode())
        message = {"ty": Case("text"), "data": None, "text": text}
        handler = self._sockets[self._connected[whom]][1]
        answers = actor.http("handle-websocket-message", handler, int(whom), message)
        assert not isinstance(answers, Err), answers
        for answer in answers:
            self._hear(whom, answer["text"])
        return None

    def _enable(self, server: int, path: str, connect: int | None, message: int, disconnect: int | None) -> None:
        self._sockets[path] = connect, message, disconnect

    def _hear(self, whom: Any, text: str) -> None:
        self.said.append(f"hears {whom} {text}")


def opened(actor: Loaded, channel: str, body: str) -> str:
    """What comes of opening a channel, as a line."""
    answer = actor.channel("handle-channel-open", channel, body.encode())
    if isinstance(answer, Err):
        return f"refused {answer.value}"
    (accept,) = answer.value[1]
    assert accept["accepted"]
    return f"accepted {accept['message'].decode()}"
