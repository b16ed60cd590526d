"""A frozen dataclass is its own schema: each field says how its key is read, and the class reads its table.

One definition gives the type, the default, the check, the list of allowed keys in an error, and the plain form,
which is the table again with every default filled in. `read(cls, plain(value))` is `value`.

Knows nothing of manifests. What two keys may not be together is the business of whoever owns the class.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, TypeVar

from theater.core.quantities import duration, show, show_duration, show_size, size
from theater.core.toml_text import Document, Path
from theater.errors import InvalidInput, ManifestError

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

# Makes a field's value of what stands in the table. Raises InvalidInput with the rest of the sentence that begins
# with the key; or a whole ManifestError, when it knows a better place than the key.
Reader = Callable[[Any, "Place"], Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a document a value stands."""

    document: Document
    path: Path = ()

    def __truediv__(self, key: str | int) -> Place:
        return Place(self.document, (*self.path, key))

    @property
    def line(self) -> int | None:
        """Its line, from 1; None when the document was no text."""
        return self.document.line(self.path)

    def error(self, sentence: str) -> ManifestError:
        """An error of this place: file, line, table, then `sentence`."""
        return self.document.error(self.path, f"{self._table()}{sentence}")

    def error_about(self, key: str, sentence: str) -> ManifestError:
        """An error of this table, on the line of one of its keys."""
        return self.document.error((*self.path, key), f"{self._table()}{sentence}")

    def error_of_key(self, sentence: str) -> ManifestError:
        """An error of the value of a key: the last part of the path names the key, the rest its table."""
        return self.document.error(self.path, f"{self._parent()._table()}{self._name()}: {sentence}")

    def _parent(self) -> Place:
        end = -2 if isinstance(self.path[-1], int) and len(self.path) > 1 else -1
        return Place(self.document, self.path[:end])

    def _name(self) -> str:
        return ".".join(str(part) for part in self.path[len(self._parent().path) :])

    def _table(self) -> str:
        names = ".".join(part for part in self.path if isinstance(part, str))
        if not names:
            return ""
        return f"[[{names}]] " if isinstance(self.path[-1], int) else f"[{names}] "


def key(
    reader: Reader, default: Any = dataclasses.MISSING, *, alias: str | None = None, name: str | None = None
) -> Any:
    """A field of a schema.

    Args:
        reader: makes the field's value.
        default: the value when the key is absent; without one the key is required.
        alias: another name of the key.
        name: the key, where it is not the field's name.
    """
    return field(default=default, metadata={"reader": reader, "alias": alias, "name": name})


def table_key(schema: type[Any], *, name: str | None = None) -> Any:
    """A field that is a table of its own; every key of `schema` needs a default."""
    return field(default_factory=schema, metadata={"reader": table(schema), "alias": None, "name": name})


def read(schema: type[T], values: object, place: Place) -> T:
    """An instance of `schema` made from a table.

    Raises:
        ManifestError: an unknown key, a missing one, or a value that its reader refuses; the first in the order of
            the table.
    """
    if not isinstance(values, Mapping):
        raise place.error_of_key(f"found {show(values)}; allowed: a table")
    fields = {_key_name(item): item for item in dataclasses.fields(schema)}  # type: ignore[arg-type]
    aliases = {item.metadata["alias"]: name for name, item in fields.items() if item.metadata["alias"]}
    found: dict[str, Any] = {}
    for given, value in values.items():
        name = aliases.get(given, given)
        if name not in fields:
            raise place.error_about(given, unknown_key(given, fields))
        if name in values and given in aliases:
            raise place.error_about(given, f"{given} and {name} are one key; give one of them")
        found[fields[name].name] = _value(fields[name], value, place / given)
    for name, item in fields.items():
        if item.name not in found and item.default is item.default_factory is dataclasses.MISSING:
            raise place.error(f"{name} is missing")
    return schema(**found)


def keys(schema: type[Any]) -> tuple[str, ...]:
    """The keys that a table of `schema` may have."""
    return tuple(_key_name(item) for item in dataclasses.fields(schema))


