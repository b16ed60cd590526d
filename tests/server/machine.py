"""A machine whose power can be cut: what a server finds on its disk afterwards, and nothing else.

`power.c` is preloaded into every process of a house and keeps a copy of what fsync has made durable, as POSIX has it: a
file's bytes once the file was synced, a name once its folder was. `Machine.cut` kills everybody and makes a home of it.
What was not synced is there or not, by a random number: each changed block of 4 KiB, each change of a name, and how
long a file is. Nothing is in the order in which it was written.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from house import House, eventually

_SOURCE = Path(__file__).with_name("power.c")
_PAGE = struct.Struct("<6Q256s")
_BLOCK = 4096
_libc = ctypes.CDLL(None, use_errno=True)


def build(folder: Path) -> Path:
    """Compiles power.c; skips the test where there is no compiler."""
    made = folder / "power.so"
    compiler = [found] if (found := shutil.which("cc") or shutil.which("clang")) else _zig()
    flags = ["-O1", "-shared", "-fPIC", "-o", str(made), str(_SOURCE)]
    done = subprocess.run([*compiler, *flags], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"power.c cannot be compiled here: {done.stderr[-300:]}")
    return made


def _zig() -> list[str]:
    pytest.importorskip("ziglang", reason="a machine without power needs a C compiler")
    return [sys.executable, "-m", "ziglang", "cc"]


@dataclass
class Machine:
    """The machine on which the server of a house runs.

    Args:
        house: whose home it is; its server must not have been started.
        preloaded: power.c, compiled.
    """

    house: House
    preloaded: Path
    boots: int = 0
    _page: mmap.mmap = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.shadow.mkdir()
        (self.folder / "page").write_bytes(bytes(_BLOCK))
        with (self.folder / "page").open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _BLOCK)
        self.boot()

    @property
    def folder(self) -> Path:
        return self.house.folder / "m"

    @property
    def shadow(self) -> Path:
        return self.folder / "s"

    def boot(self) -> None:
        """The machine starts: its kernel has a new boot id."""
        self.boots += 1
        (self.folder / "boot").write_text(f"{uuid.UUID(int=self.boots)}\n")

    def open(self) -> House:
        """Starts the server on this machine."""
        self.start()
        self.house.await_server()
        return self.house

    def start(self) -> subprocess.Popen[bytes]:
        """As `open`, but does not wait until the server answers: perhaps it never does."""
        self.house.server = self.house.popen(**self.environment)
        return self.house.server

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process run on this machine."""
        return {
            "LD_PRELOAD": str(self.preloaded),
            "POWER_HOME": os.path.realpath(self.house.home),
            "POWER_SHADOW": str(self.shadow),
            "POWER_CONTROL": str(self.folder / "page"),
            "POWER_BOOT": str(self.folder / "boot"),
        }

    # ---- a disk that fails

    def fail(self, match: str, at: int, error: int, *, lasting: bool = False, partial: int = 0) -> None:
        """Has a write or sync fail of a file whose path has `match` in it.

        Args:
            at: which of them, from 1, counted from now; 0 for none, which only counts.
            error: the errno.
            lasting: all after it fail, too.
            partial: bytes that a write takes before it fails.
        """
        self._page[: _PAGE.size] = _PAGE.pack(at, 0, error, 0, lasting, partial, match.encode())

    def repair(self) -> None:
        """Nothing fails any more."""
        self._page[: _PAGE.size] = bytes(_PAGE.size)

    @property
    def counted(self) -> int:
        """Writes and syncs since `fail`."""
        return int(_PAGE.unpack(self._page[: _PAGE.size])[1])

    @property
    def failed(self) -> int:
        return int(_PAGE.unpack(self._page[: _PAGE.size])[3])

    # ---- a power cut

    def cut(self, chance: random.Random, *, kind: bool = False) -> None:
        """The power fails: all processes are gone, and the home is what a disk may have of it. The server is not
        running afterwards, and the machine has been booted.

        Args:
            kind: a file that takes the place of another has its bytes, as most file systems see to, synced or not.
        """
        self.kill()
        made = self.house.folder / "after"
        _Disk(self.house.home, self.shadow, chance, kind=kind).give(made)
        shutil.rmtree(self.house.home)
        os.rename(made, self.house.home)
        shutil.rmtree(self.shadow)
        self.shadow.mkdir()
        self.made_durable(self.house.home)
        self.boot()

    def kill(self) -> None:
        """Ends every process of the house, the server first, at once."""
        if self.house.server is not None:
            self.house.kill(self.house.pid, signal.SIGKILL)
        for pid in self.house.processes():
            self.house.kill(pid, signal.SIGKILL)
        if self.house.server is not None:
            self.house.server.wait()
        eventually(lambda: not self.house.processes(), "nobody is left")

    def made_durable(self, folder: Path) -> None:
        """All that is in a folder is on the disk."""
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir():
                rows = [f"{_key(child)} {child.name}\n" for child in path.iterdir()]
                (self.shadow / f"d.{_key(path)}").write_text("".join(rows))
            elif path.is_file():
                shutil.copyfile(path, self.shadow / f"f.{_key(path)}")


