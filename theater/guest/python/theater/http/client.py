"""Requests to other machines, as far as the manifest allows."""

from typing import Any

from theater._host import ask, interface
from theater.codecs import Json
from theater.http.messages import Headers, Pairs, Response

_client = interface("http_client")
_types = interface("http_types")


def fetch(
    url: str, method: str = "GET", *, headers: Pairs = None, body: str | bytes | None = None, json: Any = None
) -> Response:
    """Sends a request, waits, and returns the response, whatever its status.

    Args:
        url: with scheme and host.
        method: GET, POST and so on.
        headers: names and values.
        body: text or bytes.
        json: instead of a body, a value that is sent as JSON.

    Raises:
        CallFailed: the manifest does not allow it, or there was no response.
    """
    sent = Headers(headers)
    if json is not None:
        body = Json.encode(json)
        if "content-type" not in sent:
            sent.add("content-type", "application/json")
    data = body.encode() if isinstance(body, str) else body
    found = ask(_client.send_http, _types.HttpRequest(method.upper(), url, sent.pairs, data))
    response = Response(None, found.status, found.headers)
    response.body = found.body or b""
    return response
