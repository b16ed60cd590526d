"""What the gateway adds to requests and actors never see: the server's `credentials.toml`.

    [github]                                  # the name that manifests say
    header = "authorization"                  # the default
    prefix = "Bearer "                        # before the value; none by default
    env = "GITHUB_TOKEN"                      # or file = "/run/secrets/github", or value = "..."
    urls = ["https://api.github.com/*"]       # what it may be sent to

The file lies in the home, belongs to its user and is readable by nobody else. It is read when it is first needed and
again when it has changed. What is wrong with it stands in the server's log, not in an answer to an actor; and neither
does any sentence contain a value.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from theater.core import schema
from theater.core.http_exchange import OURS, Outgoing
from theater.core.quantities import show
from theater.core.schema import Place, key
from theater.core.secrets import LEAST, MOST, NAME, Secret, Veil
from theater.core.toml_text import LONGEST_TEXT, Document, document
from theater.core.url_patterns import UrlPattern
from theater.errors import InvalidInput, ManifestError, TheaterError, UnknownSecret
from theater.gateway.lent_files import Opened, opened_directly
from theater.log import Logger

FILE: Final = "credentials.toml"

_TEXT = re.compile(r"[\x20-\x7e]+")
_OF_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True)
class Credential:
    """A header that is added to requests.

    Args:
        name: what manifests call it.
        header: in lower case.
        value: of the header, with its prefix.
        urls: what it may be sent to.
        secret: the value without the prefix.
    """

    name: str
    header: str
    value: str = field(repr=False)
    urls: tuple[UrlPattern, ...]
    secret: str = field(repr=False)

    def fits(self, wanted: Outgoing) -> bool:
        """Whether it may be sent with a request."""
        return any(pattern.fits(wanted.method, wanted.url) for pattern in self.urls)


def added(wanted: Outgoing, credentials: Sequence[Credential]) -> list[tuple[str, str]]:
    """The headers of a request with its credentials; of several for one header the first, and never the actor's."""
    chosen: dict[str, str] = {}
    for credential in credentials:
        if credential.fits(wanted):
            chosen.setdefault(credential.header, credential.value)
    return [(name, value) for name, value in wanted.headers if name not in chosen] + list(chosen.items())


def veil(credentials: Sequence[Credential]) -> Veil | None:
    """What hides credentials in what comes back."""
    if not credentials:
        return None
    return Veil([Secret(each.name, 1, b"", each.secret.encode()) for each in credentials])


class Credentials:
    """Those of a server.

    Args:
        home: the home's folder.
        environment: of the server.
        opened: how a file is opened.
    """

    def __init__(
        self, home: Path, environment: Mapping[str, str], log: Logger, opened: Opened = opened_directly
    ) -> None:
        self._opened = opened
        self._path = home / FILE
        self._environment = environment
        self._log = log
        self._read_as: object = None
        self._all: Mapping[str, Credential] = {}
        self._is_wrong = False

    def of(self, names: Sequence[str]) -> list[Credential]:
        """Those that a manifest names.

        Raises:
            UnknownSecret: the server has no such credential, or cannot read its file.
        """
        if not names:
            return []
        self._refresh()
        if self._is_wrong:
            raise UnknownSecret(f"the server's {FILE} cannot be used; its log says why")
        missing = [name for name in names if name not in self._all]
        if missing:
            raise UnknownSecret(f"this server has no credential {missing[0]}; its {FILE} has to name it")
        return [self._all[name] for name in names]

    def _refresh(self) -> None:
        looks = _looks(self._path)
        if looks == self._read_as:
            return
        self._read_as = looks
        try:
            self._all, self._is_wrong = {} if looks is None else self._load(), False
        except TheaterError as error:
            self._all, self._is_wrong = {}, True
            self._log.error("cannot use the credentials", file=str(self._path), why=error.message)

    def _load(self) -> Mapping[str, Credential]:
        text = _read(self._path, LONGEST_TEXT + 1, self._opened)
        found = _parsed(text, str(self._path))
        rows = {name: _row(found, name, table) for name, table in found.values.items()}
        return {name: self._credential(name, row, Place(found, (name,))) for name, row in rows.items()}

    def _credential(self, name: str, row: _Row, place: Place) -> Credential:
        secret = self._value(row, place)
        if _TEXT.fullmatch(secret) is None or not LEAST <= len(secret) <= MOST or secret != secret.strip():
            raise place.error(f"the value has {len(secret)} characters; allowed: {LEAST} to {MOST}, printable ASCII")
        return Credential(name, row.header, row.prefix + secret, row.urls, secret)

    def _value(self, row: _Row, place: Place) -> str:
        given = [each for each in (row.value, row.env, row.file) if each is not None]
        if len(given) != 1:
            raise place.error("allowed: one of value, env and file")
        if row.value is not None:
            return row.value
        if row.env is not None:
            if row.env not in self._environment:
                raise place.error_about("env", f"the server's environment has no variable {row.env}")
            return self._environment[row.env]
        return _read(self._path.parent / str(row.file), MOST + 2, self._opened).removesuffix("\n").removesuffix("\r")


def _looks(path: Path) -> object:
    """What changes with the file."""
    try:
        found = path.stat()
    except OSError as error:
        return None if isinstance(error, FileNotFoundError) else error.errno
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(path: Path, most: int, opened: Opened) -> str:
    """The text of a file that nobody else may read."""
    try:
        with open(opened(path), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InvalidInput(f"{path} is no file")
            if found.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(found.st_mode) & _OF_OTHERS:
                raise InvalidInput(f"others on this machine may use {path}; say `chmod 600 {path}`")
            return file.read(most).decode()
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not UTF-8") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"cannot read {path}: {why}") from error


def _parsed(text: str, where: str) -> Document:
    try:
        return document(text, where)
    except ManifestError as error:
        # What a parser stumbles over may be part of a value.
        raise ManifestError(f"{where}:{error.details.get('line') or 1}: not TOML, or too large") from None


# ---- one table


def _hidden(value: object, place: Place) -> str:
    if not isinstance(value, str):
        raise InvalidInput("found what is no text; allowed: a text")
    return value


def _header(value: object, place: Place) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value) is None or value.lower() in OURS:
        raise InvalidInput(f'found {show(value)}; allowed: a header such as "authorization" or "x-api-key"')
    return value.lower()


def _prefix(value: object, place: Place) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[\x20-\x7e]{0,64}", value) is None:
        raise InvalidInput('found something else; allowed: a short text, as "Bearer "')
    return value


def _urls(value: object, place: Place) -> tuple[UrlPattern, ...]:
    return tuple(map(UrlPattern.parse_url, schema.texts(value, place)))


@dataclass(frozen=True, slots=True)
class _Row:
    urls: tuple[UrlPattern, ...] = key(_urls)
    header: str = key(_header, "authorization")
    prefix: str = key(_prefix, "")
    value: str | None = key(_hidden, None)
    env: str | None = key(schema.text, None)
    file: str | None = key(schema.text, None)


def _row(found: Document, name: str, table: object) -> _Row:
    place = Place(found, (name,))
    if NAME.fullmatch(name) is None:
        raise place.error_of_key("is no name; allowed: letters, digits, ., _ and -")
    if not isinstance(table, Mapping):
        raise place.error_of_key("found what is no table; allowed: a table [NAME] for each credential")
    return schema.read(_Row, table, place)
