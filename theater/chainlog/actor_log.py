"""What an actor says, for people: one line of JSON for each line of text, in two files of bounded size.

The chain is the proof and holds the same words as host calls; this log is what `theater logs` shows quickly. A
line is {"t": wall time ns, "i": incarnation, "s": stream, "m": text}. Streams: `log` (the runtime's log), `stdout`,
`stderr`, and `system` for what the server has to say about the actor. When the file has half of the allowed bytes
it becomes `log.1`, in place of an older one, so that the newest half at least is always kept.

Positions count the bytes that were ever written. A file begins with {"base": position of its first line}.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TEXT_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Args:
        time_ns: wall time.
        incarnation: which life of the actor wrote it.
        stream: log, stdout, stderr or system.
        text: what was said, without its end of line.
        next: the position after it.
    """

    time_ns: int
    incarnation: int
    stream: str
    text: str
    next: int


class ActorLog:
    """The writing side. Several processes may append at once (the worker, and the server for its `system` lines);
    only the worker lets the file turn over.

    Args:
        path: the newer file; the older one is beside it with `.1`.
        limit: bytes kept at most in both.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._half = max(limit // 2, 4096)
        self._fd = -1  # Opened by the first line: most lives say nothing.

    def write(self, time_ns: int, incarnation: int, stream: str, text: str) -> None:
        """Appends `text`, a line at a time; a full disk loses lines of the log, never of the chain."""
        rows = [
            json.dumps({"t": time_ns, "i": incarnation, "s": stream, "m": row[:_TEXT_MAX]}, ensure_ascii=False)
            for row in text.splitlines() or [""]
        ]
        data = ("\n".join(rows) + "\n").encode("utf-8", "backslashreplace")
        try:
            if self._fd < 0:
                self._fd = _open(self._path, 0)
            os.write(self._fd, data)
            size = os.lseek(self._fd, 0, os.SEEK_CUR)  # It appends: whoever else does, here is the end.
        except OSError:
            return
        if size > self._half:
            self._turn_over(size)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _turn_over(self, size: int) -> None:
        base = _base(self._path) + size - _header_size(self._path)
        older = self._path.with_name(self._path.name + ".1")
        try:
            os.replace(self._path, older)
            fresh = _open(self._path, base)
        except OSError:
            return
        os.close(self._fd)
        self._fd = fresh


def append(path: Path, time_ns: int, incarnation: int, stream: str, text: str) -> None:
    """Appends one line to a log that another process owns."""
    log = ActorLog(path, 1 << 62)
    try:
        log.write(time_ns, incarnation, stream, text)
    finally:
        log.close()


def read(path: Path, since: int, limit: int) -> Iterator[Line]:
    """Lines from position `since` on, at most `limit` bytes of them; `since=-n` means the last n lines.

    A line that is being written is not there yet; lines that have been dropped are skipped silently.
    """
    if since < 0:
        yield from list(read(path, 0, 1 << 62))[since:]
        return
    left = limit
    for file in (path.with_name(path.name + ".1"), path):
        for line in _read_file(file, since):
            yield line
            since = line.next
            left -= len(line.text) + 64
            if left <= 0:
                return


def end(path: Path) -> int:
    """The position after the last whole line."""
    try:
        return _base(path) + path.stat().st_size - _header_size(path)
    except FileNotFoundError:
        return 0


def _read_file(file: Path, since: int) -> Iterator[Line]:
    try:
        handle = file.open("rb")
    except FileNotFoundError:
        return
    with handle:
        header = handle.readline()
        position = _parse_base(header)
        if since > position:
            if since - position > os.fstat(handle.fileno()).st_size:
                return
            handle.seek(len(header) + since - position)
            position = since
        for raw in handle:
            if not raw.endswith(b"\n"):
                return
            position += len(raw)
            line = _parse(raw, position)
            if line is not None:
                yield line


def _parse(raw: bytes, after: int) -> Line | None:
    try:
        row = json.loads(raw)
        return Line(int(row["t"]), int(row["i"]), str(row["s"]), str(row["m"]), after)
    except (ValueError, KeyError, TypeError):
        return None  # The rest of a line that a full disk cut.


def _open(path: Path, base: int) -> int:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(fd, json.dumps({"base": base}).encode() + b"\n")
    except OSError:
        pass  # A full disk: positions of this file begin at 0.
    return fd


def _header_size(path: Path) -> int:
    with path.open("rb") as handle:
        header = handle.readline()
    return len(header) if header.startswith(b'{"base"') else 0


def _base(path: Path) -> int:
    with path.open("rb") as handle:
        return _parse_base(handle.readline())


def _parse_base(header: bytes) -> int:
    try:
        return int(json.loads(header)["base"])
    except (ValueError, KeyError, TypeError):
        return 0


__all__ = ["ActorLog", "Line", "append", "end", "read"]
