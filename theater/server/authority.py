"""Who commands, and what that one may: asked when somebody connects, and again with each request.

On this machine the kernel says who has connected. Whoever is the server's own user, or root, is an admin; what the
server has started itself is nobody, whichever user it runs as: programs of actors, and all that came of them. That they
are its descendants cannot be hidden, since the server adopts those whose parents have ended (a child subreaper).

From elsewhere come holders of keys. Each has a file in the folder of authorized keys (core/authorized_key.py), which is
looked at again all the time: who is taken out of it may nothing from then on, whatever connection that one has. A file
that somebody else could have written is passed over and said so, as is one that cannot be understood; so a mistake
keeps people out, and lets nobody in.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from theater.bus.doors import Knock
from theater.core import authorized_key
from theater.core.authorized_key import AuthorizedKey
from theater.core.commands import Who, key_holder, local_user
from theater.core.curve import fingerprint
from theater.core.roles import Role
from theater.errors import InvalidInput, NotAuthorised, TheaterError
from theater.log import Logger

LOCAL: Final = "local"
"""Name of the door that every server has; all others are on the network."""

LOOK_S: Final = 0.2
"""A change in the folder of keys is seen within this time."""

_LOOK_FOR_STRANGERS_S = 0.01
"""A key that has just been added opens at once; yet strangers do not keep the server looking."""

_WALKS = 3
_LARGEST_FILE = 4096
_MOST_KEYS = 10_000
_PR_SET_CHILD_SUBREAPER = 36
_KEY, _USER = "key:", "user:"
_libc = ctypes.CDLL(None, use_errno=True)

OnRefused = Callable[[str, str], None]


class Authority:
    """Knows who may.

    Args:
        folder: of authorized keys; None if nobody from elsewhere may.
        on_refused: told who was not let in, and why.

    Raises:
        InvalidInput: the folder cannot be read.
    """

    def __init__(self, folder: Path | None, log: Logger, on_refused: OnRefused = lambda who, why: None) -> None:
        self._folder = folder
        self._log = log
        self.on_refused = on_refused
        self._keys: dict[bytes, AuthorizedKey] = {}
        self._users: dict[str, Who] = {}
        self._seen: object = None
        self._looked = 0.0
        if folder is not None:
            _list(folder)
        self.look()

    # ---- the porter's question

    def admit(self, knock: Knock) -> str | None:
        """The words by which somebody is known from now on; None for who may not come in."""
        try:
            return self._admit_process(knock.address) if knock.door == LOCAL else self._admit_key(knock.key)
        except NotAuthorised as error:
            who = f"key {fingerprint(knock.key)} from {knock.address}" if knock.key else f"process {knock.address}"
            self.on_refused(who, error.message)
            return None

    def _admit_process(self, address: str) -> str:
        try:
            uid, _, pid = map(int, address.rsplit(":", 3)[1:])
        except ValueError as error:
            raise NotAuthorised("the kernel does not say which process it is") from error
        if uid not in (0, os.geteuid()):
            raise NotAuthorised(f"user {uid} is neither the server's nor root")
        # Nothing of a server that is not root's becomes root; and a service manager hides root's processes from it.
        is_roots = uid == 0 != os.geteuid()
        if pid != os.getpid() and not is_roots and descends_from(pid, os.getpid()):
            raise NotAuthorised("it was started by the server itself, or by what that has started")
        return f"{_USER}{uid}:{pid}"

    def _admit_key(self, key: bytes) -> str:
        self._entry(key)
        return f"{_KEY}{key.hex()}"

    # ---- the guard's question

    def who(self, user: str, address: str) -> Who:
        """Who it is that `admit` has given these words, with the role of this moment.

        Raises:
            NotAuthorised: that one may nothing any more.
        """
        if user.startswith(_KEY):
            entry = self._entry(bytes.fromhex(user.removeprefix(_KEY)))
            return key_holder(entry.name, fingerprint(entry.key), address, entry.role)
        found = self._users.get(user)
        if found is None:
            found = self._users[user] = _user(user)
            if len(self._users) > _MOST_KEYS:
                del self._users[next(iter(self._users))]
        return found

    def _entry(self, key: bytes) -> AuthorizedKey:
        self._look_again(LOOK_S)
        if key not in self._keys:
            self._look_again(_LOOK_FOR_STRANGERS_S)
        entry = self._keys.get(key)
        if entry is None:
            raise NotAuthorised(f"the server has no authorized key {fingerprint(key)}, or not any more")
        if entry.is_over(time.time()):
            raise NotAuthorised(f"the key {fingerprint(key)} of {entry.name} has expired")
        return entry

    # ---- the folder

    @property
    def keys(self) -> int:
        """How many keys are authorized, expired ones among them."""
        return len(self._keys)

    def _look_again(self, age: float) -> None:
        if time.monotonic() >= self._looked + age:
            self.look()

    def look(self) -> None:
        """Reads the folder, if anything in it has changed since the last time."""
        self._looked = time.monotonic()
        if self._folder is None:
            return
        try:
            files = _list(self._folder)
        except InvalidInput as error:
            self._log.error("nobody from elsewhere may command", why=error.message)
            files, self._keys, self._seen = [], {}, None
            return
        seen = [_mark(file) for file in files]
        if seen != self._seen:
            self._seen = seen
            self._keys = self._read(files)

    def _read(self, files: list[Path]) -> dict[bytes, AuthorizedKey]:
        found: dict[bytes, AuthorizedKey] = {}
        for file in files:
            try:
                entry = authorized_key.read(_text(file), str(file))
            except (TheaterError, OSError) as error:
                self._log.error("an authorized key is passed over", file=str(file), why=str(error))
                continue
            other = found.setdefault(entry.key, entry)
            if other is not entry:
                self._log.error("an authorized key is passed over", file=str(file), why=f"{other.name} has the same")
        return found


def keep_descendants() -> None:
    """Has orphans among the descendants of this process become its children, whatever they do to be forgotten."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descends_from(pid: int, ancestor: int) -> bool:
    """Whether a process came of another; also if that cannot be said, since it has ended.

    A process of a PID namespace that is not below ours has the number 0 here, and came of nobody here.
    """
    for _ in range(_WALKS):
        found = _walk(pid, ancestor)
        if found is not None:
            return found
    return True