def plain(value: Any) -> Any:
    """`value` as the table it could have been read from: dicts, lists and scalars, every default filled in."""
    if dataclasses.is_dataclass(value):
        return {_key_name(item): plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def unknown_key(given: str, allowed: Mapping[str, Any]) -> str:
    """The sentence about a key that does not exist, with the one that was probably meant."""
    shown = given if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", given) else show(given)
    return f"{shown} is not a key; allowed: {', '.join(allowed) or 'none'}{did_you_mean(given, allowed)}"


def did_you_mean(given: str, allowed: Mapping[str, Any]) -> str:
    """`; did you mean X?` when one of `allowed` is near, else nothing."""
    from difflib import get_close_matches  # only who has made a mistake waits for its import

    near = get_close_matches(given[:60], list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _key_name(item: dataclasses.Field[Any]) -> str:
    return item.metadata.get("name") or item.name


def _value(item: dataclasses.Field[Any], value: object, place: Place) -> Any:
    # TOML has no null; the plain form writes one where a field has nothing.
    if value is None and item.default is None:
        return None
    return read_value(item.metadata["reader"], value, place)


def read_value(reader: Reader, value: object, place: Place) -> Any:
    """What `reader` reads at `place`.

    Raises:
        ManifestError: it refuses the value.
    """
    try:
        return reader(value, place)
    except ManifestError:
        raise
    except InvalidInput as error:
        raise place.error_of_key(error.message) from error


# ---- readers


def text(value: object, place: Place) -> str:
    """Any text that is not empty."""
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"found {show(value)}; allowed: a text that is not empty")
    return value


def any_text(value: object, place: Place) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise InvalidInput(f"found {show(value)}; allowed: a text")
    return value


def boolean(value: object, place: Place) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise InvalidInput(f"found {show(value)}; allowed: true, false")
    return value


def texts(value: object, place: Place) -> tuple[str, ...]:
    """An array of texts."""
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        raise InvalidInput(f"found {show(value)}; allowed: an array of texts")
    return tuple(value)


def matching(pattern: str, allowed: str) -> Reader:
    """A text that matches `pattern` as a whole; `allowed` says it in words."""
    compiled = re.compile(pattern)

    def reader(value: object, place: Place) -> str:
        if not isinstance(value, str) or compiled.fullmatch(value) is None:
            raise InvalidInput(f"found {show(value)}; allowed: {allowed}")
        return value

    return reader


def integer(least: int, most: int) -> Reader:
    """A whole number within bounds."""

    def reader(value: object, place: Place) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidInput(f"found {show(value)}; allowed: a whole number from {least} to {most}")
        return value

    return reader


def fraction(value: object, place: Place) -> float:
    """A number from 0 to 1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise InvalidInput(f"found {show(value)}; allowed: a number from 0 to 1")
    return float(value)


def bytes_from(least: int, most: int) -> Reader:
    """A size within bounds, in bytes."""

    def reader(value: object, place: Place) -> int:
        count = size(value)
        if not least <= count <= most:
            raise InvalidInput(f"found {show(value)}; allowed: {show_size(least)} to {show_size(most)}")
        return count

    return reader


def milliseconds(least: int, most: int, *, infinity: bool = False) -> Reader:
    """A duration within bounds, in milliseconds; with `infinity`, also "infinity", which is None."""

    def reader(value: object, place: Place) -> int | None:
        if infinity and (value is None or value == "infinity"):
            return None
        time = duration(value)
        if not least <= time <= most:
            bounds = f"{show_duration(least)} to {show_duration(most)}" + (', or "infinity"' if infinity else "")
            raise InvalidInput(f"found {show(value)}; allowed: {bounds}")
        return time

    return reader


def one_of(enum: type[E]) -> Reader:
    """A text that is the value of a member of `enum`."""
    members = {member.value: member for member in enum}

    def reader(value: object, place: Place) -> E:
        if not isinstance(value, str) or value not in members:
            near = did_you_mean(value, members) if isinstance(value, str) else ""
            raise InvalidInput(f"found {show(value)}; allowed: {', '.join(members)}{near}")
        return members[value]

    return reader


def optional(reader: Reader) -> Reader:
    """What `reader` reads; a key that may be absent in the plain form too."""

    def optional_reader(value: object, place: Place) -> Any:
        return None if value is None else reader(value, place)

    return optional_reader


def table(schema: type[Any]) -> Reader:
    """A table of `schema`."""

    def reader(value: object, place: Place) -> Any:
        return read(schema, value, place)

    return reader


def rows(reader: Reader) -> Reader:
    """An array of tables, each read by `reader`; a tuple."""

    def rows_reader(value: object, place: Place) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise InvalidInput(f"found {show(value)}; allowed: tables, each under its own [[{place.path[-1]}]]")
        return tuple(reader(row, place / number) for number, row in enumerate(value))

    return rows_reader
