"""The stores that actors see: each has its own content, and labels that stand for lists of it.

    ROOT/<store id>/content/ab/cdef…   an empty file for each content that belongs to the store
    ROOT/<store id>/labels/<name>      one label: canonical msgpack [label, digests, newest last], then its digest
                                       (codec.digest, tag "theater label 1"); the name is the blake3 of the label
    ROOT/<store id>/lock               held (flock) while a label is changed

The bytes are in the home's `ContentStore`, once, whoever stored them. What belongs to a store is noted, so that an
actor that guesses a digest does not get what another one stored. A label is text that an actor chose: as the name of
a file it would be too long, too strange, or a way out of the directory, so its digest is the name.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from theater.core.codec import DIGEST_SIZE, content_digest, digest, pack, unpack
from theater.durable import sync_folder
from theater.errors import Conflict, ContentDamaged, InvalidInput, UnknownContent, WireError, disk_error
from theater.store.content import ContentStore

LABEL_MAX = 255
"""Longest label, bytes of UTF-8."""

_TAG = b"theater label 1"


class Labels:
    """All stores of one home: the operations of the `store` interface. Digests are 64 hex digits.

    Every operation but `new` raises UnknownContent if there is no such store, and InvalidInput for a store id,
    digest or label that is none. What writes raises DiskFull or IntegrityError if it cannot, and changes nothing then.

    Args:
        root: directory; made when the first store is.
        content: where the bytes are.
        before_change: called before anything is changed that others may see; what it raises prevents that.
    """

    def __init__(
        self, root: Path | str, content: ContentStore, before_change: Callable[[], object] = lambda: None
    ) -> None:
        self._root = str(root)
        self._content = content
        self._before_change = before_change

    def new(self, store: str | None = None) -> str:
        """Makes an empty store and returns its id.

        Args:
            store: the id that it gets, a UUID in canonical text; a random one if None.

        Raises:
            Conflict: there is one of this id.
        """
        store = str(uuid.uuid4()) if store is None else _store_id(store)
        if os.path.isdir(f"{self._root}/{store}"):
            raise Conflict(f"there is a store {store} already", store=store)
        self._before_change()
        draft = f"{self._root}/.{store}.{os.urandom(4).hex()}"
        try:
            os.makedirs(f"{draft}/content", mode=0o700)
            os.mkdir(f"{draft}/labels", 0o700)
            os.rename(draft, f"{self._root}/{store}")
            if self._content.durable:
                sync_folder(f"{self._root}/{store}")
                sync_folder(self._root)
        except OSError as error:
            raise disk_error(error, f"making the store {store}") from error
        return store

    def stores(self) -> list[str]:
        """The ids of all stores."""
        return sorted(name for name in _names(self._root) if not name.startswith("."))

    # ---- content

    def store(self, store: str, data: bytes) -> str:
        """Keeps `data` in the store; returns its digest."""
        folder = self._folder(store)
        found = self._content.put(data)
        self._note(folder, found)
        return found

    def get(self, store: str, content: str) -> bytes:
        """The bytes of a content of the store.

        Raises:
            UnknownContent: the store does not have it.
            ContentDamaged: the bytes are not what they were.
        """
        self._require(store, content)
        return self._content.get(content)

    def exists(self, store: str, content: str) -> bool:
        """Whether the content belongs to the store and is there."""
        return os.path.exists(_noted(self._folder(store), content)) and self._content.exists(content)

    def list_all_content(self, store: str) -> list[str]:
        """The digests of all content of the store, in order."""
        folder = f"{self._folder(store)}/content"
        return sorted(half + rest for half in _names(folder) for rest in _names(f"{folder}/{half}"))

    def calculate_total_size(self, store: str) -> int:
        """Bytes of all content of the store."""
        return sum(self._content.size(content) for content in self.list_all_content(store))

    # ---- labels

    def label(self, store: str, label: str, content: str) -> None:
        """Adds the content to the label, as its newest; content that the label has already becomes the newest."""
        self._require(store, content)
        with self._changing(store, label) as digests:
            if content in digests:
                digests.remove(content)
            digests.append(content)

    def get_by_label(self, store: str, label: str) -> str | None:
        """The newest content of the label; None if there is no such label."""
        digests = self.labelled(store, label)
        return digests[-1] if digests else None

    def labelled(self, store: str, label: str) -> list[str]:
        """All content of the label, newest last; empty if there is no such label."""
        return self._read(f"{self._folder(store)}/labels/{_file_name(label)}")[1]

    def remove_label(self, store: str, label: str) -> None:
        """Removes the label, if there is one. The content stays in the store."""
        with self._changing(store, label) as digests:
            digests.clear()

    def remove_from_label(self, store: str, label: str, content: str) -> None:
        """Removes the content from the label, if it is there; a label without content is no more."""
        with self._changing(store, label) as digests:
            digests[:] = [each for each in digests if each != content]

    def store_at_label(self, store: str, label: str, data: bytes) -> str:
        """`store`, then `label`."""
        _file_name(label)
        content = self.store(store, data)
        self.label(store, label, content)
        return content

    def replace_content_at_label(self, store: str, label: str, data: bytes) -> str:
        """`store`, then `replace_at_label`."""
        _file_name(label)
        content = self.store(store, data)
        self.replace_at_label(store, label, content)
        return content

    def replace_at_label(self, store: str, label: str, content: str) -> None:
        """Makes the content the only one of the label."""
        self._require(store, content)
        with self._changing(store, label) as digests:
            digests[:] = [content]

    def list_labels(self, store: str) -> list[str]:
        """All labels of the store, in order."""
        folder = f"{self._folder(store)}/labels"
        found = [self._read(f"{folder}/{name}") for name in _names(folder) if not name.startswith(".")]
        return sorted(label for label, digests in found if digests)

    # ---- for the collector

    def references(self) -> set[str]:
        """The digests of all content that belongs to any store."""
        return {content for store in self.stores() for content in self.list_all_content(store)}

    # ---- files

    def _folder(self, store: str) -> str:
        folder = f"{self._root}/{_store_id(store)}"
        if not os.path.isdir(folder):
            raise UnknownContent(f"there is no store {store}", store=store)
        return folder

    def _require(self, store: str, content: str) -> None:
        if not self.exists(store, content):
            raise UnknownContent(f"the store {store} has no content {content}", store=store, digest=content)

    def _note(self, folder: str, content: str) -> None:
        self._before_change()
        path = _noted(folder, content)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.close(os.open(path, flags, 0o600))
            if self._content.durable:
                for named in (os.path.dirname(path), f"{folder}/content", folder):
                    sync_folder(named)
        except OSError as error:
            raise disk_error(error, f"storing content in {folder}") from error

    @contextmanager
    def _changing(self, store: str, label: str) -> Iterator[list[str]]:
        """Gives the digests of a label, and writes what they have become; nobody else changes the store meanwhile."""
        folder = self._folder(store)
        path = f"{folder}/labels/{_file_name(label)}"
        try:
            lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise disk_error(error, f"changing a label in {folder}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self._read(path)[1]
            digests = list(before)
            yield digests
            if digests != before:
                self._before_change()
                self._write(path, label, digests)
        finally:
            os.close(lock)

    def _read(self, path: str) -> tuple[str, list[str]]:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return "", []
        body, check = data[:-DIGEST_SIZE], data[-DIGEST_SIZE:]
        if digest(body, _TAG) != check:
            raise ContentDamaged(f"the label in {path} is not what was written")
        try:
            label, digests = unpack(body, max_len=len(body))
            return label, [bytes(each).hex() for each in digests]
        except (WireError, TypeError, ValueError) as error:
            raise ContentDamaged(f"the label in {path} is none of this version") from error

    def _write(self, path: str, label: str, digests: list[str]) -> None:
        try:
            if not digests:
                os.unlink(path)
                self._sync_labels(path)
                return
            body = pack([label, [bytes.fromhex(each) for each in digests]])
            draft = os.path.join(os.path.dirname(path), ".draft")  # one writer at a time: the lock
            with open(draft, "wb", opener=_private) as file:
                file.write(body + digest(body, _TAG))
                file.flush()
                if self._content.durable:
                    os.fsync(file.fileno())
            os.rename(draft, path)
            self._sync_labels(path)
        except OSError as error:
            raise disk_error(error, f"writing a label in {os.path.dirname(path)}") from error

    def _sync_labels(self, path: str) -> None:
        if self._content.durable:
            sync_folder(os.path.dirname(path))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _noted(folder: str, content: str) -> str:
    if len(content) != 64 or not frozenset("0123456789abcdef").issuperset(content):
        raise InvalidInput(f"{content[:80]!r} is not a digest; one has 64 hexadecimal digits in lower case")
    return f"{folder}/content/{content[:2]}/{content[2:]}"


def _store_id(store: str) -> str:
    try:
        if str(uuid.UUID(store)) == store:
            return store
    except ValueError:
        pass
    raise InvalidInput(f"{store[:80]!r} is not the id of a store, which is a UUID in lower case")


def _file_name(label: str) -> str:
    try:
        encoded = label.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput("a label is text that UTF-8 can carry; this one has lone surrogates") from error
    if not 0 < len(encoded) <= LABEL_MAX:
        raise InvalidInput(f"a label has from 1 to {LABEL_MAX} bytes of UTF-8, this one {len(encoded)}")
    if b"\0" in encoded:
        raise InvalidInput("a label cannot contain NUL")
    return content_digest(encoded).hex()