def _walk(pid: int, ancestor: int) -> bool | None:
    """Goes from parent to parent; None if one of them ended meanwhile, whose children then have another parent."""
    while pid != 0:
        if pid == ancestor:
            return True
        if pid == 1:
            return False
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            return False if _is_somebody_elses(pid) else None
    return False


def _is_somebody_elses(pid: int) -> bool:
    """Whether a process that /proc does not show (proc(5), hidepid) is there, and of another user: what came of a
    server without privileges is its own user's, since nothing of it can gain any."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _user(words: str) -> Who:
    uid, pid = map(int, words.removeprefix(_USER).split(":"))
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return local_user(uid, pid, name, Role.ADMIN)


def _list(folder: Path) -> list[Path]:
    """The files in the folder of keys. Raises InvalidInput if it is none that can be trusted."""
    try:
        _require_ours(folder.stat(), str(folder))
        files = sorted(file for file in folder.iterdir() if file.suffix == ".toml" and not file.name.startswith("."))
    except OSError as error:
        raise InvalidInput(f"cannot use the folder of authorized keys {folder}: {error.strerror}") from error
    if len(files) > _MOST_KEYS:
        raise InvalidInput(f"the folder of authorized keys {folder} has more than {_MOST_KEYS} files")
    return files


def _require_ours(found: os.stat_result, what: str) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise InvalidInput(f"{what} belongs to user {found.st_uid}, who could let anybody in")
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise InvalidInput(f"{what} can be written by others, who could let anybody in: chmod go-w")


def _mark(file: Path) -> object:
    try:
        found = file.stat()
    except OSError as error:
        return file, error.errno
    return file, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _text(file: Path) -> str:
    with open(os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as opened:
        found = os.fstat(opened.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_FILE:
            raise InvalidInput(f"it is no file of up to {_LARGEST_FILE} bytes")
        _require_ours(found, "it")
        return opened.read(_LARGEST_FILE + 1).decode("utf-8", "surrogateescape")
