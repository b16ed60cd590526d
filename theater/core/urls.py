"""URLs of http and https, taken apart once, so that what is checked is what is sent.

Strict where readers of URLs disagree: no user and password, no backslash, no control character, hosts in ASCII, ports
from 1 to 65535. The path is put into one form: escapes of letters that need none are undone, others are in upper case,
and dot segments are resolved, escaped ones too. What would only become one in a server that reads more into it than
the standard does (`..%2F`, `..%5C`, `%252e%252e`, `..;x`, overlong UTF-8) is refused: of a path that passes, no server
makes one that is not below it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self
from urllib.parse import quote, unquote_to_bytes, urljoin

from theater.core.addresses import Address, literal
from theater.core.quantities import show
from theater.errors import InvalidInput

LONGEST: Final = 8000
"""Characters of a URL; what many servers take as the first line of a request."""

PORTS: Final = {"http": 80, "https": 443}

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BAD = re.compile(r"[\x00-\x20\x7f]")
# What RFC 3986 gives a place in a path or query, and brackets, which many queries have.
_PLAIN: Final = "%/?:@!$&'()*+,;=[]-._~"
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]{2}")
_PARTS = re.compile(rb"[/\\]")
_LAYERS = 4
_KEPT = 256
"""Many actors ask for the same again and again, and taking a URL apart costs as much as a third of sending it."""


@dataclass(frozen=True, slots=True)
class Url:
    """A URL of http or https.

    Args:
        scheme: `http` or `https`.
        host: in lower case; IPv6 in brackets, in its short form.
        address: what the host is, if it is no name.
        port: always there.
        path: begins with `/`, in its one form.
        query: begins with `?`, or is empty.
    """

    scheme: str
    host: str
    address: Address | None
    port: int
    path: str
    query: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Takes a URL apart; its fragment is dropped.

        Raises:
            InvalidInput: it is none, or one that cannot be trusted to mean the same to everybody.
        """
        return cls(*_parts(text))

    @property
    def origin(self) -> str:
        """Scheme, host, and port if it is not that of the scheme."""
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    @property
    def authority(self) -> str:
        """Host and port, for sentences."""
        return f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.origin}{self.path}{self.query}"

    def join(self, reference: str) -> Url:
        """Where a `location` leads from here (RFC 3986, 5.2).

        Raises:
            InvalidInput: nowhere.
        """
        _check(reference)
        try:
            joined = urljoin(str(self), reference)
        except ValueError:
            joined = reference
        return Url.parse(joined)


def normal_path(path: str) -> str:
    """The one form of a path; an empty one is `/`.

    Raises:
        InvalidInput: it is one that could become another in a server.
    """
    if "\\" in path:
        raise InvalidInput(f"the path {show(path)} has a backslash; allowed: /")
    if _NO_ESCAPE.search(path):
        raise InvalidInput(f"the path {show(path)} has a % that begins no escape; allowed: %25")
    escaped = _ESCAPE.sub(_one_form, quote(path, safe=_PLAIN))
    resolved = _without_dots(escaped)
    _refuse_disguise(resolved)
    return resolved


@lru_cache(_KEPT)
def _parts(text: str) -> tuple[str, str, Address | None, int, str, str]:
    _check(text)
    found = _URL.fullmatch(text)
    if found is None or found[1].lower() not in PORTS:
        raise InvalidInput(f"{show(text)} is no URL; allowed: http://HOST/PATH and https://HOST/PATH")
    scheme = found[1].lower()
    host, address, port = _authority(found[2], PORTS[scheme])
    query = _NO_ESCAPE.sub("%25", quote(found[4] or "", safe=_PLAIN))
    return scheme, host, address, port, normal_path(found[3]), "" if query == "?" else query


def _check(text: str) -> None:
    if len(text) > LONGEST:
        raise InvalidInput(f"the URL has {len(text)} characters; allowed: {LONGEST}")
    if _BAD.search(text):
        raise InvalidInput(f"the URL {show(text)} has a space or control character; allowed: %20 and such")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput("the URL is not Unicode") from None


def _authority(text: str, usual: int) -> tuple[str, Address | None, int]:
    if "@" in text:
        # Not shown: it is a password.
        raise InvalidInput("the URL has a user or password in it; allowed: an authorization header, or a credential")
    found = _AUTHORITY.fullmatch(text)
    if found is None or not found[1]:
        raise InvalidInput(f"{show(text)} is no host and port; allowed: HOST, HOST:PORT")
    port = usual if found[2] is None else int(found[2])
    if not 1 <= port <= 65535:
        raise InvalidInput(f"the port {port} is none; allowed: 1 to 65535")
    return *normal_host(found[1]), port


def normal_host(text: str) -> tuple[str, Address | None]:
    """A host in its one form, and the address that it is, if it is no name.

    Raises:
        InvalidInput: it is neither.
    """
    if not text.isascii():
        raise InvalidInput(f"the host {show(text)} is not ASCII; allowed: {_ascii_form(text)}")
    host = text.lower()
    if host.endswith(".") and not host.startswith("."):
        host = host[:-1]
    address = literal(host)
    if address is not None:
        return (f"[{address}]" if address.version == 6 else str(address)), address
    if len(host) > 253 or _NAME.fullmatch(host) is None:
        raise InvalidInput(f"the host {show(text)} is no name; allowed: letters, digits, -, _ and single dots")
    return host, None


def _ascii_form(host: str) -> str:
    # Not used in its place: readers of such names disagree, and letters of several alphabets look alike.
    try:
        return f"its ASCII form, perhaps {host.encode('idna').decode()}"
    except UnicodeError:
        return "its ASCII form, xn--..."


def _one_form(found: re.Match[str]) -> str:
    byte = int(found[1], 16)
    return chr(byte) if byte in _UNRESERVED else f"%{byte:02X}"


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4."""
    if not path:
        return "/"
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _refuse_disguise(path: str) -> None:
    decoded = path.encode()
    for _ in range(_LAYERS):
        before, decoded = decoded, unquote_to_bytes(decoded)
        if b"\0" in decoded:
            raise InvalidInput(f"the path {show(path)} has a NUL in it; allowed: none")
        if _OVERLONG.search(decoded):
            raise InvalidInput(f"the path {show(path)} has overlong UTF-8 in it; allowed: the shortest form")
        if any(part.partition(b";")[0].strip() in (b".", b"..") for part in _PARTS.split(decoded)):
            raise InvalidInput(f"the path {show(path)} has a dot segment in disguise; allowed: a path without")
        if decoded == before:
            return
    raise InvalidInput(f"the path {show(path)} is escaped more than {_LAYERS - 1} times over; allowed: once")