class _Disk:
    """What may be left of a home."""

    def __init__(self, home: Path, shadow: Path, chance: random.Random, *, kind: bool) -> None:
        self._kind = kind
        self._shadow = shadow
        self._chance = chance
        self._home = home
        self._living = {_key(path): path for path in home.rglob("*") if path.is_dir() or path.is_file()}
        # Often all or nothing of it is there, so that what needs two things at once to go wrong is met, too.
        self._share = chance.choice((0.0, 0.0, 0.2, 0.5, 0.8, 1.0))

    def give(self, made: Path) -> None:
        self._folder(_key(self._home), self._home, made)

    def _reached(self) -> bool:
        return self._chance.random() < self._share

    def _folder(self, key: str, now: Path | None, made: Path) -> None:
        made.mkdir(mode=0o700)
        durable = self._durable_names(key)
        present = {path.name: _key(path) for path in now.iterdir() if _is_kept(path)} if now is not None else durable
        for name in sorted(durable.keys() | present.keys()):
            old, new = durable.get(name), present.get(name)
            chosen = new if old == new or self._reached() else old
            if chosen is not None:
                self._one(chosen, made / name, whole=self._kind and old is not None and chosen != old)

    def _durable_names(self, key: str) -> dict[str, str]:
        try:
            rows = (self._shadow / f"d.{key}").read_text().splitlines()
        except FileNotFoundError:
            return {}
        return {name: child for child, _, name in (row.partition(" ") for row in rows)}

    def _one(self, key: str, made: Path, *, whole: bool) -> None:
        now = self._living.get(key)
        is_folder = now.is_dir() if now is not None else (self._shadow / f"d.{key}").exists()
        if is_folder:
            self._folder(key, now, made)
            return
        copy = self._shadow / f"f.{key}"
        durable = copy.read_bytes() if copy.exists() else b""
        present = now.read_bytes() if now is not None else durable
        made.write_bytes(present if whole or durable == present else self._mixed(durable, present))
        made.chmod(stat.S_IMODE(now.stat().st_mode) if now is not None else 0o600)

    def _mixed(self, durable: bytes, present: bytes) -> bytes:
        """A file of which some blocks have been written."""
        sizes = sorted((len(durable), len(present)))
        between = self._chance.randint(*sizes) // _BLOCK * _BLOCK
        size = self._chance.choice((*sizes, max(sizes[0], between))) if self._share > 0.0 else len(durable)
        mixed = bytearray()
        for at in range(0, size, _BLOCK):
            block = present if self._reached() else durable
            mixed += block[at : at + _BLOCK].ljust(_BLOCK, b"\0")
        return bytes(mixed[:size])


def _is_kept(path: Path) -> bool:
    return not path.is_symlink() and (path.is_dir() or path.is_file())


def _key(path: Path) -> str:
    """Inode and birth of a file, as power.c names them: an inode's number may be given again."""
    found = ctypes.create_string_buffer(256)
    if _libc.statx(-100, os.fsencode(path), 0x100, 0xFFF, found) != 0:
        raise OSError(ctypes.get_errno(), "statx", str(path))
    (inode,) = struct.unpack_from("<Q", found, 32)
    seconds, nanoseconds = struct.unpack_from("<qI", found, 80)
    return f"{inode}.{seconds}.{nanoseconds}"


@pytest.fixture(scope="session")
def power(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """power.c, compiled."""
    return build(tmp_path_factory.mktemp("power"))


@pytest.fixture
def machine(closed_house: House, power: Path) -> Machine:
    """A machine on which no server runs yet."""
    return Machine(closed_house, power)
