"""The files of an actor: what it may do below folders that were opened when its life began.

A path is split into its folder and its last name. The folder is opened below the granted one (theater/beneath.py), and
what is done to the name is done in that open folder, so that nothing between can be swapped for a link. Only regular
files and folders are read and written; anything else (links, pipes, devices, sockets) has a name here that can be
deleted, and no more.

A file is written beside its place, under a name that begins with `DRAFT`, and renamed: whoever reads it, at any time,
finds the old content or the new. Actors do not see such names. What a killed life left of them its next one deletes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from theater.beneath import Found, open_beneath, open_folder, rename_new, tree
from theater.core import granted_paths
from theater.core.permissions.filesystem import Filesystem, Right
from theater.core.quantities import show
from theater.errors import InvalidInput, TimedOut
from theater.host.base import Refused

DRAFT = ".theater-draft."
"""Names that begin so are files and folders in the middle of something."""
MOST_NAMES = 100_000
"""Names that a list may have."""

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
_LOOK = os.O_PATH | os.O_NOFOLLOW
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SENTENCES = {
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of this path is not a folder",
    errno.EISDIR: "this is a folder",
    errno.ELOOP: "a link stands in the way, or folders are too deep within each other; links are not followed",
    errno.EXDEV: "this leads out of the granted folder, or to another disk",
    errno.EEXIST: "there is something of this name already",
    errno.ENOTEMPTY: "the folder is not empty",
    errno.ENAMETOOLONG: "a name is too long for this disk",
    errno.EACCES: "the server's user may not do this",
}
_BETWEEN_LOOKS = 256
"""Things that are deleted or counted between two looks at the time."""


class Info(NamedTuple):
    """What there is: `file`, `folder` or `other`; bytes; ms since 1970 of its last change."""

    kind: str
    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a life gives to its files.

    Args:
        read: descriptors of the folders that may be read, by the name that the manifest gives them.
        write: likewise of those that may be written to.
        actor: its id.
        durable: what is written outlives the machine when the actor is told so.
        before_change: called before anything is changed; what it raises prevents that.
        remaining: seconds that the running call may still take; None for any time.
    """

    read: Mapping[str, int]
    write: Mapping[str, int]
    actor: str
    durable: bool
    before_change: Callable[[], object]
    remaining: Callable[[], float | None]

    def folders(self, right: Right) -> Mapping[str, int]:
        return self.read if right is Right.READ else self.write


class _Spot(NamedTuple):
    """A name in an open folder."""

    folder: int
    name: str


@dataclass(slots=True)
class _Used:
    """What is in the folders that may be written to."""

    size: int = 0
    files: int = 0


