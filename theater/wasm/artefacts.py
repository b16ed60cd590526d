"""The cache of compiled components: found by what went in, believed only after its digest was checked.

A component is compiled once per machine, by `theater.wasm.compile` in processes that are thrown away; everybody else
maps the result. That result is native code, so the cache believes nothing: its directory is ours alone, a file is
mapped only if it is, byte for byte, what the compiler wrote, and an entry's name is a digest of all that its content
depends on. A changed component, wasmtime, engine setting, wrapper or processor is another entry.

    <key>.cwasm   the compiled component, as wasmtime serialises it
    <key>.meta    a line with the hex digest of the rest, then the rest: JSON, see `Meta`
    <key>.lock    exists, and is locked (flock(2)), while this entry is being made
    <key>.*.tmp   a file that is being written

The meta file is the entry: it is removed first, written last, and names the artefact's digest, so a compiler that is
killed at any instant leaves either a whole entry or none. This module does not load wasmtime.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import mmap
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from theater.core.codec import content_digest, digest, pack
from theater.errors import BuildFailed, ContentDamaged, DiskFull, InvalidInput, TheaterError, from_wire
from theater.wasm.engine import engine_identity
from theater.wasm.mode import Mode

if TYPE_CHECKING:
    from theater.wasm.types import Interfaces

FORMAT: Final = 2
"""Version of the meta file; another is another entry."""

_GENERATORS: Final = ("adapter", "anatomy", "binary", "flat", "hatch", "instructions", "types")
"""Modules whose source decides how a component is wrapped, with everything whose name begins with theirs."""

MAX_META: Final = 16 << 20
"""Bytes of the largest meta file that is read."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of an artefact without mapping it.

    Attributes:
        component: hex digest of the component's bytes.
        fuel: whether the code counts instructions.
        mode: how it was compiled.
        reason: why it is plain; empty otherwise.
        wrapper: hex digest of the binary that was compiled in place of the component; empty if that was itself.
        wrapped: names of the interfaces whose `list<u8>` crosses as strings.
        engine: `engine_identity` of the compiler.
        interfaces: imports and exports with their signatures, as `types.to_plain` gives them.
        hatch: how its memory can be kept, as `hatch.Hatch` has it.
        artefact: hex digest of the artefact.
        size: its length in bytes.
    """

    component: str
    fuel: bool
    mode: Mode
    reason: str
    wrapper: str
    wrapped: dict[str, list[str]]
    engine: dict[str, Any]
    interfaces: dict[str, Any]
    hatch: dict[str, Any]
    artefact: str
    size: int

    @property
    def imports(self) -> frozenset[tuple[str, str]]:
        """(interface, function) of everything that the component asks of its host."""
        return self._functions("imports")

    @property
    def exports(self) -> frozenset[tuple[str, str]]:
        """(interface, function) of everything that can be called."""
        return self._functions("exports")

    def described(self) -> Interfaces:
        """Imports and exports as type trees. Loads wasmtime."""
        from theater.wasm.types import from_plain

        return from_plain(self.interfaces)

    def _functions(self, side: str) -> frozenset[tuple[str, str]]:
        return frozenset(
            (interface, function)
            for interface, content in self.interfaces[side].items()
            for function in content["functions"]
        )


@dataclass(frozen=True, slots=True)
class Artefact:
    """A compiled component whose bytes were what the compiler wrote when it was found."""

    path: Path
    meta: Meta


class ArtefactCache:
    """The compiled components in one directory.

    Args:
        directory: made with mode 0700 if it is missing.

    Raises:
        InvalidInput: the directory cannot be made, belongs to another user, or others may enter it. What lies in it
            is run as native code: its mode is not silently repaired, since nobody knows who was there before.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        _make_private(directory)

    def find(self, component: str, fuel: bool) -> Artefact | None:
        """The artefact of a component, its digest checked; None if it must be compiled first.

        Reads the whole file: 12 ms for the 35 MB of a Python component.

        Args:
            component: hex digest of the component's bytes.
            fuel: whether the code counts instructions.

        Raises:
            ContentDamaged: artefact or meta are not what the compiler wrote. Both have been deleted: compile again.
        """
        key = self.key(component, fuel)
        try:
            return self._checked(key)
        except ContentDamaged:
            self._discard(key)
            raise

    def key(self, component: str, fuel: bool) -> str:
        """The name of an entry: hex digest of all that its content depends on."""
        depends = {
            "component": component,
            "engine": engine_identity(fuel),
            "format": FORMAT,
            "generator": _generator(),
        }
        return digest(pack(depends), b"theater:artefact").hex()

    def temporary(self, key: str) -> Path:
        """Where this process may write a file that belongs to an entry; swept away if the process dies."""
        return self.directory / f"{key}.{os.getpid()}.tmp"

    def publish(self, key: str, artefact: Path, meta: Meta) -> Artefact:
        """Makes an entry, durably and all at once. Only who holds the entry's lock may.

        Args:
            artefact: a `temporary` file whose content is on the disk.
        """
        path, meta_path = self._path(key, "cwasm"), self._path(key, "meta")
        meta_path.unlink(missing_ok=True)
        artefact.rename(path)
        _sync_directory(self.directory)
        text = json.dumps(asdict(meta), separators=(",", ":")).encode()
        temporary = self.temporary(key)
        write_durably(temporary, content_digest(text).hex().encode() + b"\n" + text)
        temporary.rename(meta_path)
        _sync_directory(self.directory)
        return Artefact(path, meta)

    @contextlib.contextmanager
    def locked(self, key: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Excludes every other process that makes this entry. The lock of a dead process is free at once.

        Args:
            waiting: is called once if another process holds the lock.
        """
        path = self._path(key, "lock")
        descriptor = _lock(path, waiting)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def sweep(self) -> None:
        """Removes what compilers that were killed have left behind: nothing of an entry that is being made."""
        for path in self.directory.glob("*.tmp"):
            with self._unless_locked(path.name.split(".")[0]) as free:
                if free:
                    path.unlink(missing_ok=True)

    def prune(self, unused_for: float, now: float) -> list[str]:
        """Deletes entries that nobody has found for `unused_for` seconds; returns their keys.

        Args:
            unused_for: seconds.
            now: seconds since the epoch.
        """
        gone = []
        for path in self.directory.glob("*.meta"):
            with contextlib.suppress(FileNotFoundError):
                if now - path.stat().st_mtime > unused_for and self._discard(path.stem):
                    gone.append(path.stem)
        return gone

    # ---- reading

    def _checked(self, key: str) -> Artefact | None:
        meta_path = self._path(key, "meta")
        try:
            with open(meta_path, "rb") as file:
                line, _, text = file.read(MAX_META).partition(b"\n")
        except FileNotFoundError:
            return None
        if line != content_digest(text).hex().encode():
            raise ContentDamaged(f"{meta_path} is not what the compiler wrote; it was deleted")
        artefact = Artefact(self._path(key, "cwasm"), _meta(text, meta_path))
        self._check(artefact)
        with contextlib.suppress(OSError):
            os.utime(meta_path)  # for `prune`: when it was last of use
        return artefact

    def _check(self, artefact: Artefact) -> None:
        try:
            found = _file_digest(artefact.path, artefact.meta.size)
        except FileNotFoundError:
            found = "nothing"
        if found != artefact.meta.artefact:
            raise ContentDamaged(
                f"the compiled component {artefact.path} is damaged and was deleted",
                expected=artefact.meta.artefact,
                found=found,
            )

    def _discard(self, key: str) -> bool:
        """Deletes an entry, unless a compiler is replacing it just now."""
        with self._unless_locked(key) as free:
            if free:
                self._path(key, "meta").unlink(missing_ok=True)
                self._path(key, "cwasm").unlink(missing_ok=True)
            return free

    @contextlib.contextmanager
    def _unless_locked(self, key: str) -> Iterator[bool]:
        path = self._path(key, "lock")
        try:
            descriptor = _lock(path, _refuse)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def _path(self, key: str, kind: str) -> Path:
        return self.directory / f"{key}.{kind}"


# ---- the compile child, seen from outside


def compile_command(component: Path, directory: Path, fuel: bool) -> list[str]:
    """The command line of the process that compiles `component` into the cache at `directory`."""
    command = [sys.executable, "-m", "theater.wasm.compile", "--component", str(component), "--cache", str(directory)]
    return [*command, "--fuel"] if fuel else command


@dataclass(frozen=True, slots=True)
class Progress:
    """The compiler is at work.

    Attributes:
        stage: what it does: `reading`, `waiting`, `wrapping`, `compiling`, `writing`.
        elapsed: seconds since it began.
    """

    stage: str
    elapsed: float


def parse_report(line: str) -> Progress | Path | TheaterError:
    """One line of the compile child's output: progress, the artefact's path, or the error that ended it."""
    try:
        report = json.loads(line)
        if not isinstance(report, dict):
            raise TypeError("not an object")
        if "progress" in report:
            return Progress(str(report["progress"]), float(report["elapsed"]))
        if "artefact" in report:
            return Path(report["artefact"])
        return from_wire(report)
    except (ValueError, TypeError, KeyError) as error:
        return BuildFailed(f"the compiler said something that is no report: {line[:200]!r} ({error})")


# ---- files


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
    except OSError as error:
        raise InvalidInput(f"cannot use {directory} for compiled components: {error.strerror}") from error
    if found.st_uid != os.geteuid():
        raise InvalidInput(f"{directory} holds native code and must be ours, but belongs to user {found.st_uid}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise InvalidInput(
            f"{directory} holds native code, but others may enter it (mode {stat.S_IMODE(found.st_mode):04o}, "
            "0700 is allowed); delete it, or choose another $THEATER_CACHE"
        )


def _file_digest(path: Path, size: int) -> str:
    """The hex digest of a file that ought to have `size` bytes. Mapping takes a quarter of the time of reading."""
    with open(path, "rb") as file:
        found = os.fstat(file.fileno()).st_size
        if found != size or not size:
            return f"a file of {found} bytes"
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as content:
            return content_digest(cast(bytes, content)).hex()


def _meta(text: bytes, path: Path) -> Meta:
    """The meta of a text whose digest was right: only another version of this module can have written it otherwise."""
    try:
        fields = json.loads(text)
        return Meta(**{**fields, "mode": Mode(fields["mode"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ContentDamaged(f"{path} cannot be read and was deleted: {error}") from error


def _lock(path: Path, waiting: Callable[[], None]) -> int:
    """A descriptor that holds the lock at `path`.

    The holder deletes the file before it lets go. Who then gets the lock of a deleted file has locked nothing, and
    tries again.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _refuse() -> None:
    raise BlockingIOError


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def write_durably(path: Path, content: bytes | bytearray) -> None:
    """Writes a file that only we may read; its content is on the disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def not_written(error: OSError, directory: Path) -> TheaterError:
    """What is to be said when the cache cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"there is no room for compiled components in {directory}: {error.strerror}")
    return BuildFailed(f"the compiled component cannot be kept in {directory}: {error.strerror}")


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@functools.cache
def _generator() -> str:
    """A digest of our own code that decides what is compiled: an upgrade never meets artefacts of another making."""
    folder = Path(__file__).parent
    sources = sorted(path for name in _GENERATORS for path in folder.glob(f"{name}*.py"))
    return content_digest(b"\0".join(path.read_bytes() for path in sources)).hex()
