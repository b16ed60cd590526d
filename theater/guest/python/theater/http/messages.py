"""Requests and responses."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from theater._host import interface
from theater.codecs import Json
from theater.errors import Error

_types = interface("http_types")

Pairs = Mapping[str, str] | Iterable[tuple[str, str]] | None


class Headers:
    """Names and values in their order. A name is the same in upper and lower case, and may occur more than once."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Pairs = None) -> None:
        # Every message comes by here, and asking whether something is a Mapping is slow.
        self.pairs: list[tuple[str, str]] = (
            [] if pairs is None else list(pairs.items() if hasattr(pairs, "items") else pairs)
        )

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of a name."""
        name = name.lower()
        return next((value for found, value in self.pairs if found.lower() == name), default)

    def all(self, name: str) -> list[str]:
        """Every value of a name."""
        name = name.lower()
        return [value for found, value in self.pairs if found.lower() == name]

    def add(self, name: str, value: str) -> None:
        """Adds a value and leaves those that are there."""
        self.pairs.append((name, value))

    def __getitem__(self, name: str) -> str:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __setitem__(self, name: str, value: str) -> None:
        lower = name.lower()
        self.pairs = [(found, old) for found, old in self.pairs if found.lower() != lower]
        self.pairs.append((name, value))

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    def __repr__(self) -> str:
        return f"Headers({self.pairs!r})"


class _Body:
    body: bytes

    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The value in the body."""
        return Json.decode(self.body)


class Request(_Body):
    """A request as it came in.

    Attributes:
        method: in upper case.
        uri: the path and the query as they were sent.
        headers: see `Headers`.
        body: its bytes.
        params: what stood in the place of each `{name}` of the route's path, and of a `*` at its end as "rest".
    """

    def __init__(self, record: Any, params: dict[str, str]) -> None:
        self.method: str = record.method
        self.uri: str = record.uri
        self.headers = Headers(record.headers)
        self.body: bytes = record.body or b""
        self.params = params

    @property
    def path(self) -> str:
        """The path, without the query, as it was sent."""
        return self.uri.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The values of the query; of a name that occurs more than once the last."""
        return query_of(self.uri.partition("?")[2])

    def text(self) -> str:
        """The body as UTF-8.

        Raises:
            Abort: it is not; with the status 400.
        """
        try:
            return super().text()
        except UnicodeDecodeError:
            raise Abort(400, "the body is not UTF-8") from None

    def json(self) -> Any:
        """The value in the body.

        Raises:
            Abort: it is not JSON; with the status 400.
        """
        try:
            return super().json()
        except Error as error:
            raise Abort(400, error.text) from None

    def record(self) -> Any:
        """As the host takes it."""
        return _types.HttpRequest(self.method, self.uri, self.headers.pairs, self.body or None)


class Response(_Body):
    """A response.

    Args:
        body: text, bytes, or anything else as JSON; None is no body.
        status: the status code; 200, or 204 where there is no body, if left out.
        headers: names and values. A content type is added if there is none.

    Attributes:
        status: the status code.
        headers: see `Headers`.
        body: its bytes.
    """

    def __init__(self, body: Any = None, status: int | None = None, headers: Pairs = None) -> None:
        self.body, kind = _written(body)
        self.status: int = status if status is not None else 204 if body is None else 200
        self.headers = Headers(headers)
        if kind and (headers is None or "content-type" not in self.headers):
            self.headers.pairs.append(("content-type", kind))

    @property
    def ok(self) -> bool:
        """Whether the status is from 200 to 299."""
        return 200 <= self.status < 300

    def record(self) -> Any:
        """As the host takes it."""
        return _types.HttpResponse(self.status, self.headers.pairs, self.body or None)


class Abort(Error):
    """Raised by a handler: this response instead, and the state stays as it was.

    Args:
        status: the status code.
        body: as in `Response`.
        headers: as in `Response`.
    """

    def __init__(self, status: int, body: Any = None, headers: Pairs = None) -> None:
        super().__init__(f"the response has the status {status}")
        self.response = Response(body, status, headers)


def html(text: str, status: int = 200) -> Response:
    """A response that is a page."""
    return Response(text, status, {"content-type": "text/html; charset=utf-8"})


def redirect(location: str, status: int = 303) -> Response:
    """A response that sends the client elsewhere; with the status 303 it asks there with GET."""
    return Response(None, status, {"location": location})


def response_of(answer: Any) -> Response:
    """What a handler returned, as a response."""
    return answer if isinstance(answer, Response) else Response(answer)


def query_of(text: str) -> dict[str, str]:
    """The names and values of a query."""
    return dict(parse_qsl(text, keep_blank_values=True))


def unquoted(segment: str) -> str:
    """A segment of a path as it was meant."""
    return unquote(segment) if "%" in segment else segment


def _written(body: Any) -> tuple[bytes, str]:
    """A body and its content type."""
    if body is None:
        return b"", ""
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body), "application/octet-stream"
    return Json.encode(body), "application/json"
