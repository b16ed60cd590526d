"""The stores that actors see: each has its own content, and labels that stand for lists of it.

    ROOT/<store id>/content/ab/cdef…   an empty file for each content that belongs to the store
    ROOT/<store id>/labels/<name>      one label: canonical msgpack [label, digests, newest last], then its digest
                                       (codec.digest, tag "theater label 1"); the name is the blake3 of the label
    ROOT/<store id>/used               how much there is in it (theater/store/used.py)
    ROOT/<store id>/lock               held (flock) while any of that is changed
    ROOT/.owners/<owner>/<store id>    an empty file for each store that an actor has made

The bytes are in the home's `ContentStore`, once, whoever stored them. What belongs to a store is noted, so that an
actor that guesses a digest does not get what another one stored. Who may open a store is the business of whoever does
(theater/host/stores.py). A label is text that an actor chose: as the name of
a file it would be too long, too strange, or a way out of the directory, so its digest is the name.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from theater.core.codec import DIGEST_SIZE, content_digest, digest, pack, unpack
from theater.durable import sync_folder
from theater.errors import (
    Conflict,
    ContentDamaged,
    InvalidInput,
    LimitExceeded,
    UnknownContent,
    WireError,
    disk_error,
)
from theater.store.content import ContentStore
from theater.store.used import Used, read_used, write_used

LABEL_MAX = 255
"""Longest label, bytes of UTF-8."""
MOST_OF_A_LABEL = 10_000
"""Contents that one label may stand for."""

_TAG = b"theater label 1"
_ONE_LABEL, _NO_LABEL = Used(0, 0, 1), Used(0, 0, -1)
_OWNERS = ".owners"
_NAMES = uuid.UUID("8f4c2f0e-6b52-5a53-9a0c-6f2f1d1f9d0b")


def named_store(name: str) -> str:
    """The id of the store that is the one of this name for all actors of a home."""
    return str(uuid.uuid5(_NAMES, name))


@dataclass(frozen=True, slots=True)
class Room:
    """What there may be in a store after something was put into it; None for any amount.

    Args:
        size: bytes of all content.
        items: contents, and labels.
        why: whose limit `size` is, for the sentence that says no.
    """

    size: int | None = None
    items: int | None = None
    why: str = "quota"


ANY_ROOM = Room()


class Labels:
    """All stores of one home: the operations of the `store` interface. Digests are 64 hex digits.

    Every operation but `new` raises UnknownContent if there is no such store, and InvalidInput for a store id,
    digest or label that is none. What writes raises DiskFull or IntegrityError if it cannot, LimitExceeded if there is
    no room, and changes nothing then.

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
        self._counted: set[str] = set()

    def new(self, store: str | None = None, owner: str | None = None) -> str:
        """Makes an empty store and returns its id.

        Args:
            store: the id that it gets, a UUID in canonical text; a random one if None.
            owner: id of the actor that it belongs to; None for nobody.

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
            write_used(f"{draft}/used", Used(0, 0, 0), durable=self._content.durable)
            if owner is not None:  # before it is there: a store never belongs to nobody because its maker was killed
                self._give(store, owner)
            os.rename(draft, f"{self._root}/{store}")
            if self._content.durable:
                sync_folder(f"{self._root}/{store}")
                sync_folder(self._root)
        except OSError as error:
            if os.path.isdir(f"{self._root}/{store}"):
                raise Conflict(f"there is a store {store} already", store=store) from error
            raise disk_error(error, f"making the store {store}") from error
        return store

    def ensure(self, store: str) -> None:
        """Makes a store of this id if there is none; it belongs to nobody."""
        if not os.path.isdir(f"{self._root}/{_store_id(store)}"):
            with suppress(Conflict):  # somebody else was faster
                self.new(store)

    def owned(self, owner: str) -> list[str]:
        """The ids of the stores that an actor has made, in order."""
        return sorted(each for each in _names(f"{self._root}/{_OWNERS}/{owner}") if self._is_there(each))

    def belongs(self, store: str, owner: str) -> bool:
        """Whether an actor has made a store."""
        return os.path.exists(f"{self._root}/{_OWNERS}/{owner}/{_store_id(store)}") and self._is_there(store)

    def stores(self) -> list[str]:
        """The ids of all stores."""
        return sorted(name for name in _names(self._root) if not name.startswith("."))

    # ---- content

    def store(self, store: str, data: bytes, room: Room = ANY_ROOM) -> str:
        """Keeps `data` in the store; returns its digest."""
        folder = self._folder(store)
        found = content_digest(data).hex()
        if os.path.exists(_noted(folder, found)):
            self._content.put(data)
            return found
        more = Used(1, len(data), 0)
        with self._locked(folder):
            used = self._with_room(store, more, room)
            self._content.put(data)
            if not os.path.exists(_noted(folder, found)):  # while nobody had the lock
                self._before_change()
                self._write_used(folder, used, more)
                self._note(folder, found)
        return found

    def size(self, store: str, content: str) -> int:
        """Bytes of a content of the store. Raises UnknownContent."""
        self._require(store, content)
        return self._content.size(content)

    def used(self, store: str) -> Used:
        """How much there is in the store; it may be a little more than there is."""
        folder = self._folder(store)
        try:
            found = read_used(f"{folder}/used")
        except OSError as error:
            raise disk_error(error, f"reading {folder}/used") from error
        return found if found is not None else self._count(store)

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
        return self._size_of(self.list_all_content(store))

    # ---- labels

    def label(self, store: str, label: str, content: str, room: Room = ANY_ROOM) -> None:
        """Adds the content to the label, as its newest; content that the label has already becomes the newest."""
        self._require(store, content)
        with self._changing(store, label, room) as digests:
            if content in digests:
                digests.remove(content)
            elif len(digests) >= MOST_OF_A_LABEL:
                raise LimitExceeded(
                    f"the label {label!r} stands for {len(digests)} contents, which is the most; remove some from it"
                )
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
        with self._changing(store, label, ANY_ROOM) as digests:
            digests.clear()

    def remove_from_label(self, store: str, label: str, content: str) -> None:
        """Removes the content from the label, if it is there; a label without content is no more."""
        with self._changing(store, label, ANY_ROOM) as digests:
            digests[:] = [each for each in digests if each != content]

    def store_at_label(self, store: str, label: str, data: bytes, room: Room = ANY_ROOM) -> str:
        """`store`, then `label`."""
        _file_name(label)
        content = self.store(store, data, room)
        self.label(store, label, content, room)
        return content

    def replace_content_at_label(self, store: str, label: str, data: bytes, room: Room = ANY_ROOM) -> str:
        """`store`, then `replace_at_label`."""
        _file_name(label)
        content = self.store(store, data, room)
        self.replace_at_label(store, label, content, room)
        return content

    def replace_at_label(self, store: str, label: str, content: str, room: Room = ANY_ROOM) -> None:
        """Makes the content the only one of the label."""
        self._require(store, content)
        with self._changing(store, label, room) as digests:
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

    def _is_there(self, store: str) -> bool:
        return os.path.isdir(f"{self._root}/{store}")

    def _give(self, store: str, owner: str) -> None:
        folder = f"{self._root}/{_OWNERS}/{owner}"
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.close(os.open(f"{folder}/{store}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if self._content.durable:
            for named in (folder, os.path.dirname(folder), self._root):
                sync_folder(named)

    def _note(self, folder: str, content: str) -> None:
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
    def _changing(self, store: str, label: str, room: Room) -> Iterator[list[str]]:
        """Gives the digests of a label, and writes what they have become; nobody else changes the store meanwhile."""
        folder = self._folder(store)
        path = f"{folder}/labels/{_file_name(label)}"
        with self._locked(folder):
            before = self._read(path)[1]
            digests = list(before)
            yield digests
            if digests == before:
                return
            self._before_change()
            if not before:
                self._write_used(folder, self._with_room(store, _ONE_LABEL, room), _ONE_LABEL)
            self._write(path, label, digests)
            if not digests:
                self._write_used(folder, self.used(store), _NO_LABEL)

    @contextmanager
    def _locked(self, folder: str) -> Iterator[None]:
        """Nobody else, in any process, changes the store meanwhile."""
        try:
            lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise disk_error(error, f"changing the store in {folder}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    # ---- how much (theater/store/used.py)

    def _with_room(self, store: str, more: Used, room: Room) -> Used:
        """What is used, with the lock held, when there is room for more. It is counted again before somebody is refused
        for the first time: a writer that was killed may have left it too high."""
        used = self.used(store)
        sentence = _no_room(store, used, more, room)
        if sentence is not None and store not in self._counted:
            self._counted.add(store)
            used = self._count(store)
            sentence = _no_room(store, used, more, room)
        if sentence is not None:
            raise LimitExceeded(sentence, store=store)
        return used

    def _write_used(self, folder: str, used: Used, more: Used) -> None:
        """Counts what is about to come, or has gone, with the lock held."""
        after = Used(*(max(0, had + has) for had, has in zip(used, more, strict=True)))
        try:
            write_used(f"{folder}/used", after, durable=self._content.durable)
        except OSError as error:
            raise disk_error(error, f"writing {folder}/used") from error

    def _count(self, store: str) -> Used:
        contents = self.list_all_content(store)
        labels = sum(not name.startswith(".") for name in _names(f"{self._folder(store)}/labels"))
        return Used(len(contents), self._size_of(contents), labels)

    def _size_of(self, contents: list[str]) -> int:
        size = 0
        for content in contents:
            with suppress(UnknownContent):  # its bytes are lost, which whoever gets it is told
                size += self._content.size(content)
        return size

    def _read(self, path: str) -> tuple[str, list[str]]:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return "", []
        except OSError as error:
            raise disk_error(error, f"reading a label in {os.path.dirname(path)}") from error
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


def _no_room(store: str, used: Used, more: Used, room: Room) -> str | None:
    """Why there is no room for more, if there is none."""
    if room.size is not None and more.size > 0 and used.size + more.size > room.size:
        return (
            f"there is no room for {more.size} bytes in the store {store}: it has {used.size}, and may have "
            f"{room.size} ({room.why})"
        )
    for has, comes, what in ((used.contents, more.contents, "contents"), (used.labels, more.labels, "labels")):
        if room.items is not None and comes > 0 and has + comes > room.items:
            return f"there is no room for more {what} in the store {store}: it has {has} of {room.items} (items)"
    return None


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
