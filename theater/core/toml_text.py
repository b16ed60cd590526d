"""TOML from strangers: what would be expensive is refused unparsed, and every key knows its line.

A manifest may come from an actor that nobody reviewed (`supervisor.spawn` takes one), so parsing it must be cheap
for every text. Parsers of TOML are not: dotted keys and nested tables cost them quadratic time, 40 KB of one key
takes seconds. So the text is looked at first, once and in linear time, for its size, the length of its lines and
how deep its brackets and dots nest. What passes is parsed by the standard library, whose worst case within these
bounds is 0.15 s (tomlkit takes 34 s for 64 KB of nine-part keys, and minutes for arrays of three-part tables).

The same look finds the line of each header and key, since no parser tells. Keys inside an inline table have the
line of the key that it belongs to.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from theater.errors import ManifestError

LONGEST_TEXT = 64 * 1024
LONGEST_LINE = 1024
DEEPEST = 16

Path = tuple[str | int, ...]

_KEY = r"""(?:"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'|[A-Za-z0-9_-]++)"""
_KEYS = rf"{_KEY}(?:[ \t]*+\.[ \t]*+{_KEY})*+"
_STATEMENT = re.compile(
    r"[ \t]*+(?:"
    rf"\[\[[ \t]*+(?P<array>{_KEYS})[ \t]*+\]\]"
    rf"|\[[ \t]*+(?P<table>{_KEYS})[ \t]*+\]"
    rf"|(?P<key>{_KEYS})[ \t]*+=)"
)
_PART = re.compile(_KEY)
# What of a value matters here: strings and comments, which may hold brackets, then brackets and ends of lines.
_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}'
    r"|'''(?:[^']|'(?!''))*+'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*+"'
    r"|'[^'\n]*+'"
    r"|\#[^\n]*+"
    r"|[\[{]|[\]}]|\n",
    re.DOTALL,
)
_AT_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed text that remembers where things stood.

    Args:
        where: the file's name, for sentences.
        values: the parsed tables.
        lines: the line, from 1, of each header and key; None when the values did not come from text.
    """

    where: str
    values: Mapping[str, object]
    lines: Mapping[Path, int] | None = None

    def line(self, path: Path) -> int | None:
        """The line of the key at `path`, or of the nearest table around it that has one."""
        if self.lines is None:
            return None
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 1

    def error(self, path: Path, sentence: str) -> ManifestError:
        """The error that says `sentence` about the key at `path`."""
        return _error(self.where, self.line(path), sentence)


def document(text: str, where: str) -> Document:
    """Parses `text`.

    Args:
        text: TOML 1.0.
        where: the file's name, for sentences.

    Raises:
        ManifestError: it is too large, too deep, or not TOML. Nothing else, whatever the text; and soon.
    """
    _refuse_size(text, where)
    text = text.replace("\r\n", "\n")
    lines = _scan(text, where)
    try:
        return Document(where, tomllib.loads(text), lines)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(str(error), text, where) from error
    except (ValueError, RecursionError) as error:
        raise _error(where, 1, f"not TOML: {error}") from error


def _error(where: str, line: int | None, sentence: str) -> ManifestError:
    place = where if line is None else f"{where}:{line}"
    return ManifestError(f"{place}: {sentence}", file=where, line=line)


def _refuse_size(text: str, where: str) -> None:
    try:
        size = len(text.encode()) if len(text) <= LONGEST_TEXT else len(text)
    except UnicodeEncodeError as error:
        raise _error(where, text.count("\n", 0, error.start) + 1, "the text is not UTF-8") from error
    if size > LONGEST_TEXT:
        raise _error(where, 1, f"the file has {size} bytes; allowed: {LONGEST_TEXT}")
    for number, line in enumerate(text.split("\n"), 1):
        if len(line.encode()) > LONGEST_LINE:
            raise _error(where, number, f"the line has {len(line.encode())} bytes; allowed: {LONGEST_LINE}")
        if "\0" in line:
            raise _error(where, number, "the line holds a NUL character; allowed: text")


def _not_toml(message: str, text: str, where: str) -> ManifestError:
    found = _AT_LINE.search(message)
    at_line = int(found[1]) if found and found[1] else text.rstrip("\n").count("\n") + 1
    what = message[: found.start()] if found else message
    return _error(where, at_line, f"not TOML: {what[:1].lower()}{what[1:]}")


class _Scanner:
    """Walks over statements, and notes the line of every header and key."""

    def __init__(self, text: str, where: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._where = where
        self._line = 1
        self._table: Path = ()
        self._rows: dict[Path, int] = {}  # how many rows each array of tables has so far

    def run(self) -> None:
        at = 0
        while at < len(self._text):
            found = _STATEMENT.match(self._text, at)
            if found is not None:
                self._note(found)
                at = found.end()
            at = self._skip_value(at)

    def _note(self, found: re.Match[str]) -> None:
        names = tuple(_unquoted(part) for part in _PART.findall(found[found.lastgroup or 0]))
        if len(names) > DEEPEST:
            raise self._too_deep()
        if found.lastgroup == "key":
            self._put((*self._table, *names))
            return
        path = self._in_last_rows(names[:-1]) + names[-1:]
        if found.lastgroup == "array":
            self._put(path)
            self._rows[path] = self._rows.get(path, -1) + 1
        self._table = (*path, self._rows[path]) if path in self._rows else path
        self._put(self._table)

    def _in_last_rows(self, names: tuple[str, ...]) -> Path:
        """The path of a table that a header names: inside the last row of each array of tables on the way."""
        path: Path = ()
        for name in names:
            path = (*path, name)
            if path in self._rows:
                path = (*path, self._rows[path])
        return path

    def _put(self, path: Path) -> None:
        self.lines.setdefault(path, self._line)

    def _skip_value(self, at: int) -> int:
        """Goes to the start of the next statement, past brackets and strings of several lines."""
        depth = 0
        while (found := _TOKEN.search(self._text, at)) is not None:
            token, at = found[0], found.end()
            if token in ("[", "{"):
                depth += 1
            elif token in ("]", "}"):
                depth = max(depth - 1, 0)
            if depth > DEEPEST:
                raise self._too_deep()
            self._line += token.count("\n")
            if token == "\n" and depth == 0:
                return at
        return len(self._text)

    def _too_deep(self) -> ManifestError:
        return _error(self._where, self._line, f"nested too deep; allowed: {DEEPEST} levels")


def _scan(text: str, where: str) -> dict[Path, int]:
    scanner = _Scanner(text, where)
    scanner.run()
    return scanner.lines


def _unquoted(part: str) -> str:
    # Escapes stay as they are: such a key is in no schema, and the line of its table serves as well.
    return part[1:-1] if part[0] in "\"'" else part
