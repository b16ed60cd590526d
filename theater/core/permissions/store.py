"""Which stores an actor may open beside its own, and how much it may keep."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from theater.core import schema
from theater.core.permissions import Asked
from theater.core.quantities import GIB, show, show_size
from theater.core.schema import Place, key
from theater.errors import InvalidInput

NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
NAME_WORDS = "a name of small letters, digits and '-', at most 64, the first a letter"
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _stores(value: object, place: Place) -> tuple[str, ...]:
    found = schema.texts(value, place)
    for store in found:
        if NAME.fullmatch(store) is None and _ID.fullmatch(store) is None:
            raise InvalidInput(f"found {show(store)}; allowed: {NAME_WORDS}, or the id of a store")
    return tuple(dict.fromkeys(found))


def is_store_name(text: str) -> bool:
    """Whether a text names a store that actors share, and is not a store's id."""
    return NAME.fullmatch(text) is not None and _ID.fullmatch(text) is None


@dataclass(frozen=True, slots=True)
class Store:
    """Permissions of the handler `store`.

    Args:
        read: stores of others that it may read: names, which are the same for all actors of a server, or ids.
        write: likewise, that it may write to. One that it may also read is in both.
        quota: bytes of all content in the stores that it has made, together.
        store_quota: bytes of all content in any one store that it writes to.
        items: how many contents, and how many labels, there may be in any one store that it writes to.
        stores: how many stores it may make.
    """

    read: tuple[str, ...] = key(_stores, ())
    write: tuple[str, ...] = key(_stores, ())
    quota: int = key(schema.bytes_from(0, 1024 * GIB), GIB)
    store_quota: int = key(schema.bytes_from(0, 1024 * GIB), GIB)
    items: int = key(schema.integer(0, 10_000_000), 100_000)
    stores: int = key(schema.integer(0, 1_000_000), 1000)

    def excess(self, granted: Self) -> str | None:
        for right in ("read", "write"):
            more = [store for store in getattr(self, right) if store not in getattr(granted, right)]
            if more:
                return f"{right} the store {show(more[0])}"
        for name in ("quota", "store_quota"):
            if (ours := getattr(self, name)) > (theirs := getattr(granted, name)):
                return f"have {name} = {show_size(ours)}, its parent {show_size(theirs)}"
        for name in ("items", "stores"):
            if (ours := getattr(self, name)) > (theirs := getattr(granted, name)):
                return f"have {name} = {ours}, its parent {theirs}"
        return None

    def used(self, calls: Sequence[Asked]) -> Self:
        done = [(call.args[0], call.function in READING) for call in calls if not call.refused and call.args]
        return replace(
            self,
            read=tuple(store for store in self.read if (store, True) in done),
            write=tuple(store for store in self.write if (store, False) in done),
        )


READING = frozenset(
    {"get", "exists", "get-by-label", "list-labels", "list-all-content", "calculate-total-size"},
)
"""Functions of theater:simple/store that change nothing; all others but `new` write."""
