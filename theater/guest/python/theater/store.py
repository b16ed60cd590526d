"""Content that is kept under its digest, and labels that name it."""

from theater._host import ask, interface

_store = interface("store")


class Store:
    """A store: the actor's own, or one that its manifest names.

    Content is bytes and is named by its hash, in hexadecimal. Every method raises `CallFailed` when the host refuses.

    Args:
        id: an existing store, or the name of one in the manifest; without it, a new one.
    """

    def __init__(self, id: str | None = None) -> None:
        self.id: str = ask(_store.new) if id is None else id

    def put(self, content: bytes) -> str:
        """Keeps content and returns its hash."""
        return ask(_store.store, self.id, content).hash

    def get(self, hash: str) -> bytes:
        """The content of a hash."""
        return ask(_store.get, self.id, _store.ContentRef(hash))

    def exists(self, hash: str) -> bool:
        """Whether the store has the content of a hash."""
        return ask(_store.exists, self.id, _store.ContentRef(hash))

    def label(self, label: str, hash: str) -> None:
        """Adds content to a label."""
        ask(_store.label, self.id, label, _store.ContentRef(hash))

    def find(self, label: str) -> str | None:
        """The hash of the content that a label names."""
        found = ask(_store.get_by_label, self.id, label)
        return None if found is None else found.hash

    def unlabel(self, label: str, hash: str | None = None) -> None:
        """Removes one content from a label, or the whole label; the content stays."""
        if hash is None:
            ask(_store.remove_label, self.id, label)
        else:
            ask(_store.remove_from_label, self.id, label, _store.ContentRef(hash))

    def put_at(self, label: str, content: bytes) -> str:
        """Keeps content, adds it to a label, and returns its hash."""
        return ask(_store.store_at_label, self.id, label, content).hash

    def replace_at(self, label: str, content: bytes) -> str:
        """Keeps content, makes the label name nothing else, and returns its hash."""
        return ask(_store.replace_content_at_label, self.id, label, content).hash

    def point(self, label: str, hash: str) -> None:
        """Makes a label name this content and nothing else."""
        ask(_store.replace_at_label, self.id, label, _store.ContentRef(hash))

    def labels(self) -> list[str]:
        """All labels."""
        return ask(_store.list_labels, self.id)

    def contents(self) -> list[str]:
        """The hashes of all content."""
        return [found.hash for found in ask(_store.list_all_content, self.id)]

    def size(self) -> int:
        """The bytes of all content together."""
        return ask(_store.calculate_total_size, self.id)
