"""theater:simple/store: content under its digest, and labels, in stores that outlive the actor."""

from __future__ import annotations

from theater.core.manifest import LARGEST_PAYLOAD
from theater.host.base import Refused
from theater.host.stores import Stores

Reference = dict[str, str]


class Store:
    """The interface, on the stores of an actor."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._labels = stores.labels

    def new(self) -> str:
        return self._stores.new()

    def store(self, store_id: str, content: bytes) -> Reference:
        store = self._stores.writable(store_id)
        kept = self._labels.store(store, content, self._stores.room(store))
        self._stores.was_put_into(store)
        return _reference(kept)

    def get(self, store_id: str, content_ref: Reference) -> bytes:
        store = self._stores.readable(store_id)
        size = self._labels.size(store, content_ref["hash"])
        if size > LARGEST_PAYLOAD:
            raise Refused(f"the content has {size} bytes, and an actor can be given {LARGEST_PAYLOAD} at most")
        return self._labels.get(store, content_ref["hash"])

    def exists(self, store_id: str, content_ref: Reference) -> bool:
        return self._labels.exists(self._stores.readable(store_id), content_ref["hash"])

    def label(self, store_id: str, label: str, content_ref: Reference) -> None:
        store = self._stores.writable(store_id)
        self._labels.label(store, label, content_ref["hash"], self._stores.room(store))

    def get_by_label(self, store_id: str, label: str) -> Reference | None:
        found = self._labels.get_by_label(self._stores.readable(store_id), label)
        return _reference(found) if found is not None else None

    def remove_label(self, store_id: str, label: str) -> None:
        self._labels.remove_label(self._stores.writable(store_id), label)

    def remove_from_label(self, store_id: str, label: str, content_ref: Reference) -> None:
        self._labels.remove_from_label(self._stores.writable(store_id), label, content_ref["hash"])

    def store_at_label(self, store_id: str, label: str, content: bytes) -> Reference:
        store = self._stores.writable(store_id)
        kept = self._labels.store_at_label(store, label, content, self._stores.room(store))
        self._stores.was_put_into(store)
        return _reference(kept)

    def replace_content_at_label(self, store_id: str, label: str, content: bytes) -> Reference:
        store = self._stores.writable(store_id)
        kept = self._labels.replace_content_at_label(store, label, content, self._stores.room(store))
        self._stores.was_put_into(store)
        return _reference(kept)

    def replace_at_label(self, store_id: str, label: str, content_ref: Reference) -> None:
        store = self._stores.writable(store_id)
        self._labels.replace_at_label(store, label, content_ref["hash"], self._stores.room(store))

    def list_labels(self, store_id: str) -> list[str]:
        return self._labels.list_labels(self._stores.readable(store_id))

    def list_all_content(self, store_id: str) -> list[Reference]:
        return [_reference(digest) for digest in self._labels.list_all_content(self._stores.readable(store_id))]

    def calculate_total_size(self, store_id: str) -> int:
        return self._labels.calculate_total_size(self._stores.readable(store_id))


def _reference(digest: str) -> Reference:
    return {"hash": digest}
