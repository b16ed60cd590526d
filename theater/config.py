"""Where things are: the home of a server, the cache of a machine, the address of the control socket.

Settings come from arguments first, then from the environment, then from the XDG directories. Nothing here
creates anything but through `private_directory`, which is how every directory of ours is made: 0700 and ours.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from theater.errors import InvalidInput, SocketPathTooLong

OWN = "own"
"""Folder beside the chain for all that an actor's process changes by name, which it may not do with the chain."""

_SUPERVISOR = "supervisor"
"""As in core/verification.py, which takes too long to import for every command."""

UNIX_PATH_MAX = 107
"""Longest path of a Unix socket in bytes: `sun_path` has 108 with its NUL (unix(7))."""


@dataclass(frozen=True, slots=True)
class Home:
    """The directory in which one server keeps everything that must outlive it.

    Args:
        root: absolute path; made by `create`.
    """

    root: Path

    @property
    def actors(self) -> Path:
        return self.root / "actors"

    @property
    def content(self) -> Path:
        return self.root / "content"

    @property
    def labels(self) -> Path:
        return self.root / "labels"

    @property
    def supervisor_chain(self) -> Path:
        return self.root / "supervisor.chain"

    @property
    def key(self) -> Path:
        """The secret with which this home's server signs (0600)."""
        return self.root / "key"

    @property
    def public_key(self) -> Path:
        return self.root / "key.pub"

    @property
    def control_key(self) -> Path:
        """The secret by which clients elsewhere know the server (0600), where it lets any in."""
        return self.root / "control-key"

    @property
    def public_control_key(self) -> Path:
        return self.root / "control-key.pub"

    @property
    def boot(self) -> Path:
        """Under which boot of the machine the server runs, and whether it ended in order."""
        return self.root / "boot"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def secrets(self) -> Path:
        """Values of secrets that lives have had (0700, files 0600), without which their chains cannot be replayed."""
        return self.root / "secrets"

    @property
    def dead_letters(self) -> Path:
        return self.root / "dead-letters"

    @property
    def tree(self) -> Path:
        """The tree that was applied last, for a server that starts again."""
        return self.root / "tree"

    @property
    def supervisors(self) -> Path:
        """How the supervisors of the tree have fared."""
        return self.root / "supervisors"

    @property
    def websockets(self) -> Path:
        """What the gateway writes down, the only folder that it may write into: which websockets are open."""
        return self.root / "websockets"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def address(self) -> str:
        """The control socket, as a ZeroMQ address."""
        return f"ipc://{self.control}"

    @property
    def control(self) -> Path:
        """The control socket: the only one with a path."""
        return self.run / "control"

    def actor(self, actor: str) -> Path:
        """The folder of one actor: its chain, its log, and the row that a restarted server reads."""
        return self.actors / actor

    def chain(self, actor: str) -> Path:
        """The chain of an actor, or with `supervisor` in place of its id the server's own."""
        return self.supervisor_chain if actor == _SUPERVISOR else self.actor(actor) / "chain"

    def own(self, actor: str) -> Path:
        """What an actor's sealed process may change by name: its log, its timers, what its handlers keep."""
        return self.actor(actor) / OWN

    def log(self, actor: str) -> Path:
        return self.own(actor) / "log"

    def create(self) -> Home:
        """Makes the directories (0700) and refuses a home whose control socket could not be bound.

        Raises:
            SocketPathTooLong: its path is over `UNIX_PATH_MAX`.
            InvalidInput: a directory belongs to someone else, or cannot be made.
        """
        check_socket_path(self.control)
        for path in (self.root, self.actors, self.content, self.labels, self.secrets, self.websockets, self.run):
            private_directory(path)
        return self


def home(given: str | None = None) -> Home:
    """The home that the user means: `given`, else $THEATER_HOME, else `theater` in the XDG state directory."""
    chosen = given or os.environ.get("THEATER_HOME")
    root = Path(chosen) if chosen else _xdg("XDG_STATE_HOME", ".local/state") / "theater"
    return Home(Path(os.path.abspath(root.expanduser())))


def cache() -> Path:
    """The machine's cache of compiled code: $THEATER_CACHE, else `theater` in the XDG cache directory.

    It is apart from the home because compiling a Python component costs many seconds and its result depends
    on the machine alone, so that all homes of a user can share it.
    """
    chosen = os.environ.get("THEATER_CACHE")
    path = Path(chosen) if chosen else _xdg("XDG_CACHE_HOME", ".cache") / "theater"
    return private_directory(Path(os.path.abspath(path.expanduser())))


def address(given: str | None = None, in_home: Home | None = None) -> str:
    """The control socket that the user means: `given`, else $THEATER_ADDRESS, else that of the home.

    Raises:
        SocketPathTooLong: the address is an ipc path that no kernel accepts.
        InvalidInput: the address has no scheme that Theater speaks.
    """
    chosen = given or os.environ.get("THEATER_ADDRESS") or (in_home or home()).address
    if not chosen.startswith("ipc://"):
        raise InvalidInput(f"{chosen} is not an address; write ipc:///path/of/a/socket")
    check_socket_path(Path(chosen.removeprefix("ipc://")))
    return chosen


def check_socket_path(path: Path) -> None:
    """Raises SocketPathTooLong if the kernel would refuse to bind `path`."""
    size = len(os.fsencode(path))
    if size > UNIX_PATH_MAX:
        raise SocketPathTooLong(
            f"the socket path {path} has {size} bytes, a Unix socket allows {UNIX_PATH_MAX}; "
            "choose a shorter $THEATER_HOME"
        )


def private_directory(path: Path) -> Path:
    """Makes `path` with mode 0700, or checks that it is ours and nobody else may enter.

    Raises:
        InvalidInput: it cannot be made, is no directory, or belongs to another user.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.getuid():
            raise InvalidInput(f"{path} belongs to user {found.st_uid}, not to {os.getuid()}; choose another directory")
        if stat.S_IMODE(found.st_mode) & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise InvalidInput(f"cannot use the directory {path}: {error.strerror}") from error
    return path


def _xdg(variable: str, below_home: str) -> Path:
    chosen = os.environ.get(variable)
    return Path(chosen) if chosen else Path.home() / below_home
