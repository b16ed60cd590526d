"""theater:simple/store: content under its digest, and labels, in stores that outlive the actor."""

from __future__ import annotations

from theater.store.labels import Labels

Reference = dict[str, str]


class Store:
    """The interface, on the stores of a home."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels

    def new(self) -> str:
        return self._labels.new()

    def store(self, store_id: str, content: bytes) -> Reference:
        return _reference(self._labels.store(store_id, content))

    def get(self, store_id: str, content_ref: Reference) -> bytes:
        return self._labels.get(store_id, content_ref["hash"])

    def exists(self, store_id: str, content_ref: Reference) -> bool:
        return self._labels.exists(store_id, content_ref["hash"])

    def label(self, store_id: str, label: str, content_ref: Reference) -> None:
        self._labels.label(store_id, label, content_ref["hash"])

    def get_by_label(self, store_id: str, label: str) -> Reference | None:
        found = self._labels.get_by_label(store_id, label)
        return _reference(found) if found is not None else None

    def remove_label(self, store_id: str, label: str) -> None:
        self._labels.remove_label(store_id, label)

    def remove_from_label(self, store_id: str, label: str, content_ref: Reference) -> None:
        self._labels.remove_from_label(store_id, label, content_ref["hash"])

    def store_at_label(self, store_id: str, label: str, content: bytes) -> Reference:
        return _reference(self._labels.store_at_label(store_id, label, content))

    def replace_content_at_label(self, store_id: str, label: str, content: bytes) -> Reference:
        return _reference(self._labels.replace_content_at_label(store_id, label, content))

    def replace_at_label(self, store_id: str, label: str, content_ref: Reference) -> None:
        self._labels.replace_at_label(store_id, label, content_ref["hash"])

    def list_labels(self, store_id: str) -> list[str]:
        return self._labels.list_labels(store_id)

    def list_all_content(self, store_id: str) -> list[Reference]:
        return [_reference(digest) for digest in self._labels.list_all_content(store_id)]

    def calculate_total_size(self, store_id: str) -> int:
        return self._labels.calculate_total_size(store_id)


def _reference(digest: str) -> Reference:
    return {"hash": digest}
