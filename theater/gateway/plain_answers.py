"""Answers that the gateway gives by itself: a status, a line of text, and nothing of what went wrong inside."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

SERVER = "Theater"
RETRY_AFTER_S = 1
"""What a client is told who comes while an actor has no time, or no life."""

_RETRY = {HTTPStatus.SERVICE_UNAVAILABLE}


class Refusal(Exception):
    """The request is answered by the gateway.

    Args:
        status: of the answer.
        close: whether the connection can be used no more.
        headers: that the answer has.
    """

    def __init__(self, status: int, *, close: bool = False, **headers: str) -> None:
        super().__init__(status)
        self.status = HTTPStatus(status)
        self.close = close
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def plain_answer(no: Refusal) -> web.Response:
    """The answer to a request that is refused."""
    text = f"{no.status.value} {no.status.phrase}\n"
    answer = web.Response(status=no.status, text=text, headers={"Server": SERVER, **no.headers})
    if no.status in _RETRY:
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    if no.close:
        answer.force_close()
    return answer


def raw_answer(status: int) -> bytes:
    """The same for a connection that has no request which could be answered; it is closed after it."""
    found = HTTPStatus(status)
    text = f"{found.value} {found.phrase}\n"
    retry = f"Retry-After: {RETRY_AFTER_S}\r\n" if found in _RETRY else ""
    return (
        f"HTTP/1.1 {found.value} {found.phrase}\r\nServer: {SERVER}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(text)}\r\n{retry}Connection: close\r\n\r\n{text}"
    ).encode()