class Folders:
    """Files by paths, as the manifest allows. Every method raises `Refused` with a sentence if it cannot."""

    @property
    def places(self) -> list[tuple[int, bool]]:
        """The granted folders, as descriptors, and whether what is in them may be changed."""
        written = {*self._around.write.values()}
        return [(folder, folder in written) for folder in {*written, *self._around.read.values()}]

    def __init__(self, permissions: Filesystem, around: Surroundings) -> None:
        self._may = permissions
        self._around = around
        self._drafts = f"{DRAFT}{around.actor}."
        self._life = os.urandom(4).hex()
        self._number = 0
        self._used: _Used | None = None

    # ---- looking

    def read(self, path: str) -> bytes:
        """The content of a file."""
        with self._told(path), self._file(path) as (fd, size):
            if size > self._may.max_file:
                raise Refused(
                    f"{show(path)} has {size} bytes, max_file is {self._may.max_file}; read-part reads a part of it"
                )
            content = _read(fd, self._may.max_file + 1, 0)
            if len(content) > self._may.max_file:
                raise Refused(f"{show(path)} has grown over max_file = {self._may.max_file} bytes")
            return content

    def read_part(self, path: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset` on; fewer only at the end of the file."""
        self._check_size(path, length)
        with self._told(path), self._file(path) as (fd, size):
            return _read(fd, length, offset) if offset < size else b""

    def names(self, path: str) -> list[str]:
        """What is in a folder, in order of the bytes of the names. Names that are no UTF-8 are left out."""
        with self._told(path), self._opened_folder(path, Right.READ, readable=True) as fd, os.scandir(fd) as found:
            names = []
            for entry in found:
                if _is_shown(entry.name):
                    names.append(entry.name)
                    if len(names) > MOST_NAMES:
                        raise Refused(f"the folder {show(path)} has over {MOST_NAMES} names, which is too long a list")
            return sorted(names)

    def info(self, path: str) -> Info | None:
        """What is there; None if nothing is. To know that it is enough to have any right there."""
        try:
            with self._told(path), self._parent(path, self._any_right(path)) as spot:
                found = os.stat(spot.name, dir_fd=spot.folder, follow_symlinks=False)
        except _Nothing:
            return None
        kind = "file" if stat.S_ISREG(found.st_mode) else "folder" if stat.S_ISDIR(found.st_mode) else "other"
        return Info(kind, found.st_size if kind == "file" else 0, max(0, found.st_mtime_ns // 1_000_000))

    def require_folder(self, path: str) -> None:
        """Raises Refused unless there is a folder in which the actor may read or write."""
        with self._told(path), self._opened_folder(path, self._any_right(path)):
            pass

    # ---- commands, which are run by another process (theater/launcher)

    @property
    def command_timeout(self) -> float:
        """Seconds that a command may take."""
        return self._may.command_timeout / 1000

    def require_command(self, command: str) -> None:
        """Raises Refused unless the manifest names the command."""
        if command not in self._may.commands:
            granted = ", ".join(map(show, self._may.commands)) or "none"
            raise Refused(
                f"the manifest does not let this actor run {show(command)}; allowed: {granted} "
                '([[handler]] type = "filesystem", commands)'
            )

    def require_nix(self) -> None:
        """Raises Refused unless the manifest allows Nix."""
        if not self._may.nix:
            raise Refused(
                "the manifest does not let this actor run commands in Nix development shells "
                '([[handler]] type = "filesystem", nix = true)'
            )

    # ---- changing

    def write(self, path: str, content: bytes) -> None:
        """Makes a file of this content, in place of what the file had."""
        self._check_size(path, len(content))
        with self._told(path), self._to_change(path) as spot:
            before = _regular(spot)
            self._make_room(len(content) - (before.st_size if before else 0), 0 if before else 1, path)
            self._around.before_change()
            draft = self._draft()
            try:
                self._fill(_Spot(spot.folder, draft), content, before)
                os.rename(draft, spot.name, src_dir_fd=spot.folder, dst_dir_fd=spot.folder)
            except BaseException:
                self._drop(_Spot(spot.folder, draft))
                raise
            self._count(len(content) - (before.st_size if before else 0), 0 if before else 1)
            self._sync(spot.folder)

    def append(self, path: str, content: bytes) -> None:
        """Adds to the end of a file, which is made if it is missing."""
        self._check_size(path, len(content))
        with self._told(path), self._to_change(path) as spot:
            before = _regular(spot)
            if before is None:
                self.write(path, content)
                return
            if before.st_nlink > 1:
                raise Refused(f"{show(path)} has other names as well (hard links), so nothing is appended to it")
            self._make_room(len(content), 0, path)
            self._around.before_change()
            fd = open_beneath(spot.folder, spot.name, _APPEND)
            try:
                self._extend(fd, content, path)
            finally:
                os.close(fd)
            self._count(len(content), 0)

    def rename(self, path: str, to: str) -> None:
        """Gives a file or folder another path. A file may replace a file; a folder replaces nothing."""
        with self._told(path), self._to_change(path) as old, self._told(to), self._to_change(to) as new:
            with self._told(path):
                found = os.stat(old.name, dir_fd=old.folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                self._check_depth(old, to)
                self._around.before_change()
                rename_new(old.name, new.name, folder=old.folder, to_folder=new.folder)
            else:
                if _regular(old) is None:
                    raise _no_file(path)
                replaced = _regular(new)
                self._around.before_change()
                os.rename(old.name, new.name, src_dir_fd=old.folder, dst_dir_fd=new.folder)
                same = replaced is not None and (replaced.st_dev, replaced.st_ino) == (found.st_dev, found.st_ino)
                if replaced is not None and not same:
                    self._count(-replaced.st_size, -1)
            self._sync(new.folder)
            self._sync(old.folder)

    def delete(self, path: str) -> None:
        """Deletes a file, or any other name that is no folder's."""
        with self._told(path), self._to_change(path) as spot:
            found = os.stat(spot.name, dir_fd=spot.folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                raise Refused(f"{show(path)} is a folder; delete-dir deletes folders")
            self._around.before_change()
            os.unlink(spot.name, dir_fd=spot.folder)
            self._count(-found.st_size if stat.S_ISREG(found.st_mode) else 0, -1)
            self._sync(spot.folder)

    def make(self, path: str) -> None:
        """Makes a folder, and those on the way to it that are missing. That it is there already is fine."""
        grant, names = self._required(path, Right.WRITE)
        with self._told(path):
            here = os.dup(self._around.write[grant])
            try:
                for name in names:
                    self._make_one(here, name, path)
                    inner = open_folder(here, name)
                    os.close(here)
                    here = inner
            finally:
                os.close(here)

    def delete_folder(self, path: str) -> None:
        """Deletes a folder with all that is in it. It is gone at once, and emptied then."""
        with self._told(path), self._to_change(path) as spot:
            os.close(open_folder(spot.folder, spot.name))
            self._around.before_change()
            draft = _Spot(spot.folder, self._draft())
            rename_new(spot.name, draft.name, folder=spot.folder, to_folder=spot.folder)
            try:
                self._empty(draft, path)
                os.rmdir(draft.name, dir_fd=draft.folder)
            except BaseException:
                with suppress(OSError):
                    rename_new(draft.name, spot.name, folder=spot.folder, to_folder=spot.folder)
                raise
            self._count(0, -1)
            self._sync(spot.folder)

    # ---- where a path leads

    def _grant(self, path: str, right: Right) -> tuple[str, tuple[str, ...]] | None:
        try:
            return granted_paths.nearest(granted_paths.read(path), self._around.folders(right))
        except InvalidInput as error:
            raise Refused(error.message) from error

    def _required(self, path: str, right: Right) -> tuple[str, tuple[str, ...]]:
        found = self._grant(path, right)
        if found is None:
            granted = ", ".join(map(show, self._around.folders(right))) or "no folder"
            raise Refused(
                f"the manifest does not let this actor {right} {show(path)}; it may {right} in {granted} "
                f'([[handler]] type = "filesystem", {right})'
            )
        if any(name.startswith(DRAFT) for name in found[1]):
            raise Refused(f"{show(path)}: names that begin with {DRAFT} are the server's")
        return found

    def _any_right(self, path: str) -> Right:
        return Right.READ if self._grant(path, Right.READ) else Right.WRITE

    @contextmanager
    def _to_change(self, path: str) -> Iterator[_Spot]:
        """The last name of a path below a folder that may be written to."""
        if self._required(path, Right.WRITE)[1] == ():
            raise Refused(f"{show(path)} is a granted folder itself, which stays as it is")
        with self._parent(path, Right.WRITE) as spot:
            yield spot

    @contextmanager
    def _parent(self, path: str, right: Right) -> Iterator[_Spot]:
        """The last name of a path, in its open folder. The granted folder itself is `.` in itself."""
        grant, names = self._required(path, right)
        folder = open_folder(self._around.folders(right)[grant], "/".join(names[:-1]))
        try:
            yield _Spot(folder, names[-1] if names else ".")
        finally:
            os.close(folder)

    @contextmanager
    def _opened_folder(self, path: str, right: Right, *, readable: bool = False) -> Iterator[int]:
        grant, names = self._required(path, right)
        fd = open_folder(self._around.folders(right)[grant], "/".join(names), readable=readable)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def _file(self, path: str) -> Iterator[tuple[int, int]]:
        """A regular file that is open for reading, and its size. Nothing else is opened: a device may act on that."""
        with self._parent(path, Right.READ) as spot:
            if _regular(spot) is None:
                raise _nothing(path)
            fd = open_beneath(spot.folder, spot.name, _READ)
            try:
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode):
                    raise _no_file(path)
                yield fd, found.st_size
            finally:
                os.close(fd)

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        """What the system says is told in a sentence about this path."""
        try:
            yield
        except OSError as error:
            raise _refusal(path, error) from error

    # ---- writing

    def _draft(self) -> str:
        self._number += 1
        return f"{self._drafts}{self._life}.{self._number}"

    def _fill(self, spot: _Spot, content: bytes, before: os.stat_result | None) -> None:
        fd = _new(spot) if before is None else _new_like(spot, before)
        try:
            _write(fd, content)
            if self._around.durable:
                os.fsync(fd)
        finally:
            os.close(fd)

    def _extend(self, fd: int, content: bytes, path: str) -> None:
        """All of the content, or nothing of it."""
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _no_file(path)
        try:
            _write(fd, content)
            if self._around.durable:
                os.fsync(fd)
        except OSError:
            os.ftruncate(fd, found.st_size)
            raise

    def _drop(self, spot: _Spot) -> None:
        with suppress(OSError):
            os.unlink(spot.name, dir_fd=spot.folder)

    def _sync(self, folder: int) -> None:
        """Makes the names in a folder outlive the machine, if that is asked for."""
        if self._around.durable:
            fd = open_folder(folder, ".", readable=True)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _make_one(self, folder: int, name: str, path: str) -> None:
        try:
            os.close(open_folder(folder, name))
            return
        except FileNotFoundError:
            self._make_room(0, 1, path)
        self._around.before_change()
        with suppress(FileExistsError):
            os.mkdir(name, 0o777, dir_fd=folder)
            self._count(0, 1)
            self._sync(folder)

    def _empty(self, spot: _Spot, path: str) -> None:
        fd = open_folder(spot.folder, spot.name, readable=True)
        try:
            for found in self._timed(tree(fd, deleting=True), path):
                remove = os.rmdir if found.is_folder else os.unlink
                with suppress(FileNotFoundError):
                    remove(found.name, dir_fd=found.folder)
                self._count(-found.size, -1)
        finally:
            os.close(fd)

    def _check_depth(self, spot: _Spot, to: str) -> None:
        """What lies in a renamed folder must be reachable there, too."""
        fd = open_folder(spot.folder, spot.name, readable=True)
        try:
            deepest = max((found.depth for found in self._timed(tree(fd), to)), default=0)
        finally:
            os.close(fd)
        there = len(granted_paths.read(to).names) + deepest
        if there > granted_paths.DEEPEST:
            raise Refused(f"{show(to)}: what is in it would be {there} deep; allowed: {granted_paths.DEEPEST}")

    # ---- how much

    def _check_size(self, path: str, size: int) -> None:
        if size > self._may.max_file:
            raise Refused(f"{show(path)}: these are {size} bytes, max_file is {self._may.max_file}")

    def _make_room(self, size: int, files: int, path: str) -> None:
        """Raises Refused if the quota has no room. Others may have made some since it was counted."""
        if self._fits(size, files, self._used or self._measure(path)) or self._fits(size, files, self._measure(path)):
            return
        used = self._used or _Used()
        if used.size + size > self._may.quota and size > 0:
            what = f"{size} more bytes; {used.size} of quota = {self._may.quota} are in use"
        else:
            what = f"one more file or folder; there are {used.files}, and files is {self._may.files}"
        raise Refused(f"{show(path)}: the folders that this actor may write to have no room for {what}")

    def _fits(self, size: int, files: int, used: _Used) -> bool:
        bytes_fit = size <= 0 or used.size + size <= self._may.quota
        return bytes_fit and (files <= 0 or used.files + files <= self._may.files)

    def _measure(self, path: str) -> _Used:
        """Counts what is there, and deletes what a life before this one left half-written."""
        used, cleared = _Used(), False
        outer = [name for name in self._around.write if self._is_outermost(name)]
        for name in outer:
            fd = open_folder(self._around.write[name], ".", readable=True)
            try:
                for found in self._timed(tree(fd), path):
                    if found.name.startswith(self._drafts) and self._dropped(found):
                        cleared = True
                        continue
                    used.size += found.size
                    used.files += 1
            finally:
                os.close(fd)
        if cleared:  # a folder was counted with what was in it
            return self._measure(path)
        self._used = used
        return used

    def _is_outermost(self, name: str) -> bool:
        path = granted_paths.read(name)
        others = (granted_paths.read(other) for other in self._around.write if other != name)
        return all(path.below(other) is None for other in others)

    def _dropped(self, found: Found) -> bool:
        try:
            if found.is_folder:
                self._empty(_Spot(found.folder, found.name), found.name)
                os.rmdir(found.name, dir_fd=found.folder)
            else:
                os.unlink(found.name, dir_fd=found.folder)
        except OSError:
            return False
        return True

    def _count(self, size: int, files: int) -> None:
        if self._used is not None:
            self._used.size = max(0, self._used.size + size)
            self._used.files = max(0, self._used.files + files)

    def _timed(self, found: Iterator[Found], path: str) -> Iterator[Found]:
        for number, each in enumerate(found, 1):
            if number % _BETWEEN_LOOKS == 0 and (left := self._around.remaining()) is not None and left <= 0:
                raise TimedOut(f"{show(path)}: there is so much that the call's time is over ([limits] call_timeout)")
            yield each


class _Nothing(Refused):
    """There is nothing at a path."""


def _regular(spot: _Spot) -> os.stat_result | None:
    """What a regular file is; None if there is nothing. Raises Refused if there is something else."""
    try:
        found = os.stat(spot.name, dir_fd=spot.folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(found.st_mode):
        return found
    if stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise _no_file(spot.name)


def _no_file(path: str) -> Refused:
    return Refused(f"{show(path)} is neither a file nor a folder; links, pipes and devices are not touched")


def _nothing(path: str) -> Refused:
    return _Nothing(f"{show(path)}: {_SENTENCES[errno.ENOENT]}")


def _refusal(path: str, error: OSError) -> Refused:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return _Nothing(f"{show(path)}: {_SENTENCES[error.errno]}")
    if error.errno in _FULL:
        return Refused(f"{show(path)}: the disk is full; nothing was changed")
    words = _SENTENCES.get(error.errno or 0) or (error.strerror or str(error)).lower()
    return Refused(f"{show(path)}: {words}")


def _is_shown(name: str) -> bool:
    if name.startswith(DRAFT):
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(fd: int, length: int, offset: int) -> bytes:
    parts = []
    while length > 0 and (part := os.pread(fd, length, offset)):
        parts.append(part)
        length -= len(part)
        offset += len(part)
    return b"".join(parts)


def _new(spot: _Spot, mode: int = 0o666) -> int:
    return os.open(spot.name, _NEW, mode, dir_fd=spot.folder)


def _new_like(spot: _Spot, before: os.stat_result) -> int:
    """With the permissions of another file. A sealed worker may not change those of a file that is there."""
    umask = os.umask(0)
    try:
        return _new(spot, stat.S_IMODE(before.st_mode) & 0o777)
    finally:
        os.umask(umask)


def _write(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
