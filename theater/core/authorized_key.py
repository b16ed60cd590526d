"""One file of a folder of authorized keys: who somebody is, by which key, and what that one may. Pure.

    name = "alice"
    key = "4f0c…"           # public, 64 hexadecimal digits
    role = "operate"        # read, operate or admin
    expires = 2027-01-01    # optional: from then on (UTC) it opens nothing; also a moment with an offset
    comment = "her laptop"  # optional

Whatever else stands in it is refused: a misspelt `expires` must not let somebody in for ever.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from theater.core.curve import read_key
from theater.core.roles import Role, role_of
from theater.core.toml_text import document
from theater.errors import InvalidInput

KEYS: Final = ("name", "key", "role", "expires", "comment")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_COMMENT_LONGEST = 200
_EPOCH_DAY = 719_163
"""The number that Python gives 1970-01-01."""


@dataclass(frozen=True, slots=True)
class AuthorizedKey:
    """Somebody who may.

    Args:
        name: of a person or a machine, for records.
        key: public, 32 bytes.
        expires: since when it opens nothing, seconds since 1970; None for never.
    """

    name: str
    key: bytes
    role: Role
    expires: float | None = None
    comment: str = ""

    def is_over(self, now: float) -> bool:
        """Whether it has expired at `now`, seconds since 1970."""
        return self.expires is not None and now >= self.expires


def check_name(name: str) -> str:
    """The name itself. Raises InvalidInput if it is none that a key can have."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is no name of a key: up to 64 letters, digits and any of . _ @ -, a letter or a digit first"
        )
    return name


def read(text: str, where: str) -> AuthorizedKey:
    """What a file of an authorized key says.

    Args:
        where: the file, for sentences.

    Raises:
        InvalidInput: it is none.
    """
    values = document(text, where).values
    for name in values:
        if name not in KEYS:
            raise InvalidInput(f"{where}: {name!r} is no key of an authorized key; allowed: {', '.join(KEYS)}")
    try:
        key = read_key(_text(values, "key"))
        if key is None:
            raise InvalidInput("key must be 64 hexadecimal digits in lower case")
        comment = _text(values, "comment") if "comment" in values else ""
        if len(comment) > _COMMENT_LONGEST:
            raise InvalidInput(f"comment may have {_COMMENT_LONGEST} characters")
        expires = _moment(values["expires"]) if "expires" in values else None
        return AuthorizedKey(check_name(_text(values, "name")), key, role_of(_text(values, "role")), expires, comment)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error.message}") from error


def write(key: AuthorizedKey, expires: str | None = None) -> str:
    """The file of an authorized key.

    Args:
        expires: as it is to be written, `2027-01-01`; that of `key` is not looked at.
    """
    lines = [f'name = "{key.name}"', f'key = "{key.key.hex()}"', f'role = "{key.role.label}"']
    if expires is not None:
        lines.append(f"expires = {expires}")
    if key.comment:
        lines.append(f"comment = {_quoted(key.comment)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if not escaped.isprintable():
        raise InvalidInput("a comment must be printable text of one line")
    return f'"{escaped}"'


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be a text" if name in values else f"{name} is missing")
    return value


def _moment(value: Any) -> float:
    """Seconds since 1970 of a date, which begins in UTC, or of a moment that says its offset."""
    if hasattr(value, "tzinfo") and hasattr(value, "timestamp") and value.tzinfo is not None:
        return float(value.timestamp())
    if hasattr(value, "toordinal") and not hasattr(value, "hour"):
        return float(value.toordinal() - _EPOCH_DAY) * 86_400
    raise InvalidInput("expires must be a date such as 2027-01-01, or a moment with an offset: 2027-01-01T12:00:00Z")
