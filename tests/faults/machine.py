"""A machine with faults on request: a small disk, a wall clock that jumps, forks and writes that fail (faults.c)."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

_SOURCE = Path(__file__).with_name("faults.c")
_PAGE = struct.Struct("<q5Q")
_SIZE = 4096
_DISK = 3 << 30


class Machine:
    """What the processes of one house are given in place of the machine.

    Args:
        folder: for the library and its page; not on the disk that may be full.
        home: of the server; a disk of its own where one can be mounted.

    Attributes:
        has_disk: whether it is.
        has_library: whether the library could be compiled: without it clocks, forks and writes are as they are.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self._home = home
        self._made = folder / "faults.so"
        self._control = folder / "control"
        self._control.write_bytes(bytes(_SIZE))
        with self._control.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _SIZE)
        self.has_library = _compile(self._made)
        home.mkdir(mode=0o700)
        self.has_disk = os.geteuid() == 0 and _mount(home, f"size={_DISK},mode=0700")
        self._fields = [0, 0, 0, 0, 0, 0]

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process run on this machine."""
        return {"LD_PRELOAD": str(self._made), "FAULTS_CONTROL": str(self._control)} if self.has_library else {}

    # ---- faults

    def jump(self, seconds: float) -> None:
        """The wall clock is off by so much, from now on."""
        self._set(0, int(seconds * 1e9))

    def fail_forks(self, error: int) -> None:
        """No process can be made; 0: they can."""
        self._set(1, error)

    def fail_writes(self, error: int) -> None:
        """Writes and syncs of files of the home fail; 0: they work."""
        self._set(3, os.stat(self._home).st_dev)
        self._set(2, error)

    def fill_disk(self, leave: int) -> None:
        """The disk has room for so many bytes more."""
        found = os.statvfs(self._home)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        _mount(self._home, f"remount,size={max(4096, used + leave)}")

    def empty_disk(self) -> None:
        """There is room again."""
        _mount(self._home, f"remount,size={_DISK}")

    def repair(self) -> None:
        """Everything is as it should be; the clock stays where it is."""
        self.fail_forks(0)
        self.fail_writes(0)
        if self.has_disk:
            self.empty_disk()

    @property
    def failed(self) -> tuple[int, int]:
        """How many forks, and how many writes and syncs, have failed."""
        fields = _PAGE.unpack_from(self._page)
        return fields[4], fields[5]

    def close(self) -> None:
        """Takes the disk away."""
        if self.has_disk:
            subprocess.run(["umount", "-l", str(self._home)], check=False)
            self.has_disk = False

    def _set(self, field: int, value: int) -> None:
        struct.pack_into("<q" if field == 0 else "<Q", self._page, 8 * field, value)


def _mount(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _compile(made: Path) -> bool:
    for compiler in ([shutil.which("cc")], [shutil.which("clang")], [sys.executable, "-m", "ziglang", "cc"]):
        if compiler[0] is None:
            continue
        words = [*compiler, "-O1", "-shared", "-fPIC", "-o", str(made), str(_SOURCE), "-ldl"]
        if subprocess.run(words, capture_output=True, check=False).returncode == 0:
            return True
    return False
